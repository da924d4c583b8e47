#pragma once

#include <string>
#include <vector>

#include "gradflow/model/job.h"

namespace gradflow {

/// The projected operator in a few numbers.
struct SpectrumSummary {
  double largest, smallest, trace;
  double condition;       ///< largest / smallest; infinite for a singular operator
  double effective_rank;  ///< (sum lambda)^2 / sum lambda^2
};
SpectrumSummary summarise(const Vector& eigenvalues);

/// A fixed effect in the units of the data.
struct FixedCoefficient {
  std::string name;
  double value;
};

/// Standardisation undone: a covariate x = (raw - c)/s with coefficient b has b/s per raw unit, and the
/// intercept becomes center + b_0 - sum b c/s. Empty when the chosen rule is not usable.
std::vector<FixedCoefficient> raw_coefficients(const PreparedJob& prepared, const Analysis& analysis);

/// Standard deviation of the response, in its own units (divisor n - 1).
double response_sd(const Observations& observations);

/// Ratio of the largest to the smallest positive finite time among the usable rules, and their names; ratio 1
/// when fewer than two have one; the usable rules that would not train (time 0).
struct Disagreement {
  double ratio = 1.0;
  std::string earliest, latest;
  std::vector<std::string> at_zero;
};
Disagreement disagreement(const std::vector<StoppingRule>& rules);

}  // namespace gradflow
