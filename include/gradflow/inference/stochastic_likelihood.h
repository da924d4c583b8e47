#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "gradflow/inference/outcome.h"
#include "gradflow/operators/operator_family.h"
#include "gradflow/spectrum/fixed_effects.h"

namespace gradflow {

/// How closely a likelihood is looked at.
struct ProbeOptions {
  Index probes = 16;              ///< R, >= 2: random directions, each a column of every product with H
  bool every_direction = false;   ///< all n directions instead: no error of probes, n columns; for small n
  Index rank = -1;                ///< most landmarks of the preconditioner, >= 0; -1: 4 sqrt(n), at most n/2
  double tolerance = 1e-4;        ///< of the residuals of w and X, relative, in (0, 1)
  double probe_tolerance = 1e-2;  ///< of those of the probes (every_direction: `tolerance`), in (0, 1)
  Index max_iterations = 500;     ///< of conjugate gradients, >= 1
  std::uint64_t seed = 1;         ///< of probes and landmarks
  void check() const;
};

/// Q and its gradient with what the probes leave uncertain, all of it standard errors.
struct ProbedLikelihood {
  Outcome outcome =
      Outcome::not_run;  ///< converged; iteration_limit; unidentified: V is not positive definite
  std::string reason = "not evaluated";
  double criterion = std::numeric_limits<double>::infinity();  ///< Q
  double criterion_error = std::numeric_limits<double>::quiet_NaN();
  Vector probe_criteria{};  ///< R: Q by each probe alone, for differences between points
  Vector gradient{};        ///< dQ/d(p, log tau), m + 1; empty where V is not positive definite
  Matrix
      probe_gradients{};    ///< (m + 1) x G, only where asked for: the gradient by each of G groups of probes
  Vector gradient_error{};  ///< m + 1, of their mean; only where asked for
  double noise_variance = std::numeric_limits<double>::quiet_NaN();  ///< s2 = (w'Pw + s0)/N'
  double effective_dof = std::numeric_limits<double>::quiet_NaN();   ///< N - tr P, without the fixed effects
  Index rank = 0, iterations = 0;  ///< of the preconditioner; of conjugate gradients
  double residual = std::numeric_limits<double>::quiet_NaN();  ///< largest of the solutions, relative
};

/// RestrictedLikelihood's Q (inference/likelihood.h; there without its transform's term) without a Cholesky
/// factor of V = I + tau H(p), by products with H and R probe vectors:
///
///     C = I + U S U' <= V (spectrum/nystrom.h),   A = C^-1/2 V C^-1/2
///     log|V|       =  log|C| + E z'log(A)z,                      Gauss quadrature of the tridiagonals
///     tr V^-1 dV   =  tr K dV + E (u'dV u - v'dV v),   K = U (1 + S)^-1 U',
///                                    u = C^-1/2 A^-1/2 z,  v = U (1 + S)^-1/2 U'z
///     dQ           =  tr V^-1 dV - tr G^-1 (V^-1X)'dV (V^-1X) - N' (Pw)'dV (Pw)/(w'Pw + s0),  G = X'V^-1X
///
/// z: random directions of length k^1/2 in the span of U and (n - k)^1/2 in its complement, so that E zz' = I
/// and nothing varies for what is a multiple of I in either: of an overall scale of V, in which the
/// likelihood is nearly flat, no probe may say anything. The first terms are exact, so that probes stand only
/// for what the landmarks leave of V (K, not C^-1, which is far from V^-1 beyond them); terms of w and X are
/// exact up to the tolerance. One block of conjugate gradients on A solves for w, X and all z. In log tau, dV
/// = V - I. Probes and landmarks are drawn once: Q and its gradient are smooth, repeatable functions of (p,
/// log tau). But the gradient is an estimate of Q's, not the gradient of the estimate of Q: they agree within
/// their errors only. The same bits for any number of threads where H has them.
///
/// Standard errors: those of means of the R probes; of the gradient, of G = min(R, 8) groups of probes, which
/// needs as many contractions more. What the probes miss in the gradient is at most about R^-1/2 posterior
/// standard deviations of each parameter: var z'Bz <= 2 |B|_F^2, B = V^-1/2 dV V^-1/2, and |B|_F^2 is the
/// parameter's information (its part within the landmarks' space is not missed).
///
/// Cost: H(p), iterations x 2 n^2 (R + q + 1) flops of products and 8 n k of preconditioner for each column
/// of them, 4 n k^2 of the latter, one contract_low_rank of k + 2R + q + 1 columns. Memory: H(p), and 10 n (R
/// + q + 1) + 3 n k doubles. Source: Gardner et al. (2018), NeurIPS 31 (products and probes); Wenger et al.
/// (2022), ICML 162 (the preconditioner's exact parts); Ubaru, Chen and Saad (2017), SIAM J. Matrix Anal.
/// Appl. 38:1075 (Lanczos quadrature).
class StochasticLikelihood {
 public:
  /// w: n, the response with the rows' scales (that of `family` and of `fixed`); s0 >= 0 and m0 >= 0 of
  /// replicates within rows. `around`: p (m) at which landmarks are chosen. `family` outlives this. Throws
  /// InputError on sizes that differ, a w that is not finite, and unusable options.
  StochasticLikelihood(const OperatorFamily& family, Vector w, FixedEffects fixed, const Vector& around,
                       const ProbeOptions& options = {}, double within_squares = 0.0,
                       double within_dof = 0.0);

  enum class Errors { criterion, gradient_too };

  Index parameters() const noexcept { return family_parameters_ + 1; }    ///< (p, log tau)
  Index rows() const noexcept { return w_.size(); }                       ///< n
  double restricted_count() const noexcept { return restricted_count_; }  ///< N'
  const ProbeOptions& options() const noexcept { return options_; }
  ProbedLikelihood at(const Vector& parameters, Errors errors = Errors::criterion) const;

 private:
  struct Solved;

  Solved solve(const Matrix& H, double tau, ProbedLikelihood& value) const;
  bool add_criterion(const Solved& solved, ProbedLikelihood& value) const;
  Vector contract(const OperatorFamily::Point& point, const LowRankWeights& W, double identity) const;
  void add_gradient(const OperatorFamily::Point& point, double tau, const Solved& solved, Errors errors,
                    ProbedLikelihood& value) const;

  const OperatorFamily& family_;
  Vector w_;  // without its part along the fixed effects
  FixedEffects fixed_;
  ProbeOptions options_;
  Index family_parameters_;
  double within_squares_, restricted_count_;
  double least_squares_ = 0.0;  // residual squares that are rounding
  double log_XX_ = 0.0;         // log|X'X|
  Matrix probes_;               // Z, n x R
  std::vector<Index> landmarks_;
};

}  // namespace gradflow
