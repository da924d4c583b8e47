#include "gradflow/operators/recorded_operator.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <string_view>
#include <utility>

#include "data/scalar_type.h"
#include "gradflow/base/error.h"
#include "gradflow/data/file_stamp.h"

namespace gradflow {
namespace {

constexpr std::string_view magic = "gradflow checkpoint 1\n", marker = "product\n";
constexpr std::size_t fingerprint_digits = 32, head_bytes = marker.size() + 3 * 8 + fingerprint_digits;
constexpr Index at_once = Index{1} << 16;  // numbers read, written or fingerprinted at a time
constexpr std::chrono::seconds sync_interval{5};

/// A file descriptor, closed at the end.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  ~Descriptor() { reset(); }
  void reset() {
    if (is_open()) close(std::exchange(number_, -1));
  }
  bool is_open() const { return number_ >= 0; }
  int operator*() const { return number_; }

 private:
  int number_;
};

/// While one of these lives, a write beyond the process's limit of file sizes only fails, with EFBIG: the
/// signal SIGXFSZ, whose default ends the program, goes to the writing thread, waits, and is taken back.
class SizeLimitSignal {
 public:
  SizeLimitSignal() {
    sigemptyset(&signal_);
    sigaddset(&signal_, SIGXFSZ);
    pthread_sigmask(SIG_BLOCK, &signal_, &before_);
  }
  ~SizeLimitSignal() {
    const timespec no_wait{};
    sigtimedwait(&signal_, nullptr, &no_wait);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  SizeLimitSignal(const SizeLimitSignal&) = delete;
  SizeLimitSignal& operator=(const SizeLimitSignal&) = delete;

 private:
  sigset_t signal_{}, before_{};
};

[[noreturn]] void fail(std::string_view verb, const std::string& path, int reason) {
  throw FileError(fmt::format("cannot {} '{}': {}", verb, path, std::strerror(reason)));
}

// Whether the path leads to the open file.
bool leads_to(const std::string& path, int descriptor) {
  struct stat at_path {
  }, opened{};
  return stat(path.c_str(), &at_path) == 0 && fstat(descriptor, &opened) == 0 &&
         at_path.st_dev == opened.st_dev && at_path.st_ino == opened.st_ino;
}

// The file at the path, created if missing, that no other run uses.
Descriptor open_locked(const std::string& path) {
  constexpr int most_attempts = 100;
  for (int attempt = 1;; ++attempt) {
    Descriptor file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0666));
    struct stat status {};
    if (!file.is_open() || fstat(*file, &status) != 0) fail("write", path, errno);
    if (!S_ISREG(status.st_mode))
      throw InputError(fmt::format("'{}' is no regular file: a checkpoint needs one", path));
    const bool locked = flock(*file, LOCK_EX | LOCK_NB) == 0;
    if (!locked && errno != EWOULDBLOCK) fail("lock", path, errno);
    if (locked && leads_to(path, *file)) return file;
    if (!locked || attempt == most_attempts)
      throw InputError(fmt::format(
          "the checkpoint '{}' is in use by another run: wait until that ends or name another file", path));
    // Another run finished, and removed the file, after it was opened here.
  }
}

// 0, or the number of the error.
int write_at(int descriptor, std::string_view bytes, Index position) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(descriptor, bytes.data(), bytes.size(), position);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return written < 0 ? errno : EIO;
    bytes.remove_prefix(static_cast<std::size_t>(written));
    position += written;
  }
  return 0;
}

int truncate_to(int descriptor, Index length) {
  while (ftruncate(descriptor, length) != 0)
    if (errno != EINTR) return errno;
  return 0;
}

int sync_data(int descriptor) {
  while (fdatasync(descriptor) != 0)
    if (errno != EINTR) return errno;
  return 0;
}

std::string bytes_of(Index value) { return little_endian_bytes(static_cast<std::uint64_t>(value), 8); }

Index integer_at(std::string_view bytes) { return static_cast<Index>(little_endian(bytes, 8)); }

// Calls visit(i, j, count) for rows i, ..., i + count - 1 of column j, until all are visited or it says
// false; returns whether all were.
template <typename Visit>
bool visit_pieces(Index rows, Index cols, Visit&& visit) {
  for (Index j = 0; j < cols; ++j)
    for (Index i = 0; i < rows; i += at_once)
      if (!visit(i, j, std::min(at_once, rows - i))) return false;
  return true;
}

