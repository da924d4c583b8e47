#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <string_view>

namespace gradflow {

/// The caller's input cannot be used. The message is one sentence that names the file, line, column or
/// option, the value, and what is required. The program exits with 2.
class InputError : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

/// An operation of the system failed (no space left, permission denied). The program exits with 2 when it
/// concerns a path the user named, and the message names that path.
class FileError : public InputError {
 public:
  using InputError::InputError;
};

/// A law that gradflow guarantees was found broken: our fault, never the caller's. The program exits with 4.
class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// Throws InputError "WHAT = VALUE: MUST" unless the condition holds.
template <typename Value>
void require(bool condition, std::string_view what, const Value& value, std::string_view must) {
  if (!condition) throw InputError(fmt::format("{} = {}: {}", what, value, must));
}

}  // namespace gradflow
