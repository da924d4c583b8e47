#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <string_view>

#include "gradflow/base/error.h"

namespace gradflow {

/// The message of the InputError that the call throws; a failed expectation and "" when it throws none.
inline std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const InputError& error) {
    return error.what();
  }
  ADD_FAILURE() << "no InputError was thrown";
  return "";
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
