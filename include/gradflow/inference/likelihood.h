#pragma once

#include <limits>
#include <string>
#include <vector>

#include "gradflow/inference/response_transform.h"
#include "gradflow/operators/operator_family.h"
#include "gradflow/spectrum/fixed_effects.h"

namespace gradflow {

/// What was observed, and how it falls on the n rows of the operator.
///
///     w_r = d_r mean{g(y_i) : i in row r},   s0 = within_squares + sum_i (d_r^2/c_r) (g(y_i) - mean)^2
///     m0 = within_dof + number of observations - n
///
/// g the response transform, c_r the number of observations in row r. Operator and fixed effects are given
/// with the same row scales d (ScaledFamily, D X): noise s2 I is assumed for the rows as given.
struct Response {
  Vector y{};                   ///< the observations, in units of the response
  std::vector<Index> row{};     ///< of each observation, in [0, n); empty: observation i is row i
  Vector scale{};               ///< d, n, positive; empty: sqrt(c_r)
  double within_squares = 0.0;  ///< >= 0, where rows are means already; not together with a transform
  double within_dof = 0.0;      ///< >= 0
};

/// Where the restricted likelihood was evaluated: V = I + tau H(p), response g(y; lambda).
struct LikelihoodValue {
  /// Q; infinite where V is not positive definite, or the fixed effects explain the response exactly.
  double criterion = std::numeric_limits<double>::infinity();
  Vector gradient{};  ///< dQ/d(p, log tau[, lambda]); empty: not asked for
  double noise_variance = std::numeric_limits<double>::quiet_NaN();  ///< s2 = (w'Pw + s0)/N', units of w^2
  /// The following: with the gradient only.
  double effective_dof = std::numeric_limits<double>::quiet_NaN();  ///< N - tr P, without the fixed effects
  Vector leave_one_out_residual{};                                  ///< e_i = (Pw)_i/P_ii, n
  Vector leave_one_out_variance{};                                  ///< s2/P_ii, n
  /// sum over rows of log density of the row's observations given all other rows, at this s2 and V, in units
  /// of y. Rows that the fixed effects alone determine (P_ii = 0, residual NaN) are left out of the sum.
  double leave_one_out_log_density = std::numeric_limits<double>::quiet_NaN();
};

/// Minus twice the profiled restricted log-likelihood of a family of operators under the `ridge` path:
///
///     Q = N' log((w'Pw + s0)/N') + log|V| + log|X'V^-1X| - log|X'X| - 2 sum_i log dg/dy(y_i)
///     P = V^-1 - V^-1X(X'V^-1X)^-1X'V^-1,   N' = n - q + m0,   V = I + tau H(p)
///     dQ = sum_ij (P_ij - N' (Pw)_i (Pw)_j/(w'Pw + s0)) dV_ij
///
/// It equals reml_criterion() of reml.h at the same tau on the spectrum of Q'HQ where there are no replicates
/// and no transform. Leave-one-out is exact for V as it stands, with the fixed effects estimated again
/// without the row.
///
/// Cost with the gradient: H(p), n^3/3 flops of Cholesky factor and 2 n^3/3 of inverse, one contract, O(n^2
/// q); without: the factor only. Memory beside the family's: one n x n matrix. Source: Patterson and Thompson
/// (1971), Biometrika 58:545; Harville (1977), JASA 72:320.
class RestrictedLikelihood {
 public:
  /// `family` outlives this. Throws InputError where sizes disagree, y is not finite, a row has no
  /// observation, or the transform does not apply.
  RestrictedLikelihood(const OperatorFamily& family, Response response, FixedEffects fixed,
                       TransformKind transform = TransformKind::none);

  /// (p, log tau[, lambda]): m + 1 or m + 2.
  Index parameters() const noexcept { return family_parameters_ + (transforms() ? 2 : 1); }
  std::vector<std::string> names() const;
  const OperatorFamily& family() const noexcept { return family_; }
  const ResponseTransform& transform() const noexcept { return transform_; }  ///< at lambda = 1
  bool transforms() const noexcept { return transform_.kind != TransformKind::none; }
  double restricted_count() const noexcept { return restricted_count_; }  ///< N'

  LikelihoodValue at(const Vector& parameters, bool with_gradient = true) const;
  /// The same where H(p) is known already.
  LikelihoodValue at(const OperatorFamily::Point& point, double log_tau, double lambda,
                     bool with_gradient = true) const;
  /// Q without the gradient at one tau and several lambda, for one factorisation (transform none: one value).
  Vector criteria(const OperatorFamily::Point& point, double log_tau, const Vector& lambdas) const;
  double criterion_at_zero(double lambda) const;  ///< Q at tau = 0: no operator; -inf: nothing is left

 private:
  struct Rows;    // w, s0 and their derivatives in lambda
  struct Factor;  // of V and of X'V^-1X

  Rows rows_at(double lambda) const;
  void add_derivative(double lambda, Rows& rows) const;
  Factor factor(const OperatorFamily::Point& point, double tau) const;
  double criterion(const Factor& factor, const Rows& rows, double squares) const;
  void add_gradient(const OperatorFamily::Point& point, double tau, Factor& factor, const Rows& rows,
                    const Vector& whitened, LikelihoodValue& value) const;
  void add_leave_one_out(const Vector& P_diagonal, const Vector& Pw, const Rows& rows,
                         LikelihoodValue& value) const;
  Index row_of(Index observation) const;

  const OperatorFamily& family_;
  Response response_;
  FixedEffects fixed_;
  ResponseTransform transform_;
  Index family_parameters_;
  Vector counts_;  // c
  double restricted_count_;
  double log_XX_ = 0.0;  // log|X'X|
};

}  // namespace gradflow
