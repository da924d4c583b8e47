#pragma once

#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gradflow/inference/posterior.h"

namespace gradflow {

/// A fit with row weights w_i > 0: noise variances s_i = s2 / w_i. Everything in units of y.
struct WeightedFit {
  Outcome outcome = Outcome::not_run;
  std::string reason = "no fit";
  Vector residuals{};  ///< e_i = y_i - mu_-i(x_i), leave-one-out, n
  Vector variances{};  ///< of e_i under the model, the row's own noise s_i included, n
  Vector fitted{};     ///< mu(x_i), n
  double noise_variance = std::numeric_limits<double>::quiet_NaN();  ///< s2, of a row of weight 1
  double time = std::numeric_limits<double>::quiet_NaN();            ///< tau; information only
  /// Restricted log-likelihood of y at these weights, s2 and tau, up to a constant free of all three:
  /// -1/2 [ N log(2 pi s2) + log|I + tau M| - sum log w_i + log|X'WX| + N ].  NaN: not known.
  double log_likelihood = std::numeric_limits<double>::quiet_NaN();
  /// R, n x n, where it is known: (y_i - mu(x_i)) / sqrt(s_i) = sum_j R_ij y_j / sqrt(s_j). Gives exact
  /// standard errors to heteroscedastic_noise(); empty otherwise.
  Matrix residual_operator{};
};

/// Refits with the given weights: the noise models below know no operator.
using WeightedRefit = std::function<WeightedFit(const Vector& weights)>;

/// `ridge` with weights: y = X b + g + e, g ~ N(0, s2 tau H), e_i ~ N(0, s2 / w_i), as the unweighted fit of
/// W^1/2 y on W^1/2 X and W^1/2 H W^1/2. tau by REML at every refit (one eigendecomposition), or as given
/// (one too). H's matrix is held, n^2 doubles. `response` = y - f0.
WeightedRefit ridge_refit(const TrainingOperator& H, const FixedEffects& fixed, const Vector& response,
                          std::optional<double> tau = {}, const RemlOptions& options = {});

struct StudentNoiseOptions {
  /// Degrees of freedom nu tried, each > 2; infinity: normal noise (always tried).
  std::vector<double> dof{3.0, 5.0, 10.0, 30.0, std::numeric_limits<double>::infinity()};
  int max_iterations = 100;  ///< refits per nu, >= 1
  double tolerance = 1e-3;   ///< largest change of a weight, > 0
  bool given = false;        ///< dof has one entry, which is taken whatever its bound
  void check() const;
};

/// One nu on the grid.
struct StudentCandidate {
  double dof = std::numeric_limits<double>::quiet_NaN();
  Outcome outcome = Outcome::not_run;
  int iterations = 0;                                           ///< refits
  double last_change = 0.0;                                     ///< largest change of a weight
  double bound = std::numeric_limits<double>::quiet_NaN();      ///< student_bound()
  double log_score = std::numeric_limits<double>::quiet_NaN();  ///< sum_i log p(y_i | the other rows)
};

struct StudentNoise {
  Outcome outcome = Outcome::not_run;
  std::string reason = "student_noise() has not been called";  ///< a sentence
  double dof = std::numeric_limits<double>::quiet_NaN();       ///< nu chosen; infinity: normal
  Vector weights;                                              ///< n; small where the row is an outlier
  WeightedFit fit;
  double noise_variance = std::numeric_limits<double>::quiet_NaN();  ///< s2 nu / (nu - 2), of a new response
  double bound_gain = std::numeric_limits<double>::quiet_NaN();      ///< student_bound() above the normal's
  double score_gain = 0.0;                   ///< leave-one-out log score above the normal's
  double score_gain_standard_error = 0.0;    ///< from the rows' differences, taken as independent
  std::vector<StudentCandidate> candidates;  ///< nu descending
};

/// Heavy-tailed noise e_i ~ s t_nu as a normal scale mixture, e_i | q_i ~ N(0, s2/q_i), q_i ~ Gamma(nu/2,
/// nu/2): variational EM with w_i = E q_i,
///
///     w_i = (nu + 1) / (nu + d_i / s2),   d_i = E (y_i - f_i)^2 = (k_i e_i)^2 + k_i V_i,
///     V_i = var_i - s_i (of f_i given the others),   k_i = s_i / var_i
///
/// and s2, tau from the refit: coordinate ascent on student_bound(), which never falls. nu: the largest
/// bound; where the refit has no likelihood, the largest leave-one-out log score, of which row i's part is
/// log Int N(e_i; 0, V_i + s2/q) Gamma(q) dq. That score is too kind to small nu when the fit is flexible:
/// the weights of row i's neighbours have seen y_i (of 20 normal samples of 100 rows under a kernel with
/// estimated tau it chose nu <= 5 in 10). Ties go to the larger nu. Not convex: it is started at normal
/// weights and every nu from the next larger one's. A nu that did not converge is not chosen.
/// Cost: refits times candidates. Sources: Lange, Little, Taylor, JASA 84 (1989); Tipping and Lawrence,
/// Neurocomputing 69 (2005).
StudentNoise student_noise(const WeightedRefit& refit, Index n, const StudentNoiseOptions& options = {});

/// w_i of the EM step above. Throws InputError when the fit is incomplete.
Vector student_t_weights(const WeightedFit& fit, const Vector& weights, double dof);

/// Lower bound of the restricted log-likelihood under Student t noise, up to the constant of log_likelihood:
///
///     log_likelihood(w) + sum_i [ 1/2 (psi(a) - log a) - KL( Gamma(a, a/w_i) | Gamma(nu/2, nu/2) ) ],
///
/// a = (nu + 1)/2. Exact at nu infinite, so that comparing nu by it leans to the normal. NaN where the
/// likelihood is not known.
double student_bound(const WeightedFit& fit, const Vector& weights, double dof);

/// Sum of the rows' scores above the reference's and its standard error, rows taken as independent.
std::pair<double, double> score_gain(const Vector& scores, const Vector& reference);

/// log p(e), e ~ N(0, V) + s t_nu (nu infinite: N(0, V + s2)); trapezoidal rule in log q, about 1e-10
/// relative.
double log_student_convolution(double e, double V, double s2, double dof);

/// P(E > e) of the same E, by the same rule; about 1e-10 relative.
double student_convolution_tail(double e, double V, double s2, double dof);

/// The value that E exceeds with probability 1 - p, 0 < p < 1: the root of student_convolution_tail() to
/// 1e-10 relative (near p = 1/2: to 3e-10 of its scale), some 15 evaluations. V >= 0, s2 >= 0 (both 0: 0),
/// dof > 0. Throws InputError otherwise.
double student_convolution_quantile(double p, double V, double s2, double dof);

struct HeteroscedasticOptions {
  bool on_fitted_mean = false;  ///< the fitted mean is a column too, "(fitted mean)"
  int max_iterations = 50;      ///< >= 1
  double tolerance = 1e-4;      ///< largest change of a row's log noise variance, > 0
  void check() const;
};

struct NoiseCoefficient {
  std::string name;
  double estimate = std::numeric_limits<double>::quiet_NaN();  ///< gamma: of log s_i, per unit of the column
  double standard_error = std::numeric_limits<double>::quiet_NaN();
  double p_value = std::numeric_limits<double>::quiet_NaN();  ///< two-sided, of estimate / standard error
};

struct HeteroscedasticNoise {
  Outcome outcome = Outcome::not_run;
  std::string reason = "heteroscedastic_noise() has not been called";  ///< a sentence
  std::vector<NoiseCoefficient> coefficients;
  Vector weights;   ///< exp(-gamma'(u_i - mean u)), geometric mean 1
  WeightedFit fit;  ///< with these weights
  int iterations = 0;
  double last_change = 0.0;  ///< of a row's log noise variance
  Index tested = 0;          ///< columns, degrees of freedom of both tests
  double score_statistic = std::numeric_limits<double>::quiet_NaN();  ///< of gamma = 0, at gamma = 0
  double score_p_value = std::numeric_limits<double>::quiet_NaN();
  double wald_statistic = std::numeric_limits<double>::quiet_NaN();  ///< of gamma = 0, at the estimate
  double wald_p_value = std::numeric_limits<double>::quiet_NaN();
};

/// Noise variance as a log-linear function of columns, s_i = s2 exp(gamma'u_i): a gamma regression with log
/// link of the squared residuals, by Fisher scoring with one refit a step,
///
///     score = 1/2 U'(r^2 - k),   r_i^2 = e_i^2 k_i / var_i (squared residual over s_i),   k_i = s_i / var_i,
///     information = 1/2 U'(R o R) U,   or 1/2 U'diag(k) U where R is not known,     U with an intercept
///
/// which is REML's score for gamma. Standard errors take tau and, with on_fitted_mean, the mean as known; the
/// tests need normal noise (heavy tails make them reject too often). A step moves no log variance by more
/// than 1. Where log variances come to differ by more than 20 the search stops, on_boundary: some rows seem
/// to have no noise. Throws InputError for a column that is not finite, constant, or a combination of those
/// before it, and for n <= columns + 2. Sources: Smyth, JCGS 11 (2002); Lee and Nelder, Can. J. Stat. 26
/// (1998).
HeteroscedasticNoise heteroscedastic_noise(const WeightedRefit& refit, ConstBlock columns,
                                           const std::vector<std::string>& names,
                                           const HeteroscedasticOptions& options = {});

}  // namespace gradflow
