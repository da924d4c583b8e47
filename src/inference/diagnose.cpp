#include "inference/diagnose.h"

#include <cmath>

namespace gradflow {
namespace {

constexpr int draws_of_check = 999;  // p from 0.001: enough beside a threshold of 0.01, and three tests

}  // namespace

void diagnose(Analysis& analysis, const RemlOptions& options, std::uint64_t seed) {
  const RemlFit& ridge = analysis.ridge;
  const double tau = ridge.path.time;
  analysis.components = profile_intervals(analysis.data, ridge, options);
  if (!usable(ridge.outcome) || !std::isfinite(tau)) {
    analysis.residuals.normality = analysis.residuals.dependence =
        "The residuals were not checked: the variance components have no estimate.";
    return;
  }
  ResidualCheckOptions check{.draws = draws_of_check, .seed = seed};
  const ModelResiduals residuals(analysis.spectrum, tau);
  check.draw_under_model = residuals;
  analysis.residuals = residual_check(residuals.of(analysis.data.z), check);
}

}  // namespace gradflow
