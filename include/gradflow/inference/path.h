#pragma once

#include <string>
#include <string_view>

#include "gradflow/base/types.h"

namespace gradflow {

enum class PathKind { flow, ridge, decay, descent, implicit };

std::string_view to_string(PathKind kind);
PathKind parse_path(const std::string& text);  ///< throws InputError listing the names

/// A point on a training path: a spectral filter, given by its residual factor phi(lambda) in (0, 1] with
/// phi(0) = 1, decreasing in lambda.
///
///     kind       phi(lambda)                                   time means     also needs
///     flow       exp(-t lambda)                                t
///     ridge      1 / (1 + tau lambda)                          tau
///     decay      (d + lambda exp(-(lambda + d) t))/(lambda+d)  t              decay d >= 0
///     descent    (1 - eta lambda)^k                            k steps        learning_rate eta, eta
///     lambda_1 < 1 implicit   (1 + tau lambda)^-m                           tau            iterations m >= 1
///
/// The fit is (I - phi(M)) w; the covariance it is the BLUP under is s2 phi(M)^-1. theory: docs/equations.md.
struct Path {
  PathKind kind = PathKind::flow;
  double time = 0.0;           ///< t, tau or k, >= 0; units of 1/lambda (k: steps)
  double decay = 0.0;          ///< d, units of lambda
  double learning_rate = 0.0;  ///< eta, units of 1/lambda
  int iterations = 1;          ///< m

  Path at(double new_time) const {
    Path moved = *this;
    moved.time = new_time;
    return moved;
  }

  double log_phi(double lambda) const;  ///< log phi = -v <= 0
  double phi(double lambda) const;
  double filter(double lambda) const;  ///< 1 - phi, without cancellation
  double dual(double lambda) const;    ///< (1 - phi)/lambda, smooth at 0, where it is psi(0)
  double psi_zero() const;             ///< psi(0) = lim (1/phi - 1)/lambda: prior variance per unit of kernel
  double g(double lambda) const;       ///< (1 - phi)/lambda^2 - psi(0)/lambda <= 0, smooth at 0

  /// Elementwise over eigenvalues.
  Vector log_phi(const Vector& lambda) const;
  Vector phi(const Vector& lambda) const;
  Vector filter(const Vector& lambda) const;
  Vector dual(const Vector& lambda) const;
  Vector g(const Vector& lambda) const;
};

}  // namespace gradflow
