#include "gradflow/inference/resampled_p_value.h"

#include <cmath>

#include "gradflow/base/error.h"

namespace gradflow {

ResampledPValue resampled_p_value(Index exceedances, Index draws, std::uint64_t seed) {
  require(draws >= 1, "draws", draws, "must be >= 1");
  require(exceedances >= 0 && exceedances <= draws, "exceedances", exceedances,
          "must be between 0 and the number of draws");
  const auto R = static_cast<double>(draws), p = (1.0 + static_cast<double>(exceedances)) / (R + 1.0);
  return {.p_value = p,
          .log10_p_value = std::log10(p),
          .standard_error = std::sqrt(p * (1.0 - p) / R),
          .draws = draws,
          .exceedances = exceedances,
          .upper_bound = exceedances == 0,
          .seed = seed};
}

ResampledPValue stopped_p_value(Index exceedances, Index draws, std::uint64_t seed) {
  require(exceedances >= 1 && exceedances <= draws, "exceedances", exceedances,
          "must be between 1 and the number of draws");
  const auto h = static_cast<double>(exceedances), p = h / static_cast<double>(draws);
  return {.p_value = p,
          .log10_p_value = std::log10(p),
          .standard_error = p * std::sqrt((1.0 - p) / h),
          .draws = draws,
          .exceedances = exceedances,
          .upper_bound = false,
          .seed = seed};
}

}  // namespace gradflow
