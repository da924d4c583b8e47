#pragma once

namespace gradflow {

/// A residual sum of squares below this share of the response's is rounding: nothing is left to estimate a
/// variance from.
inline constexpr double explained_share = 1e-24;

/// Values of a statistic nearer than this share of them are tied: permutations that give the same value round
/// differently.
inline constexpr double tie = 1e-10;

}  // namespace gradflow
