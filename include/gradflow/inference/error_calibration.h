#pragma once

#include <limits>
#include <string>

#include "gradflow/inference/analysis.h"
#include "gradflow/inference/left_out.h"

namespace gradflow {

/// A symmetric distribution of errors, heavier in the tails and at the centre than one of its members:
///
///     p(z) = sum_k weight_k t_dof(z / scale_k) / scale_k
struct ScaleMixture {
  Vector weights = Vector::Ones(1);  ///< K, > 0, sum 1
  Vector scales = Vector::Ones(1);   ///< K, > 0, ascending

  bool is_single() const noexcept { return weights.size() == 1; }
  double quantile(double probability, double dof) const;  ///< in (0, 1); dof infinite: normal members
};

/// How large errors of predictions are, in units of the scale that the model gives them: z = e / scale(x) is
///
///     z ~ factor sum_k weight_k N(0, scale_k^2),     sum_k weight_k scale_k^2 = 1 but for the grid
///
/// `factor` is the root mean square of the z. A single normal, unless a mixture of normals of any scales has
/// a log-likelihood above it by more than least_gain: then the mixture of largest likelihood (Kiefer and
/// Wolfowitz), of which Student's t is a special case. Of normal z the gain is above 4 in one sample of a
/// hundred, for 20 to 4,000 rows.
struct ErrorCalibration {
  static constexpr double least_gain = 4.0;  ///< of log-likelihood, to take the mixture
  static constexpr Index fewest_rows = 30;

  std::string reason = "calibrate() has not been called";  ///< a clause, where not known
  Index rows = 0;                                          ///< with an error; 0: not known
  double factor = std::numeric_limits<double>::quiet_NaN();
  ScaleMixture shape{};  ///< relative to factor
  /// Where the operator was chosen without each of so many folds too: the root mean square of the errors of
  /// every row by what was chosen without its fold, with which `factor` then is the geometric mean.
  int folds = 0;
  double left_out_factor = std::numeric_limits<double>::quiet_NaN();
  double gain =
      std::numeric_limits<double>::quiet_NaN();  ///< log-likelihood of the best mixture found above one scale

  bool known() const noexcept { return rows > 0; }
  /// Half the width of the interval at `level` over scale(x); with t_dof members, as the model's noise
  /// variance is an estimate with so many degrees of freedom.
  double half_width(double level, double dof) const {
    return factor * shape.quantile(0.5 + 0.5 * level, dof);
  }
  std::string sentence() const;  ///< what was found, or why nothing
  /// By left-out errors, of fewest_rows at least; nothing where one of the two is not known.
  void allow_for_choice(const LeftOutErrors& left_out);
};

/// Expectation-maximisation for the weights on a grid of scales, sqrt(2) apart, from 1/16 of the median size
/// to the largest: the likelihood is concave in them and rises at every step. It ends where no mixture on the
/// grid is better by more than 0.1 in log-likelihood (Lindsay's bound, n (max_k D_k - 1)), or after 1,000
/// steps. NaN and infinite errors have no part; fewer than fewest_rows errors, or half of them zero: not
/// known. Cost: 4 n K flops a step, K some 20. Sources: Kiefer and Wolfowitz, Ann. Math. Stat. 27 (1956);
/// Lindsay, Ann. Stat. 11 (1983).
ErrorCalibration calibrate(const Vector& errors);

/// Leave-one-out errors of `ridge` at fixed operator, tau and s2, over the scale that RidgePredictive::delta
/// gives a row it has not seen:
///
///     z_i = e_i / scale_i,   e_i = (Pw)_i / P_ii,   P = Q (I + tau M)^-1 Q',
///     scale_i^2 = s2 / P_ii + (d e_i / d log tau)^2 log_time_sd^2
///
/// n values, NaN for a row that alone determines a fixed effect. With weights of the whitened rows, in which
/// z does not depend on a row's own weight; of merged replicates the errors of their means. Cost 6 n N flops.
Vector standardised_errors(const ProjectedSpectrum& spectrum, const SpectralData& data, const RemlFit& ridge,
                           double log_time_sd);

/// The same of an analysis by the dense engine that has variance components.
Vector standardised_errors(const Analysis& analysis);

/// calibrate(standardised_errors()) of an analysis; not known, with the reason, where it has no eigenvectors
/// (the Krylov engine) or no variance components.
ErrorCalibration calibrate(const Analysis& analysis);

}  // namespace gradflow