std::string bytes_of(ConstBlock X, Index i, Index j, Index count) {
  return float64_bytes(X.col(j).data() + i, static_cast<std::size_t>(count));
}

std::string fingerprint(ConstBlock X) {
  Fingerprint result;
  visit_pieces(X.rows(), X.cols(), [&](Index i, Index j, Index count) {
    result.add(bytes_of(X, i, j, count));
    return true;
  });
  return result.hex();
}

}  // namespace

/// The file. Opened, it replays; from the first product that it does not hold it records; then it may stop
/// or be finished.
class RecordedOperator::Record {
 public:
  Record(std::string path, const std::string& run, Index n);
  ~Record();
  Record(const Record&) = delete;
  Record& operator=(const Record&) = delete;

  bool in_use() const { return file_.is_open() && problem_.empty(); }
  /// Y <- the next product, of the X with fingerprint `input`; false when the record does not hold it.
  bool replay(const std::string& input, Block Y);
  void append(const std::string& input, ConstBlock Y);
  void finish();

  Index replayed() const noexcept { return replayed_; }
  Index recorded() const noexcept { return recorded_; }
  const std::string& problem() const noexcept { return problem_; }

 private:
  std::string head(const std::string& input, Index cols) const;
  bool could_be_whole(std::string_view head) const;
  void read(std::string& bytes, std::size_t count, Index position) const;
  template <typename Place>
  bool read_rest(const std::string& head, Index cols, Place&& place);
  void sync();
  void stop(int reason);

  const std::string path_;
  const Index n_;
  Descriptor file_;
  std::string resolved_path_;  // links followed, absolute
  Index end_ = 0;              // of the header and the products replayed or recorded
  bool replaying_ = true;
  Index replayed_ = 0, recorded_ = 0;
  std::string problem_;
  bool synced_ = true;
  std::chrono::steady_clock::time_point last_sync_ = std::chrono::steady_clock::now();
  std::string buffer_;
};

RecordedOperator::Record::Record(std::string path, const std::string& run, Index n)
    : path_(std::move(path)), n_(n), file_(open_locked(path_)) {
  std::error_code ignored;
  resolved_path_ = std::filesystem::canonical(path_, ignored).string();
  const std::string header =
      std::string(magic) + bytes_of(n) + bytes_of(static_cast<Index>(run.size())) + run;
  end_ = static_cast<Index>(header.size());
  read(buffer_, header.size(), 0);
  if (buffer_ == header) return;
  if (buffer_.starts_with(magic) && !header.starts_with(buffer_))
    throw InputError(
        fmt::format("the checkpoint '{}' belongs to another run (its data, its options or the program "
                    "differ): remove it or name another file",
                    path_));
  if (!header.starts_with(buffer_))
    throw InputError(fmt::format("'{}' is no gradflow checkpoint: remove it or name another file", path_));
  // New, or killed while the header was written.
  const SizeLimitSignal held;
  int failure = write_at(*file_, header, 0);
  if (failure == 0) failure = sync_data(*file_);
  if (failure == 0) return;
  (void)unlink(resolved_path_.c_str());
  fail("write", path_, failure);
}

RecordedOperator::Record::~Record() {
  if (file_.is_open() && !synced_) (void)sync_data(*file_);
}

// Up to `count` bytes; fewer at the end of the file.
void RecordedOperator::Record::read(std::string& bytes, std::size_t count, Index position) const {
  bytes.resize(count);
  std::size_t done = 0;
  while (done < count) {
    const ssize_t got = pread(*file_, bytes.data() + done, count - done, position + static_cast<Index>(done));
    if (got < 0 && errno != EINTR) fail("read", path_, errno);
    if (got == 0) break;
    if (got > 0) done += static_cast<std::size_t>(got);
  }
  bytes.resize(done);
}

std::string RecordedOperator::Record::head(const std::string& input, Index cols) const {
  return std::string(marker) + bytes_of(replayed_ + recorded_ + 1) + bytes_of(n_) + bytes_of(cols) + input;
}

// Whether the head is one that this run may have written for its next product, with any input.
bool RecordedOperator::Record::could_be_whole(std::string_view head) const {
  return head.size() == head_bytes && head.starts_with(marker) &&
         integer_at(head.substr(marker.size())) == replayed_ + recorded_ + 1 &&
         integer_at(head.substr(marker.size() + 8)) == n_;
}

