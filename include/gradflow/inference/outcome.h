#pragma once

#include <string>
#include <string_view>

namespace gradflow {

/// Why a computation ended. Not having an answer is data, not an exception.
enum class Outcome {
  not_run,          ///< not asked for, or not applicable; nothing in the result is an answer
  converged,        ///< usable
  at_zero,          ///< usable: the estimate is zero ("no training"), a result, not an error
  on_boundary,      ///< usable with the warning in `reason`: the estimate sits on a stated bound
  unidentified,     ///< the data cannot tell (all eigenvalues equal, nothing left after the fixed effects)
  iteration_limit,  ///< not converged within the stated limit; not usable
};

constexpr bool usable(Outcome outcome) {
  return outcome == Outcome::converged || outcome == Outcome::at_zero || outcome == Outcome::on_boundary;
}

std::string_view to_string(Outcome outcome);

/// [lower, upper] at the given level. NaN: not computed; an infinite upper end is a result (no upper bound).
struct Interval {
  double lower;
  double upper;
  double level;
};

}  // namespace gradflow
