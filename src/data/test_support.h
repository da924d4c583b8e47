#pragma once

#include <gtest/gtest.h>
#include <zlib.h>

#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "support/message.h"

namespace gradflow {

/// zlib's stream of the text: window_bits 15 + 16 is gzip, -15 the raw deflate of zip members.
inline std::string deflated(std::string_view text, int window_bits) {
  z_stream stream{};
  deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY);
  std::string bytes(deflateBound(&stream, text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(bytes.data());
  stream.avail_out = static_cast<uInt>(bytes.size());
  deflate(&stream, Z_FINISH);
  bytes.resize(stream.total_out);
  deflateEnd(&stream);
  return bytes;
}

inline std::string file_contents(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void write_bytes(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

/// Every proper prefix of a valid file is refused with an InputError that names the file.
inline void expect_every_truncation_is_refused(std::string_view bytes,
                                               const std::function<void(std::string_view)>& parse) {
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    const std::string prefix(bytes.substr(0, length));  // its own allocation, so that an overrun is seen
    EXPECT_TRUE(message_of([&] { parse(prefix); }).starts_with("f")) << "at length " << length;
  }
}

}  // namespace gradflow
