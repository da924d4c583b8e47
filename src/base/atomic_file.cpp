#include "gradflow/base/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>
#include <utility>

#include "gradflow/base/error.h"

namespace gradflow {
namespace {

// What remove_temporaries_now() knows. The owner of a temporary takes a slot, free -> filling -> live, and
// gives it back, live -> free. A remover takes live -> removing -> removed, and the owner gives that back
// too; an owner that comes while the remover still reads the path leaves the slot to it, removing ->
// abandoned -> free.
enum class SlotState { free, filling, live, removing, removed, abandoned };

struct Slot {
  std::atomic<SlotState> state{SlotState::free};
  std::array<char, PATH_MAX> path{};
};
static_assert(std::atomic<SlotState>::is_always_lock_free, "a signal handler may not wait for a lock");

constinit std::array<Slot, 16> slots;

// The slot that now holds the path, or -1 when it is too long or all are taken.
int take_slot(const std::string& path) noexcept {
  if (path.size() >= PATH_MAX) return -1;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    SlotState expected = SlotState::free;
    if (!slots[i].state.compare_exchange_strong(expected, SlotState::filling)) continue;
    std::memcpy(slots[i].path.data(), path.c_str(), path.size() + 1);
    slots[i].state.store(SlotState::live);
    return static_cast<int>(i);
  }
  return -1;
}

void give_slot_back(int index) noexcept {
  if (index < 0) return;
  std::atomic<SlotState>& state = slots[static_cast<std::size_t>(index)].state;
  SlotState expected = SlotState::live;
  if (state.compare_exchange_strong(expected, SlotState::free)) return;
  expected = SlotState::removing;
  if (!state.compare_exchange_strong(expected, SlotState::abandoned)) state.store(SlotState::free);
}

// Six letters and digits, as mkstemp chooses them.
std::string random_suffix() {
  constexpr std::string_view letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  std::random_device random;
  std::uniform_int_distribution<std::size_t> any(0, letters.size() - 1);
  std::string suffix;
  for (int i = 0; i < 6; ++i) suffix += letters[any(random)];
  return suffix;
}

}  // namespace

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  if (path_.empty()) throw FileError("cannot write '': an output path is required");
  const fs::file_status status = fs::status(path_, ignored);
  if (fs::is_directory(status)) fail(EISDIR);
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    file_ = std::fopen(path_.c_str(), "wb");
    if (file_ == nullptr) fail(errno);
    return;
  }
  if (fs::is_symlink(fs::symlink_status(path_, ignored))) {
    const fs::path target = fs::weakly_canonical(path_, ignored);
    if (!ignored) path_ = target.string();
  }
  const int descriptor = open_temporary();
  const mode_t mask = umask(0);
  umask(mask);
  mode_t mode = 0666 & ~mask;
  struct stat existing {};
  if (stat(path_.c_str(), &existing) == 0) mode = existing.st_mode & 0777;
  (void)fchmod(descriptor, mode);
  file_ = fdopen(descriptor, "wb");
  if (file_ != nullptr) return;
  const int reason = errno;
  close(descriptor);
  forget_temporary();
  fail(reason);
}

// Registers the name before the file exists, which mkstemp cannot: a signal between the two leaves nothing
// behind. A name that turns out to be another file's is given back at once.
int AtomicFile::open_temporary() {
  constexpr int most_attempts = 100;
  for (int attempt = 1;; ++attempt) {
    temporary_ = fmt::format("{}.{}", path_, random_suffix());
    slot_ = take_slot(temporary_);
    const int descriptor = open(temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (descriptor >= 0) return descriptor;
    const int reason = errno;
    give_slot_back(std::exchange(slot_, -1));
    temporary_.clear();  // not ours to remove
    if (reason != EEXIST || attempt == most_attempts) fail(reason);
  }
}

void AtomicFile::forget_temporary() noexcept {
  if (temporary_.empty()) return;
  std::remove(temporary_.c_str());
  temporary_.clear();
  give_slot_back(std::exchange(slot_, -1));
}

AtomicFile::~AtomicFile() {
  if (file_ != nullptr) std::fclose(file_);
  forget_temporary();
}

void AtomicFile::fail(int error_number) {
  throw FileError(fmt::format("cannot write '{}': {}", path_, std::strerror(error_number)));
}

void AtomicFile::write(std::string_view bytes) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), file_) != bytes.size()) fail(errno);
}

void AtomicFile::commit() {
  if (std::fflush(file_) != 0) fail(errno);
  if (!temporary_.empty() && fsync(fileno(file_)) != 0) fail(errno);
  std::FILE* const closing = std::exchange(file_, nullptr);
  if (std::fclose(closing) != 0) fail(errno);
  if (temporary_.empty()) return;
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) fail(errno);
  temporary_.clear();
  give_slot_back(std::exchange(slot_, -1));
}

void write_file_atomically(const std::string& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void remove_temporaries_now() noexcept {
  const int saved_errno = errno;
  for (Slot& slot : slots) {
    SlotState expected = SlotState::live;
    if (!slot.state.compare_exchange_strong(expected, SlotState::removing)) continue;
    unlink(slot.path.data());
    expected = SlotState::removing;
    if (!slot.state.compare_exchange_strong(expected, SlotState::removed)) slot.state.store(SlotState::free);
  }
  errno = saved_errno;
}

}  // namespace gradflow
