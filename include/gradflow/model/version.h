#pragma once

#include <string_view>

namespace gradflow {

/// Version of the library and the program; src/cli/CMakeLists.txt holds it to the project's.
inline constexpr std::string_view version = "0.1.0";

}  // namespace gradflow