// Reads what follows the head, the numbers (i, j), (i + 1, j), ... to place(i, j). If the product is whole,
// moves to its end.
template <typename Place>
bool RecordedOperator::Record::read_rest(const std::string& head, Index cols, Place&& place) {
  Fingerprint found;
  found.add(head);
  Index position = end_ + static_cast<Index>(head_bytes);
  const bool complete = visit_pieces(n_, cols, [&](Index i, Index j, Index count) {
    const std::size_t size = sizeof(double) * static_cast<std::size_t>(count);
    read(buffer_, size, position);
    if (buffer_.size() != size) return false;
    found.add(buffer_);
    decode_scalars(ScalarType::float64, ByteOrder::little, buffer_, place(i, j));
    position += static_cast<Index>(size);
    return true;
  });
  if (!complete) return false;
  read(buffer_, fingerprint_digits, position);
  if (buffer_ != found.hex()) return false;
  end_ = position + static_cast<Index>(fingerprint_digits);
  return true;
}

bool RecordedOperator::Record::replay(const std::string& input, Block Y) {
  if (!replaying_) return false;
  const std::string expected = head(input, Y.cols());
  std::string found;
  read(found, head_bytes, end_);
  if (found == expected) {
    if (read_rest(found, Y.cols(), [&](Index i, Index j) { return &Y(i, j); })) {
      ++replayed_;
      return true;
    }
  } else if (could_be_whole(found)) {
    const Index before = end_;
    Vector unused(std::min(at_once, n_));
    const Index cols = integer_at(std::string_view(found).substr(marker.size() + 16));
    if (read_rest(found, cols, [&](Index, Index) { return unused.data(); })) {
      end_ = before;
      throw InputError(
          fmt::format("the checkpoint '{}' is not of this run: its product {} is of other vectors, so the "
                      "data, the options, the threads or the machine changed; remove it or name another file",
                      path_, replayed_ + 1));
    }
  }
  replaying_ = false;
  const int failure = truncate_to(*file_, end_);
  if (failure != 0) stop(failure);
  return false;
}

void RecordedOperator::Record::append(const std::string& input, ConstBlock Y) {
  if (!in_use()) return;
  const SizeLimitSignal held;
  Fingerprint written;
  Index position = end_;
  int failure = 0;
  const auto put = [&](std::string_view bytes) {
    written.add(bytes);
    failure = write_at(*file_, bytes, position);
    position += static_cast<Index>(bytes.size());
    return failure == 0;
  };
  synced_ = false;
  if (!put(head(input, Y.cols())) ||
      !visit_pieces(n_, Y.cols(),
                    [&](Index i, Index j, Index count) { return put(bytes_of(Y, i, j, count)); }) ||
      !put(written.hex())) {
    (void)truncate_to(*file_, end_);  // where this fails too, the next run drops the product
    stop(failure);
    return;
  }
  end_ = position;
  ++recorded_;
  if (std::chrono::steady_clock::now() - last_sync_ >= sync_interval) sync();
}

void RecordedOperator::Record::sync() {
  const int failure = sync_data(*file_);
  if (failure != 0) stop(failure);
  synced_ = true;
  last_sync_ = std::chrono::steady_clock::now();
}

// The file stays locked: what is in it is this run's.
void RecordedOperator::Record::stop(int reason) {
  problem_ = fmt::format("recording to the checkpoint '{}' stopped after product {}: {}", path_,
                         replayed_ + recorded_, std::strerror(reason));
}

void RecordedOperator::Record::finish() {
  if (!in_use()) return;
  if (leads_to(resolved_path_, *file_) && unlink(resolved_path_.c_str()) != 0)
    problem_ = fmt::format("cannot remove the checkpoint '{}': {}", path_, std::strerror(errno));
  file_.reset();
}

RecordedOperator::RecordedOperator(const TrainingOperator& H, std::string path, std::string run)
    : H_(H), record_(std::make_unique<Record>(std::move(path), run, H.size())) {}

RecordedOperator::~RecordedOperator() = default;

Index RecordedOperator::replayed() const noexcept { return record_->replayed(); }
Index RecordedOperator::recorded() const noexcept { return record_->recorded(); }
const std::string& RecordedOperator::problem() const noexcept { return record_->problem(); }
void RecordedOperator::finish() { record_->finish(); }

void RecordedOperator::do_apply(ConstBlock X, Block Y) const {
  if (!record_->in_use()) {
    H_.apply(X, Y);
    return;
  }
  const std::string input = fingerprint(X);
  if (record_->replay(input, Y)) return;
  H_.apply(X, Y);
  record_->append(input, Y);
}

}  // namespace gradflow
