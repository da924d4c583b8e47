#pragma once

#include <cstdio>
#include <string>
#include <string_view>

namespace gradflow {

/// A file that appears whole or not at all: bytes go to a temporary file in the same folder, which commit()
/// flushes to disk and renames onto `path`. Without commit() the temporary is removed. A path that exists and
/// is neither a regular file nor a link to one (a terminal, a pipe, /dev/full) is written directly.
///
/// A program that ends without unwinding (a signal) calls remove_temporaries_now() first.
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
  int open_temporary();
  void forget_temporary() noexcept;
  [[noreturn]] void fail(int error_number);

  std::string path_;       // what the user asked for, links followed
  std::string temporary_;  // empty when written directly
  int slot_ = -1;          // where remove_temporaries_now() finds temporary_; -1: nowhere
  std::FILE* file_ = nullptr;
};

/// One call: all bytes or nothing.
void write_file_atomically(const std::string& path, std::string_view bytes);

/// Removes the temporaries of all AtomicFile objects alive, of which the first 16 are known; for signal
/// handlers. Async-signal-safe: takes no lock, allocates nothing, calls only unlink and leaves errno as it
/// was. Safe from any thread at any time. The files at the final paths are untouched; commit() of an
/// AtomicFile whose temporary is gone throws FileError.
void remove_temporaries_now() noexcept;

}  // namespace gradflow
