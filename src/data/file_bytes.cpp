#include "data/file_bytes.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "gradflow/base/error.h"

namespace gradflow {
namespace {

[[noreturn]] void fail(const std::string& path, int error_number) {
  throw FileError(fmt::format("cannot read '{}': {}", path, std::strerror(error_number)));
}

}  // namespace

std::string read_file_bytes(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), &std::fclose);
  if (!file) fail(path, errno);
  struct stat status {};
  if (fstat(fileno(file.get()), &status) != 0) fail(path, errno);
  if (S_ISDIR(status.st_mode)) fail(path, EISDIR);

  std::string bytes;
  constexpr std::size_t chunk = 1 << 20;
  if (S_ISREG(status.st_mode)) bytes.reserve(static_cast<std::size_t>(status.st_size) + chunk);
  std::size_t filled = 0;
  while (true) {
    bytes.resize(filled + chunk);
    const std::size_t count = std::fread(bytes.data() + filled, 1, chunk, file.get());
    filled += count;
    if (count < chunk) break;
  }
  if (std::ferror(file.get()) != 0) fail(path, errno);
  bytes.resize(filled);
  return bytes;
}

}  // namespace gradflow
