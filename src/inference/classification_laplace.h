#pragma once

#include <memory>

#include "gradflow/inference/classification.h"

namespace gradflow::laplace {

/// The Gaussian approximation at probabilities p (n x K), prior covariance C = tau H + v 11' of every class:
/// what the mode, the determinant and the predictions need of (C^-1 + W)^-1, W = diag(p) - p p'.
class Curvature {
 public:
  virtual ~Curvature() = default;
  /// (I + W C)^-1 b for b of n x K, C b given.
  virtual Matrix dual(ConstBlock b, ConstBlock Cb) const = 0;
  virtual double log_determinant() const = 0;  ///< log |I + C W|
  /// Posterior covariance of the latents of each row of `cross` (m x n, prior covariance with the training
  /// rows) with prior variance `self` (m): m x K^2, entry (c, d) in column c + K d. Only differences between
  /// classes mean anything: their sum is left out for K = 2.
  virtual Matrix covariance(ConstBlock cross, const Vector& self) const = 0;

  /// Throws InternalError when the matrices are not positive definite.
  static std::unique_ptr<Curvature> make(const Matrix& prior, ConstBlock p);
};

/// The prior covariance tau H + v 11'.
Matrix prior_covariance(const Matrix& H, double tau, double bias_variance);

/// Mode of the posterior of f = tau H dual + 1 bias'.
struct Mode {
  Matrix dual;                ///< n x K, in units of the latent over tau H; equals y - p at the mode
  Vector bias;                ///< K
  Matrix p;                   ///< n x K
  double log_marginal = 0.0;  ///< Laplace's log q
  bool converged = false;
};

/// Newton's method from `start` (empty: zero), halved where the posterior would fall. Converged when no
/// entry of dual is farther than `tolerance` from y - p.
Mode find_mode(const Matrix& H, const Matrix& response, double tau, double bias_variance, const Mode& start,
               double tolerance);

/// The average of softmax(f), f ~ N(mean, covariance) row by row; see ClassPredictor.
Matrix average_softmax(ConstBlock mean, ConstBlock covariance);

/// The means and covariances of each row's latents without its own term: Gaussian cavities.
struct Cavities {
  Matrix mean;        ///< n x K
  Matrix covariance;  ///< n x K^2
};
Cavities cavities(const Matrix& H, const Matrix& response, double tau, double bias_variance,
                  const Mode& mode);

}  // namespace gradflow::laplace
