#pragma once

#include <limits>
#include <memory>
#include <optional>

#include "gradflow/inference/posterior.h"

namespace gradflow {

class NewPointProjection;

/// Posterior of tau as nodes and weights, s2 integrated out:
///
///     p(tau | w) propto exp(-Q(tau)/2) p(tau),     Q the `ridge` criterion of reml.h
///
/// exp(-Q/2) is exactly what flat fixed effects and p(s2) propto 1/s2 leave. p(tau): the signal's share of a
/// prior response's variance, h = tau m / (1 + tau m) with m = tr M / N, is Beta(a, a); a = 1 is uniform. It
/// is proper at both ends, where exp(-Q/2) may be flat, and does not change when H or y is rescaled.
struct TimePosterior {
  Vector times;    ///< K >= 1, ascending, tau > 0 (one node, tau = 0, when M is zero)
  Vector weights;  ///< K, > 0, sum 1
  double log_time_mean = std::numeric_limits<double>::quiet_NaN();
  double log_time_sd = std::numeric_limits<double>::quiet_NaN();
  /// Largest change of the mean and sd of log tau and of the log evidence at the last halving of the step.
  double error = std::numeric_limits<double>::quiet_NaN();
  Outcome outcome = Outcome::not_run;  ///< converged; iteration_limit when error is above 1e-6
};

struct PredictiveOptions {
  double prior_shape = 1.0;        ///< a > 0; 1/2: more weight on no signal and on no noise
  double largest_shrinkage = 1e8;  ///< > 0: the prior is cut off above tau lambda_1 = this
  void check() const;              ///< throws InputError naming the field
};

/// Trapezoidal rule in log tau with the step halved until it stops moving, at most 8193 nodes of which those
/// below 1e-10 of the weight are dropped. Cost: some 1,000 evaluations of Q. Throws InputError when w = 0.
TimePosterior time_posterior(const SpectralData& data, const PredictiveOptions& options = {});

/// Standard deviation of log tau from the curvature of Q at the `ridge` path's time, sqrt(2 / Q''); NaN where
/// Q is not convex there or the time is 0 or infinite.
double log_time_standard_deviation(const SpectralData& data, const Path& ridge);

/// Distributions at m points, each a mixture of K Student t with common weights and degrees of freedom:
///
///     p(y) = sum_k weight_k  t_dof( (y - location_k) / scale_k ) / scale_k
struct StudentMixtures {
  Vector weights;                                         ///< K, sum 1
  Matrix locations;                                       ///< m x K
  Matrix scales;                                          ///< m x K, >= 0
  double dof = std::numeric_limits<double>::quiet_NaN();  ///< infinite: normal

  Vector mean() const;                        ///< m; NaN when dof <= 1
  Vector sd() const;                          ///< m; infinite when dof <= 2
  Vector cdf(const Vector& y) const;          ///< at one value per point
  Vector log_density(const Vector& y) const;  ///< likewise
  Vector quantile(double probability) const;  ///< in (0, 1); by root finding to 40 bits
};

/// Predictions of `ridge` that carry the uncertainty of tau and s2, not only that of the function given them:
///
///     y* | tau, y ~ t_N( mu_tau(x),  s2_tau (1 + var_tau(x)/s2_tau) ),   s2_tau = w'(I + tau M)^-1 w / N
///
/// integrated over time_posterior(). Given tau this is the t prediction interval of generalised least
/// squares; at tau = 0 that of ordinary regression. As N grows and the posterior of tau narrows it becomes
/// the normal N(mu(x), s2 + var(x)) of PosteriorVariance.
class RidgePredictive {
 public:
  enum class Target { response, mean_function };

  /// Every node costs 4 N flops per point. `response` = y - f0. Throws InputError for wrong sizes and w = 0.
  static RidgePredictive integrated(const TrainingOperator& H, const FixedEffects& fixed,
                                    const ProjectedSpectrum& spectrum, const Vector& response,
                                    const PredictiveOptions& options = {});

  /// Without an eigendecomposition, to first order in log tau around `tau`:
  ///
  ///     scale^2 = s2 (1 + var(x)/s2) + (d mu(x) / d log tau)^2 log_time_sd^2,
  ///     d mu / d log tau = tau c_x'Q (I + tau M)^-2 w
  ///
  /// one t_N. `log_time_sd` >= 0, for example from log_time_standard_deviation(); ignored at tau = 0. Misses
  /// the skewness of tau's posterior. `pure`: of replicates that were merged into rows (their directions
  /// count in N and s2). Cost n^3/3.
  static RidgePredictive delta(const TrainingOperator& H, const FixedEffects& fixed, const Vector& response,
                               double tau, double log_time_sd, const PureError& pure = {});

  /// Distributions at m new rows; `f0` there: empty for zeros. mean_function: of the trend without noise.
  StudentMixtures at(const NewPoints& points, const Vector& f0 = {}, Target target = Target::response) const;

  const TimePosterior& posterior() const noexcept { return posterior_; }  ///< one node for delta

 private:
  RidgePredictive(const TrainingOperator& H, const FixedEffects& fixed, const Vector& response);
  void add_spectral_terms(const Matrix& C, Matrix& means, Matrix& variances) const;

  std::shared_ptr<const NewPointProjection> projection_;
  Vector coefficients_;  // (X'X)^-1 X'(y - f0)
  TimePosterior posterior_;
  Vector noise_variance_;  // s2 at the nodes
  double dof_;
  Matrix basis_;          // integrated: Q U
  Vector values_, z_;     // integrated: lambda, coordinates of w
  Matrix factor_;         // delta: L of I + tau M
  Vector alpha_, slope_;  // delta: tau P w, and its derivative by log tau times the sd
};

}  // namespace gradflow
