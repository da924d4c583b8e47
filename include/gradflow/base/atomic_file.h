#pragma once

#include <cstdio>
#include <string>
#include <string_view>

namespace gradflow {

/// A file that appears whole or not at all: bytes go to a temporary file in the same folder, which commit()
/// flushes to disk and renames onto `path`. Without commit() the temporary is removed. A path that exists and
/// is neither a regular file nor a link to one (a terminal, a pipe, /dev/full) is written directly.
///
/// Throws FileError, naming the path and the system's reason: "cannot write 'PATH': REASON".
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::string_view bytes);
  void commit();

 private:
  [[noreturn]] void fail(int error_number);

  std::string path_;       // what the user asked for, links followed
  std::string temporary_;  // empty when written directly
  std::FILE* file_ = nullptr;
};

/// One call: all bytes or nothing.
void write_file_atomically(const std::string& path, std::string_view bytes);

}  // namespace gradflow
