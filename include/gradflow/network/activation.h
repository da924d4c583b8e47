#pragma once

#include <string>

#include "gradflow/base/types.h"

namespace gradflow {

enum class ActivationKind { relu, leaky_relu, abs, gelu, erf, tanh, sin, cos, identity };

/// The nonlinearity phi between two layers:
///
///     relu        max(u, 0)                        phi'(0) = 0, as in PyTorch
///     leaky_relu  u if u > 0, else slope u         phi'(0) = slope, as in PyTorch
///     abs         |u|                              phi'(0) = 0
///     gelu        u Phi(u), Phi the normal distribution function (exact, no tanh approximation)
///     erf         erf(u)
///     tanh, sin, cos, identity
struct Activation {
  ActivationKind kind = ActivationKind::relu;
  double slope = 0.01;  ///< leaky_relu only; finite

  /// phi(u) and phi'(u) at one point.
  double value(double u) const;
  double derivative(double u) const;

  friend bool operator==(const Activation& a, const Activation& b) {
    return a.kind == b.kind && (a.kind != ActivationKind::leaky_relu || a.slope == b.slope);
  }
};

/// Z <- phi(Z), in place.
void activate(const Activation& activation, Block Z);
/// derivative <- phi'(Z), then Z <- phi(Z). Both are n x w.
void activate(const Activation& activation, Block Z, Block derivative);
/// The same on the calling thread, for bodies of parallel_for, at either precision.
void activate_serially(const Activation& activation, Block Z, Block derivative);
void activate_serially(const Activation& activation, Eigen::Ref<Eigen::MatrixXf> Z,
                       Eigen::Ref<Eigen::MatrixXf> derivative);

/// Names: relu, leaky-relu, leaky-relu@SLOPE, abs, gelu, erf, tanh, sin, cos, identity. The two functions are
/// inverse to each other; leaky-relu has slope 0.01. Throws InputError that lists the names.
Activation parse_activation(const std::string& text);
std::string to_string(const Activation& activation);

}  // namespace gradflow
