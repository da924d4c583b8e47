#pragma once

#include "gradflow/operators/kernel_sum.h"
#include "operators/kernel_pairs.h"

/// Stationary kernels k(z), z = s^2, with their slopes, without branches or calls:
///
///     rbf        k = exp(-z/2)                          k' = -k/2
///     matern32   k = (1 + h) exp(-h), h = sqrt(3z)      k' = -3/2 exp(-h)
///     matern52   k = (1 + h + h^2/3) exp(-h), h = sqrt(5z)   k' = -5/6 (1 + h) exp(-h)
///
/// k' is finite at z = 0.
namespace gradflow::radial {

struct Value {
  double k, slope;
};

struct Rbf {
  [[gnu::always_inline]] Value operator()(double z) const {
    const double k = pairs::exp_negative(-0.5 * z);
    return {k, -0.5 * k};
  }
};

struct Matern32 {
  [[gnu::always_inline]] Value operator()(double z) const {
    const double h = std::sqrt(3.0 * z), decay = pairs::exp_negative(-h);
    return {(1.0 + h) * decay, -1.5 * decay};
  }
};

struct Matern52 {
  [[gnu::always_inline]] Value operator()(double z) const {
    const double h = std::sqrt(5.0 * z), decay = pairs::exp_negative(-h);
    return {(1.0 + h + h * h * (1.0 / 3.0)) * decay, (-5.0 / 6.0) * (1.0 + h) * decay};
  }
};

/// Calls visitor(kernel); false for kinds that are not stationary.
template <typename Visitor>
bool visit(KernelTerm::Kind kind, const Visitor& visitor) {
  switch (kind) {
    case KernelTerm::Kind::rbf: visitor(Rbf{}); return true;
    case KernelTerm::Kind::matern32: visitor(Matern32{}); return true;
    case KernelTerm::Kind::matern52: visitor(Matern52{}); return true;
    case KernelTerm::Kind::network:
    case KernelTerm::Kind::linear: break;
  }
  return false;
}

/// s^2 from |u|^2/d, |u'|^2/d and u.u'/d.
[[gnu::always_inline]] inline double squared_distance(double a, double b, double c) {
  const double z = (a - c) + (b - c);
  return z > 0.0 ? z : 0.0;
}

}  // namespace gradflow::radial
