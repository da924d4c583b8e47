#pragma once

#include <limits>
#include <string>

#include "gradflow/inference/outcome.h"
#include "gradflow/inference/path.h"

namespace gradflow {

/// Within-group sum of squares of replicates, rows equal in every input: sum_g sum_i w_gi (y_gi - ybar_g)^2,
/// in the directions in which every training operator is zero. With the groups' means as rows of summed
/// weight, the likelihood with these directions is that of all rows.
struct PureError {
  double squares = 0.0;  ///< >= 0, squared units of w
  Index dof = 0;         ///< rows less groups, >= 0
};

/// All that the likelihood and the rules see of the data, as a list of values lambda_i >= 0:
///
///     tr f(M) = sum multiplicity_i f(lambda_i),     w'f(M)w = sum z_i^2 f(lambda_i)
///
/// From an eigendecomposition: the N eigenvalues (descending), once each, and the coordinates z of w in the
/// eigenvectors. From a Krylov space: the nodes of two quadratures, one after the other, those of the trace
/// with z = 0 and those of w with multiplicity 0.
struct SpectralData {
  Vector values{};                                          ///< lambda
  Vector z{};                                               ///< as many
  Vector multiplicity{};                                    ///< as many, >= 0; empty: one each
  double trace = std::numeric_limits<double>::quiet_NaN();  ///< tr M where known exactly; NaN: the sum

  /// The same with the directions of replicates: one more value, 0.
  SpectralData with(const PureError& pure) const;

  double count() const;                    ///< N = sum of the multiplicities
  double trace_of_M() const;               ///< tr M
  double trace_of(const Vector& f) const;  ///< tr f(M), f given on `values`
  double effective_dof(const Path& path) const { return trace_of(path.filter(values)); }
};

/// Minus twice the profiled restricted log-likelihood of a path, up to a constant free of the path:
///
///     Q = N log( w' phi(M) w / N ) + sum_i v(lambda_i),    v = -log phi
double reml_criterion(const SpectralData& data, const Path& path);

/// s2 = w' phi(M) w / N, the noise variance given the path.
double reml_noise_variance(const SpectralData& data, const Path& path);

struct RemlOptions {
  double level = 0.95;  ///< of the profile interval, in (0, 1)
  double largest_shrinkage =
      1e8;               ///< bound of the search: psi(0) lambda_1 <= this (for descent: steps likewise)
  bool interval = true;  ///< false: it is not computed (NaN)
  void check() const;
};

/// REML estimate of how long to train along a path.
struct RemlFit {
  Outcome outcome = Outcome::not_run;
  std::string reason = "fit_reml() has not been called";
  Path path{};  ///< with the estimated time (and, for decay, d; for implicit, m when it was estimated)
  double criterion = std::numeric_limits<double>::quiet_NaN();          ///< Q at the estimate
  double criterion_at_zero = std::numeric_limits<double>::quiet_NaN();  ///< Q at time 0
  double noise_variance = std::numeric_limits<double>::quiet_NaN();     ///< s2, squared units of w
  double effective_dof =
      std::numeric_limits<double>::quiet_NaN();  ///< sum (1 - phi), without the fixed effects
  double signal_share = std::numeric_limits<double>::quiet_NaN();  ///< 1 - w'phi(M)w / w'w
  double upper_bound = std::numeric_limits<double>::quiet_NaN();   ///< largest time searched
  Interval interval{std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::quiet_NaN(), 0.95};
  Index evaluations = 0;  ///< of Q or its derivative, N flops each

  /// Likelihood-ratio statistic against time 0, >= 0.
  double likelihood_ratio() const { return criterion_at_zero - criterion; }
};

/// Minimises Q over the time of `family` (its other parameters fixed).
///
/// `flow`: Q is convex in t; t = 0 exactly when N w'Mw/w'w <= tr M, infinite when w has weight only where
/// lambda >= tr M / N; otherwise a safeguarded Newton iteration to full precision. Needs no log-determinant.
/// Others: Q need not be unimodal; 400 log-spaced points (120 without an interval), then Brent's method
/// around the best. `descent`: k is a whole number, and eta lambda_1 < 1 is required (InputError otherwise).
/// The interval is {time : Q - Q_min <= chi2_1 quantile}, its outermost ends.
RemlFit fit_reml(const SpectralData& data, const Path& family, const RemlOptions& options = {});

/// As fit_reml, with the path's second parameter estimated too: d of `decay` over [0, lambda_1] (0 and 60
/// log-spaced values, then Brent), m of `implicit` over {1, ..., 8, 16, 32, 64}.
RemlFit fit_reml_two_parameters(const SpectralData& data, PathKind kind, const RemlOptions& options = {});

/// REML of a signal with two variance components, one along M and one along the smoother M^2:
///
///     Var(w) = s2 ( I + tau M + kappa M^2 ),     tau, kappa >= 0
///
/// The covariance under which the flow is the BLUP, s2 exp(tM), is a power series in M whose coefficients one
/// number t ties together; `ridge` is its first order. Here the first two orders are free, so that directions
/// of large eigenvalues may carry more, or the others less, than in proportion to their eigenvalues. With
/// kappa = 0 it is the `ridge` fit.
struct TwoComponentFit {
  Outcome outcome = Outcome::not_run;
  double tau = std::numeric_limits<double>::quiet_NaN();             ///< units of 1/lambda
  double kappa = std::numeric_limits<double>::quiet_NaN();           ///< units of 1/lambda^2
  double criterion = std::numeric_limits<double>::quiet_NaN();       ///< Q, comparable with RemlFit's
  double noise_variance = std::numeric_limits<double>::quiet_NaN();  ///< s2, squared units of w
  /// Factors c of (tau, kappa) within the profile interval, tau : kappa fixed; NaN where kappa is 0.
  Interval scale{std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::quiet_NaN(), 0.95};

  Vector prior(const Vector& lambda) const;  ///< tau lambda + kappa lambda^2: signal's variance over s2
  static TwoComponentFit of(const RemlFit& ridge);  ///< kappa = 0
};

/// Q of two components.
double two_component_criterion(const SpectralData& data, double tau, double kappa);

/// Minimises Q over 27 shares of kappa, between none and all of the signal; for each, over the scale of both
/// by a search along 40 log-spaced values and Brent's method; then by Brent's method over the share. `ridge`,
/// from fit_reml on the same data, is where kappa = 0, and is returned as it is where it is not usable. The
/// bound of tau is ridge's, options.largest_shrinkage / lambda_1; that of kappa is its square. Cost: 27
/// such searches and those of the last one, N flops an evaluation of Q.
TwoComponentFit fit_two_components(const SpectralData& data, const RemlFit& ridge,
                                   const RemlOptions& options = {});

/// Minimiser of the flow's Q over t >= 0, by Newton's method; infinite when w has weight only where lambda >=
/// tr M / N.
double flow_time(const SpectralData& data);
double flow_slope(const SpectralData& data, double t);  ///< dQ/dt of the flow

/// Largest time with psi(0) lambda_1 <= shrinkage: the common bound of every search along a path.
double largest_time(const SpectralData& data, const Path& family, double shrinkage);

}  // namespace gradflow
