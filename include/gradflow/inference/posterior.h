#pragma once

#include <memory>

#include "gradflow/inference/reml.h"
#include "gradflow/spectrum/lanczos.h"
#include "gradflow/spectrum/projected_operator.h"
#include "gradflow/spectrum/projected_spectrum.h"

namespace gradflow {

class NewPointProjection;

/// The trained network as a posterior mean, in dual form.
///
///     alpha = Q M^-1 (I - phi(M)) w,    beta = (X'X)^-1 X'(y - f0 - H alpha)
///     fitted = f0 + X beta + H alpha,   mean(x) = f0(x) + x'beta + h_x' alpha
struct DualFit {
  Vector alpha;   ///< n
  Vector beta;    ///< q
  Vector fitted;  ///< n, H alpha + X beta (add f0)
};

/// `response` = y - f0. M^-1 is never applied: (1 - phi)/lambda is smooth at 0. Cost 2 n N + 2 n^2 flops.
DualFit dual_fit(const TrainingOperator& H, const FixedEffects& fixed, const ProjectedSpectrum& spectrum,
                 const Vector& response, const Path& path);

/// The same from a Krylov space of P(y - f0), alpha = |w| V dual(T) e_1, without a product with H.
DualFit dual_fit(const ProjectedOperator& M, const KrylovSpace& space, const Vector& response,
                 const Path& path);

/// What is known of m new rows x.
struct NewPoints {
  Matrix H_cross;  ///< m x n, Theta(x, X)/n
  Vector H_self;   ///< m, Theta(x, x)/n
  Matrix design;   ///< m x q, the fixed effects' columns at x
};

/// How g(M) of a path is applied: g is what turns prior into posterior variance,
///
///     var(x) = s2 { psi(0) hq_xx + hq_x' g(M) hq_x + x'(X'X)^-1 x },
///     c_x = h_x - H X (X'X)^-1 x,   hq_x = Q'c_x,
///     hq_xx = h_xx - 2 x'(X'X)^-1 X'h_x + x'(X'X)^-1 X'HX (X'X)^-1 x.
///
/// PosteriorVariance from the spectrum serves every path; from a Cholesky factor of I + tau M it serves
/// `ridge`, at a twentieth of the cost, where only predictions are wanted.
class PosteriorVariance {
 public:
  /// Cost of construction O(n^2 q).
  static PosteriorVariance from_spectrum(const TrainingOperator& H, const FixedEffects& fixed,
                                         const ProjectedSpectrum& spectrum, const Path& path);
  /// Cost n^3/3. Throws InternalError if I + tau M is not positive definite.
  static PosteriorVariance for_ridge(const TrainingOperator& H, const FixedEffects& fixed, double tau);

  /// var(x)/s2 of the mean function, m values >= 0. Rounding below 1e-7 of the prior variance is clamped to
  /// 0; anything more negative throws InternalError. Cost 2 n N m flops.
  Vector at(const NewPoints& points) const;

 private:
  PosteriorVariance(const TrainingOperator& H, const FixedEffects& fixed, double psi_zero);

  Vector g_term(const Matrix& C) const;  // hq_x' g(M) hq_x for every row c_x of C

  std::shared_ptr<const NewPointProjection> projection_;
  double psi_zero_;
  Matrix basis_;   // from_spectrum: Q U
  Vector g_;       // from_spectrum: g(lambda)
  Matrix factor_;  // for_ridge: L of I + tau M
};

}  // namespace gradflow
