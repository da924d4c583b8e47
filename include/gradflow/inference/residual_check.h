#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>

#include "gradflow/base/random.h"
#include "gradflow/inference/outcome.h"
#include "gradflow/spectrum/projected_spectrum.h"

namespace gradflow {

struct ResidualCheckOptions {
  int draws = 4999;  ///< simulated residuals behind every p-value, >= 99
  std::uint64_t seed = 1;
  double threshold = 0.01;  ///< p below which a departure is said, in (0, 1)
  /// Draws residuals under the model: rows as many as are checked, columns as many as asked for; empty:
  /// independent standard normal, and permutations for the dependence.
  std::function<Matrix(RandomStream&, Index count)> draw_under_model{};
  void check() const;  ///< throws InputError naming the field
};

/// Are standardised residuals normal and independent along the order of the rows?
///
///     Anderson-Darling A^2 with mean and standard deviation estimated; skewness m3 / m2^1.5;
///     kurtosis m4 / m2^2 (3 for a normal);   lag one: r_1 = sum d_i d_{i+1} / sum d_i^2, d = x - mean
///
/// Every p-value is Monte Carlo with the same draws, (1 + draws at least as extreme) / (1 + draws), so that
/// it holds for any n; skewness, kurtosis and lag one are two-sided (twice the smaller tail). They are never
/// below 1 / (1 + draws) (two-sided: twice that). The three tests of normality share the threshold
/// (Bonferroni). Leave-one-out residuals of a flexible fit are correlated with each other: draw_under_model =
/// ModelResiduals(...) makes both checks exact for fixed tau.
struct ResidualCheck {
  Outcome outcome = Outcome::not_run;  ///< unidentified: fewer than 8 residuals, or all equal
  double anderson_darling = std::numeric_limits<double>::quiet_NaN();
  double skewness = std::numeric_limits<double>::quiet_NaN();
  double kurtosis = std::numeric_limits<double>::quiet_NaN();
  double lag_one = std::numeric_limits<double>::quiet_NaN();
  double anderson_darling_p_value = std::numeric_limits<double>::quiet_NaN();
  double skewness_p_value = std::numeric_limits<double>::quiet_NaN();
  double kurtosis_p_value = std::numeric_limits<double>::quiet_NaN();
  double lag_one_p_value = std::numeric_limits<double>::quiet_NaN();
  int draws = 0;
  bool departs_from_normal = false;
  bool depends_on_order = false;
  std::string normality = "residual_check() has not been called";   ///< a sentence, with what to do
  std::string dependence = "residual_check() has not been called";  ///< likewise
};

/// `residuals`: n, in the order of the rows, each over its own standard deviation. Cost draws x n log n.
ResidualCheck residual_check(const Vector& residuals, const ResidualCheckOptions& options = {});

/// Standardised leave-one-out residuals of `ridge`, in units of s: (P y)_i / P_ii^1/2, P = QU phi U'Q', from
/// z = U'Q'(y - f0) (values beyond the spectrum's N are ignored). A row of leverage 1 has none: 0.
class ModelResiduals {
 public:
  /// Holds n N doubles; copies share them.
  ModelResiduals(const ProjectedSpectrum& spectrum, double tau);

  Vector of(const Vector& z) const;
  /// `count` draws under the model, cov(P e) = P. Cost 2 n N flops a draw.
  Matrix operator()(RandomStream& random, Index count) const;

 private:
  Vector half_;  // phi^1/2
  std::shared_ptr<const Matrix> factor_;
};

}  // namespace gradflow
