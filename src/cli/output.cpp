#include "cli/output.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "gradflow/base/error.h"

namespace gradflow::cli {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void refuse(const std::string& path, int error_number) {
  throw FileError(fmt::format("cannot write '{}': {}", path, std::strerror(error_number)));
}

}  // namespace

void require_writable(const std::string& path, const std::vector<std::string>& inputs) {
  if (path.empty() || path == "-") return;
  std::error_code ignored;
  const fs::file_status status = fs::status(path, ignored);
  if (fs::is_directory(status)) refuse(path, EISDIR);
  for (const std::string& input : inputs)
    if (!input.empty() && fs::exists(status) && fs::equivalent(path, input, ignored))
      throw InputError(fmt::format("the output '{}' is one of the inputs", path));
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    if (access(path.c_str(), W_OK) != 0) refuse(path, errno);
    return;
  }
  const fs::path folder = fs::path(path).has_parent_path() ? fs::path(path).parent_path() : fs::path(".");
  if (!fs::exists(folder, ignored)) refuse(path, ENOENT);
  if (!fs::is_directory(folder, ignored)) refuse(path, ENOTDIR);
  if (access(folder.c_str(), W_OK | X_OK) != 0) refuse(path, errno);
}

bool same_file(const std::string& a, const std::string& b) {
  if (a.empty() || b.empty()) return false;
  std::error_code ignored;
  return a == b ||
         fs::weakly_canonical(fs::absolute(a), ignored) == fs::weakly_canonical(fs::absolute(b), ignored);
}

void print(std::string_view text) {
  const std::size_t written = std::fwrite(text.data(), 1, text.size(), stdout);
  if (written != text.size() || std::fflush(stdout) != 0)
    throw FileError(fmt::format("cannot write standard output: {}", std::strerror(errno)));
}

}  // namespace gradflow::cli
