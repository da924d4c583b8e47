#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace gradflow {

/// What tells whether a file is still the one that was read. All but `path` and `regular` are 0 for what is
/// not a regular file (a pipe, a terminal): it has no content to come back to.
struct FileStamp {
  std::string path;              ///< as given; links are followed
  std::uint64_t size = 0;        ///< bytes
  std::int64_t modified_ns = 0;  ///< nanoseconds since 1970-01-01 00:00 UTC
  std::uint64_t inode = 0;
  bool regular = false;
};

/// The stamp of what is at the path now. Take it before reading the file: a change during the reading then
/// shows too. Reads nothing of the content. Throws FileError "cannot read 'PATH': REASON".
FileStamp stamp_file(const std::string& path);

/// Whether size, modification time and inode are still those of the stamp; false when the file is gone or
/// cannot be reached, true for a stamp of what is not a regular file. Not seen is a change that keeps the
/// size and falls within one tick of the file system's clock (some ms) of the modification before it, or
/// after which the time was set back.
bool unchanged(const FileStamp& stamp);

/// 128-bit fingerprint of a sequence of bytes, the same on every machine:
///
///     MurmurHash3_x64_128 with seed 0, of all that was added, in order
///
/// Only the bytes count, not how they were divided into calls: who adds texts of varying length also adds the
/// lengths. Numbers add 8 bytes, least significant first: the two's complement of an integer; the IEEE 754
/// bits of a double, where every NaN is 0x7ff8000000000000 and -0 differs from 0. Made against accidents
/// (2^-128 per pair); somebody who wants two equal fingerprints can have them.
/// Cost: O(bytes), no allocation. Source: A. Appleby, MurmurHash3, smhasher (public domain).
class Fingerprint {
 public:
  void add(std::string_view bytes);
  void add(double value);
  void add(std::int64_t value);
  void add(const double* values, std::size_t count);  ///< the same as each value in turn

  /// Of what was added so far, 32 lower-case digits: h1, then h2, most significant digit first.
  std::string hex() const;

 private:
  std::uint64_t h1_ = 0, h2_ = 0;
  std::uint64_t length_ = 0;               // bytes added
  std::array<unsigned char, 16> block_{};  // the last length_ % 16 bytes wait here for the rest of a block
};

}  // namespace gradflow
