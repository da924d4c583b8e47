#pragma once

#include <limits>
#include <string>

#include "gradflow/base/types.h"
#include "gradflow/inference/outcome.h"

namespace gradflow {

enum class PValueMethod { exact, satterthwaite };

/// Score test of t = 0: is training warranted?
///
///     T = N w'Mw / w'w,   large T rejects;   under the null w ~ N(0, s2 I) exactly
///
///     p = Pr( sum_i (lambda_i - T/N) chi2_1 > 0 )
///
/// The null distribution is that of the ratio itself: no plug-in variance, valid at any N. Both p-values
/// are always computed; `p_value` is the one asked for.
struct ScoreTest {
  Outcome outcome = Outcome::not_run;
  std::string reason = "score_test() has not been called";
  double statistic = std::numeric_limits<double>::quiet_NaN();  ///< T, units of lambda
  PValueMethod method = PValueMethod::exact;
  double p_value = std::numeric_limits<double>::quiet_NaN();        ///< underflows to 0 below about 1e-308
  double log10_p_value = std::numeric_limits<double>::quiet_NaN();  ///< does not underflow
  double p_value_exact = std::numeric_limits<double>::quiet_NaN();
  double log10_p_value_exact = std::numeric_limits<double>::quiet_NaN();
  double relative_error =
      std::numeric_limits<double>::quiet_NaN();  ///< of the exact p: last change of the quadrature
  Index quadrature_nodes = 0;
  /// Of log10 p (exact), from the random probes that stood in for eigenvalues; 0: every eigenvalue was known.
  double log10_standard_error = 0.0;
  /// The reference implementation's plug-in, two-moment p-value: for comparison only.
  double p_value_satterthwaite = std::numeric_limits<double>::quiet_NaN();
  double log10_p_value_satterthwaite = std::numeric_limits<double>::quiet_NaN();
  double satterthwaite_scale = std::numeric_limits<double>::quiet_NaN();  ///< kappa = tr M^2 / (2 tr M)
  double satterthwaite_dof = std::numeric_limits<double>::quiet_NaN();    ///< nu = (tr M)^2 / tr M^2
};

/// The eigenvalues of M as values with multiplicities (empty: one each; from spectrum/spectral_density.h at
/// scale, where they need not be whole); `quadratic` = w'Mw; `squared_norm` = w'w. Cost about 100 elementary
/// functions per value.
ScoreTest score_test(const Vector& values, const Vector& multiplicity, double quadratic, double squared_norm,
                     PValueMethod method = PValueMethod::exact);

/// Natural logarithm of Pr( sum_i weights_i chi2_{m_i} > 0 ), m the multiplicities (empty: one each), with
/// its quadrature error and node count.
///
/// With K(s) = -1/2 sum m_i log(1 - 2 s a_i) and c the saddlepoint K'(c) = 1/c in (0, 1/(2 max a)),
///
///     p = 1/pi Int_0^inf Re[ exp(K(c + iu)) / (c + iu) ] du,
///
/// by the trapezoidal rule in v, u = sigma sinh v, halving the step until the sum stops moving; everything
/// is relative to exp(K(c)), so no tail is too small. When the mean of the sum is positive the complement
/// is computed. Sources: Daniels (1954); Rice (1980); Trefethen and Weideman (2014).
struct TailProbability {
  double log_p;
  double relative_error;
  Index nodes;
};
TailProbability weighted_chi_square_tail(const Vector& weights, const Vector& multiplicity = {});

}  // namespace gradflow
