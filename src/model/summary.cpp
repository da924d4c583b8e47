#include "gradflow/model/summary.h"

#include <cmath>
#include <limits>

namespace gradflow {

SpectrumSummary summarise(const Vector& eigenvalues) {
  SpectrumSummary summary{};
  if (eigenvalues.size() == 0) return summary;
  summary.largest = eigenvalues.maxCoeff();
  summary.smallest = eigenvalues.minCoeff();
  summary.trace = eigenvalues.sum();
  summary.condition = summary.largest / summary.smallest;
  summary.effective_rank = summary.trace * summary.trace / eigenvalues.squaredNorm();
  return summary;
}

std::vector<FixedCoefficient> raw_coefficients(const PreparedJob& prepared, const Analysis& analysis) {
  std::vector<FixedCoefficient> coefficients;
  const Recipe& recipe = prepared.dataset.recipe;
  const std::vector<std::string>& names = analysis.fixed.names();
  const Vector& beta = analysis.fit.beta;
  if (beta.size() == 0) return coefficients;
  const auto covariates = static_cast<Index>(recipe.covariates.size());
  const bool intercept = beta.size() == covariates + 1;
  double at_zero = intercept ? recipe.target_center + beta(0) : 0.0;
  for (Index j = 0; j < beta.size(); ++j) {
    const Index covariate = intercept ? j - 1 : j;
    double value = beta(j);
    if (covariate >= 0) {
      const EncodedColumn& column = recipe.covariates[static_cast<std::size_t>(covariate)];
      value /= column.scale;
      at_zero -= value * column.center;
    }
    coefficients.push_back({names[static_cast<std::size_t>(j)], value});
  }
  if (intercept) coefficients.front().value = at_zero;
  return coefficients;
}

double response_sd(const Observations& observations) {
  const Vector& y = observations.y;
  const double spread = (y.array() - y.mean()).matrix().squaredNorm();
  return std::sqrt(spread / static_cast<double>(y.size() - 1));
}

Disagreement disagreement(const std::vector<StoppingRule>& rules) {
  double smallest = std::numeric_limits<double>::infinity(), largest = 0.0;
  Disagreement result;
  for (const StoppingRule& rule : rules) {
    if (usable(rule.outcome) && rule.time == 0.0) result.at_zero.push_back(rule.name);
    if (!usable(rule.outcome) || !(rule.time > 0.0) || !std::isfinite(rule.time)) continue;
    if (rule.time < smallest) {
      smallest = rule.time;
      result.earliest = rule.name;
    }
    if (rule.time > largest) {
      largest = rule.time;
      result.latest = rule.name;
    }
  }
  if (largest > 0.0) result.ratio = largest / smallest;
  return result;
}

}  // namespace gradflow
