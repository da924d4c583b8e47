#pragma once

namespace gradflow {

/// Rows whose own part of QQ' is below this alone determine a fixed effect: there is no fit without them.
inline constexpr double leverage_one = 1e-10;

}  // namespace gradflow
