#pragma once

#include <limits>

namespace gradflow {

inline constexpr double infinity = std::numeric_limits<double>::infinity();
inline constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();  ///< what was not computed
inline constexpr double machine_epsilon = std::numeric_limits<double>::epsilon();

}  // namespace gradflow
