#pragma once

#include <cstdint>
#include <limits>

#include "gradflow/base/types.h"

namespace gradflow {

/// p-value from R draws of a statistic under its null:
///
///     p = (1 + #{draws >= observed}) / (R + 1)
///
/// Counting the observed value among the draws makes Pr(p <= a) <= a at every R. It cannot be smaller than
/// 1 / (R + 1): where no draw reached the observed value, p is an upper bound and says nothing of how much
/// smaller the exact one is. Source: Davison and Hinkley (1997), 4.2; Phipson and Smyth (2010).
struct ResampledPValue {
  double p_value = std::numeric_limits<double>::quiet_NaN();
  double log10_p_value = std::numeric_limits<double>::quiet_NaN();
  double standard_error =
      std::numeric_limits<double>::quiet_NaN();  ///< of p, binomial; 0: every arrangement was counted
  Index draws = 0;                               ///< R
  Index exceedances = 0;                         ///< draws at or above the observed value
  bool upper_bound = false;                      ///< no draw reached it: the exact p may be far below
  std::uint64_t seed = 0;
};

/// Throws InputError unless 0 <= exceedances <= draws, draws >= 1.
ResampledPValue resampled_p_value(Index exceedances, Index draws, std::uint64_t seed);

/// Sequential form (Besag and Clifford 1991): drawing stopped at the exceedance that had been waited for, the
/// last of `draws`. p = exceedances / draws, as valid; standard error p sqrt((1 - p) / exceedances).
ResampledPValue stopped_p_value(Index exceedances, Index draws, std::uint64_t seed);

}  // namespace gradflow
