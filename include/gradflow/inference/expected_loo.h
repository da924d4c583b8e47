#pragma once

#include <vector>

#include "gradflow/inference/averaged_signal.h"

namespace gradflow {

/// What leaving a row out makes of a coordinate of the response, with the divisors of rows replaced by their
/// mean:
///
///     G_i = Re sum_k a_k phi_k(lambda_i) / (tr phi_k / N),    phi_k = 1 / (1 + x_i / z_k),   phi = exp(-x)
///
/// with exp(-x) = Re sum_k a_k / (1 + x / z_k) to 2e-7 on x >= 0 (six pairs of complex poles; Weideman 2006).
/// Leave-one-out residuals of ridge are residuals over divisors, exactly; the flow is a sum of complex
/// ridges, so the same holds of it term by term. On ridge G = phi / mean phi. On the other paths it is that
/// of the flow of the operator x(M), held fixed. The factors add up to N.
Vector leave_one_out_factors(const SpectralData& data, const Path& path);

/// The mean squared leave-one-out error to be expected of a path, given what the other rows say.
///
/// Under a model of the signal, y_i given the others has mean m_i, the model's leave-one-out prediction, and
/// variance v_i; averaged over models, m_i is averaged and v_i gains their spread. So a predictor that has
/// not seen y_i errs by v_i + (m_i - its prediction)^2 on average, and in coordinates, with mean divisors,
///
///     expected(t) = v + 1/N sum_i z_i^2 (G_i(t) - R_i)^2,
///     R_i = sum_c w_c R_ci,   R_ci = B_ci N / tr B_c,   B_c = 1 / (1 + p_c(M)),
///     v = sum_c w_c [ s2_c N / tr B_c + 1/N sum_i z_i^2 (R_ci - R_i)^2 ]
///
/// Its expectation over the response is, up to a constant, s2/N sum_i G_i^2 (1 + p_i).
class ExpectedLoo {
 public:
  /// `signal` of these data. Costs N flops per model and an exponential per power.
  ExpectedLoo(const SpectralData& data, const AveragedSignal& signal);

  double operator()(const Path& path) const;  ///< squared units of the response

  /// The best of the times under each model alone, 0 before the first, infinite at the last; `times`
  /// log-spaced.
  std::vector<double> best_times(const std::vector<double>& times, const Path& family) const;

 private:
  Vector factors(const Path& path) const;  // G at the response's values

  double count_;                  // N
  Vector values_, multiplicity_;  // those that a trace sees
  Vector seen_, squares_;         // those that the response sees, and z^2
  Matrix left_out_;               // R_c, a column a model, at seen_
  Vector averaged_;               // R
  double variance_ = 0.0;         // v
};

}  // namespace gradflow
