#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gradflow::cli {

inline constexpr int exit_usable = 0;
inline constexpr int exit_bad_input = 2;
inline constexpr int exit_not_usable = 3;
inline constexpr int exit_fault = 4;

/// Throws FileError "cannot write 'PATH': REASON" when a file could not be created there, and InputError when
/// it is one of the inputs: before the long work, not after it. An empty path and "-" pass.
void require_writable(const std::string& path, const std::vector<std::string>& inputs);

/// Whether two files to be written are one, however their paths are spelt. An empty path is no file.
bool same_file(const std::string& a, const std::string& b);

/// Writes to standard output. Throws FileError when the system refuses.
void print(std::string_view text);

}  // namespace gradflow::cli
