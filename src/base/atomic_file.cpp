#include "gradflow/base/atomic_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "gradflow/base/error.h"

namespace gradflow {

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
  temporary_ = path_ + ".XXXXXX";
  const int descriptor = mkstemp(temporary_.data());
  if (descriptor < 0) {
    const int reason = errno;
    temporary_.clear();
    fail(reason);
  }
  const mode_t mask = umask(0);
  umask(mask);
  mode_t mode = 0666 & ~mask;
  struct stat existing {};
  if (stat(path_.c_str(), &existing) == 0) mode = existing.st_mode & 0777;
  (void)fchmod(descriptor, mode);
  file_ = fdopen(descriptor, "wb");
  if (file_ == nullptr) fail(errno);
}

AtomicFile::~AtomicFile() {
  if (file_ != nullptr) std::fclose(file_);
  if (!temporary_.empty()) std::remove(temporary_.c_str());
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
}

void write_file_atomically(const std::string& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

}  // namespace gradflow
