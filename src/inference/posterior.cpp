#include "gradflow/inference/posterior.h"

#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "inference/new_point_projection.h"

namespace gradflow {

DualFit dual_fit(const TrainingOperator& H, const FixedEffects& fixed, const ProjectedSpectrum& spectrum,
                 const Vector& response, const Path& path) {
  const Vector z = spectrum.coordinates(response);
  DualFit fit;
  fit.alpha = spectrum.basis * path.dual(spectrum.values).cwiseProduct(z);
  Matrix H_alpha(H.size(), 1);
  H.apply(fit.alpha, H_alpha);
  fit.beta = fixed.coefficients(response - H_alpha.col(0));
  fit.fitted = H_alpha.col(0) + fixed.design() * fit.beta;
  return fit;
}

DualFit dual_fit(const ProjectedOperator& M, const KrylovSpace& space, const Vector& response,
                 const Path& path) {
  DualFit fit;
  // P H alpha = |w| V filter(T) e_1, and the rest of H alpha lies along the fixed effects.
  const Ritz pairs = ritz(space.tridiagonal());
  const Vector values = pairs.values.cwiseMax(0.0), first = pairs.vectors.row(0).transpose();
  Matrix coefficients(values.size(), 2);
  coefficients.col(0) = pairs.vectors * path.dual(values).cwiseProduct(first);
  coefficients.col(1) = pairs.vectors * path.filter(values).cwiseProduct(first);
  const Matrix vectors = space.start_norm() * space.basis().times(coefficients);
  fit.alpha = vectors.col(0);
  fit.fitted = vectors.col(1) + M.along_fixed(fit.alpha);
  fit.beta = M.fixed().coefficients(response - fit.fitted);
  if (fit.beta.size() > 0) fit.fitted += M.fixed().design() * fit.beta;
  return fit;
}

PosteriorVariance::PosteriorVariance(const TrainingOperator& H, const FixedEffects& fixed, double psi_zero)
    : projection_(std::make_shared<const NewPointProjection>(H, fixed)), psi_zero_(psi_zero) {}

PosteriorVariance PosteriorVariance::from_spectrum(const TrainingOperator& H, const FixedEffects& fixed,
                                                   const ProjectedSpectrum& spectrum, const Path& path) {
  PosteriorVariance variance(H, fixed, path.psi_zero());
  variance.basis_ = spectrum.basis;
  variance.g_ = path.g(spectrum.values);
  return variance;
}

PosteriorVariance PosteriorVariance::for_ridge(const TrainingOperator& H, const FixedEffects& fixed,
                                               double tau) {
  require(tau >= 0.0 && std::isfinite(tau), "tau", tau, "must be finite and >= 0");
  PosteriorVariance variance(H, fixed, tau);
  Matrix factor = tau * fixed.project(H.matrix());
  factor.diagonal().array() += 1.0;
  if (!cholesky_lower(factor))
    throw InternalError(fmt::format("I + tau M is not positive definite at tau = {}", tau));
  variance.factor_ = std::move(factor);
  return variance;
}

Vector PosteriorVariance::g_term(const Matrix& C) const {
  if (factor_.size() == 0) {
    const Matrix coordinates = multiply(C, Transpose::no, basis_, Transpose::no);  // m x N
    return coordinates.cwiseAbs2() * g_;
  }
  // g(M) = -tau^2 (I + tau M)^-1, psi(0) = tau
  Matrix solved = projection_->fixed().reduce(C.transpose());
  solve_lower(factor_, Transpose::no, solved);
  return -psi_zero_ * psi_zero_ * solved.colwise().squaredNorm().transpose();
}

Vector PosteriorVariance::at(const NewPoints& points) const {
  const ProjectedPoints at = (*projection_)(points);
  Vector variance = psi_zero_ * at.prior + g_term(at.C) + at.leverage;
  clamp_rounding(variance, points.H_self, psi_zero_);
  return variance;
}

}  // namespace gradflow
