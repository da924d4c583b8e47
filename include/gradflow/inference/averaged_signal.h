#pragma once

#include <limits>
#include <string>
#include <vector>

#include "gradflow/inference/reml.h"

namespace gradflow {

/// A random-effects model of the signal, Var(w) = s2 (I + p(M)):
///
///     power a >= 1   p(lambda) = exp(log_scale) (lambda / lambda_1)^a
///     power 0        p(lambda) = exp(exp(log_scale) lambda / lambda_1) - 1, under which the flow is the BLUP
struct SignalModel {
  double power = 1.0;
  double log_scale = 0.0;
  double weight = 0.0;  ///< posterior, all summing to one
  double noise_variance =
      std::numeric_limits<double>::quiet_NaN();                 ///< s2 given the model, squared units of w
  double criterion = std::numeric_limits<double>::quiet_NaN();  ///< Q of the model

  /// p at each lambda; `largest` is lambda_1.
  Vector prior(const Vector& lambda, double largest) const;
};

/// Signal and noise variance averaged over what is not known of the model.
///
/// Models: tau M^a with 1 <= a <= 6, log a uniform, two thirds of the prior probability; the flow's own
/// covariance s2 (exp(tM) - 1), one third. On the signal's share h = m/(1 + m), m the mean of p(lambda) over
/// the N directions, each has the prior density h (1 - h)^(1/2) d log m; s2 is profiled. So with Q minus
/// twice the profiled restricted log-likelihood, weight ~ prior exp(-Q/2).
///
/// Averaging matters where the data say little: the power decides how fast the signal falls off, from ridge's
/// (a = 1) to next to nothing beyond the leading eigenvectors, where linear functions live.
struct AveragedSignal {
  Outcome outcome = Outcome::not_run;
  std::string reason = "not asked for";
  double largest = std::numeric_limits<double>::quiet_NaN();           ///< lambda_1
  double noise_variance = std::numeric_limits<double>::quiet_NaN();    ///< E[s2]
  double power = std::numeric_limits<double>::quiet_NaN();             ///< E[a] of the powers
  double flow_probability = std::numeric_limits<double>::quiet_NaN();  ///< of the flow's covariance
  std::vector<SignalModel> models{};                                   ///< what was averaged over

  /// The same models weighted by what other data, close to these, make of their likelihoods: for the spread
  /// over resampled data. One evaluation of Q a model.
  AveragedSignal weighted_by(const SpectralData& data) const;

  /// E[s2 p(lambda)] / E[s2]: the signal's variance over the noise's in directions of eigenvalue lambda.
  Vector prior(const Vector& lambda) const;
};

/// By the trapezoidal rule with corrected ends in log scale and log a, on grids that are narrowed until they
/// follow the posterior down to exp(-13) of its maximum; scales up to options.largest_shrinkage^a, where the
/// outcome is on_boundary if the posterior still rises. `ridge`, from fit_reml on the same data: where it is
/// not usable its outcome is returned and nothing is averaged, and where it is zero the outcome is at_zero
/// beside the average. Cost: an evaluation of Q, N flops and a logarithm each, for every scale of every
/// power.
AveragedSignal average_signal(const SpectralData& data, const RemlFit& ridge,
                              const RemlOptions& options = {});

}  // namespace gradflow
