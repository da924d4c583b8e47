#include "gradflow/inference/posterior.h"

#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"

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
    : fixed_(fixed), psi_zero_(psi_zero), P_(fixed.averaging()), HP_(H.size(), fixed.count()) {
  if (fixed.count() > 0) H.apply(P_, HP_);
}

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
  Matrix solved = fixed_.reduce(C.transpose());
  solve_lower(factor_, Transpose::no, solved);
  return -psi_zero_ * psi_zero_ * solved.colwise().squaredNorm().transpose();
}

Vector PosteriorVariance::at(const NewPoints& points) const {
  const Index m = points.H_self.size();
  require(points.H_cross.rows() == m && points.H_cross.cols() == fixed_.rows(), "H_cross.rows",
          points.H_cross.rows(), "must be m x n");
  require(points.design.rows() == m && points.design.cols() == fixed_.count(), "design.rows",
          points.design.rows(), "must be m x q");
  const Matrix& X = points.design;
  Vector variance;
  if (fixed_.count() == 0) {
    variance = psi_zero_ * points.H_self + g_term(points.H_cross);
  } else {
    // hq_xx = h_xx - 2 x'P'h_x + x'P'HPx
    const Vector prior = points.H_self - 2.0 * X.cwiseProduct(points.H_cross * P_).rowwise().sum() +
                         X.cwiseProduct(X * (P_.transpose() * HP_)).rowwise().sum();
    variance = psi_zero_ * prior + g_term(points.H_cross - X * HP_.transpose()) + fixed_.variance_of_mean(X);
  }
  for (Index i = 0; i < m; ++i) {
    const double scale = psi_zero_ * std::abs(points.H_self(i)) + 1.0;
    if (!(variance(i) >= -1e-7 * scale))
      throw InternalError(fmt::format("posterior variance {} at new row {} is below zero beyond rounding",
                                      variance(i), i + 1));
    variance(i) = std::max(0.0, variance(i));
  }
  return variance;
}

}  // namespace gradflow
