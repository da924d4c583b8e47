#include "gradflow/inference/path.h"

#include <array>
#include <boost/math/quadrature/gauss.hpp>
#include <cmath>
#include <utility>

#include "gradflow/base/error.h"

namespace gradflow {
namespace {

constexpr std::array<std::pair<PathKind, std::string_view>, 5> path_names{{{PathKind::flow, "flow"},
                                                                           {PathKind::ridge, "ridge"},
                                                                           {PathKind::decay, "decay"},
                                                                           {PathKind::descent, "descent"},
                                                                           {PathKind::implicit, "implicit"}}};

// phi_1(x) = (1 - exp(-x))/x
double phi1(double x) { return x == 0.0 ? 1.0 : -std::expm1(-x) / x; }

// phi_1'(x) = (exp(-x)(1 + x) - 1)/x^2, by its Taylor series -sum (-x)^j / (j! (j + 2)) where that cancels.
double phi1_derivative(double x) {
  if (std::abs(x) > 1.0) return (std::exp(-x) * (1.0 + x) - 1.0) / (x * x);
  double term = 1.0, sum = 0.0;
  for (int j = 0; j < 24; ++j) {
    sum -= term / (j + 2);
    term *= -x / (j + 1);
  }
  return sum;
}

// (phi_1(a + x) - phi_1(a))/x: the mean of phi_1' over [a, a + x] where the difference would cancel.
double phi1_difference(double a, double x) {
  if (x > 1.0) return (phi1(a + x) - phi1(a)) / x;
  const auto slope = [&](double s) { return phi1_derivative(a + x * s); };
  return boost::math::quadrature::gauss<double, 10>::integrate(slope, 0.0, 1.0);
}

// For k steps of size eta, x = eta lambda:  ((1 - (1-x)^k)/x - k)/x, by the binomial series where it cancels.
double descent_curvature(double k, double x) {
  if (k * x > 0.5) return (-std::expm1(k * std::log1p(-x)) / x - k) / x;
  double term = -0.5 * k * (k - 1.0), sum = 0.0;
  for (int j = 3; j < 60 && term != 0.0; ++j) {
    sum += term;
    term *= -x * (k - j + 1.0) / j;
    if (std::abs(term) < 1e-18 * std::abs(sum)) break;
  }
  return sum;
}

template <typename Function>
Vector elementwise(const Vector& lambda, Function function) {
  Vector out(lambda.size());
  for (Index i = 0; i < lambda.size(); ++i) out(i) = function(lambda(i));
  return out;
}

}  // namespace

std::string_view to_string(PathKind kind) {
  for (const auto& [value, name] : path_names)
    if (value == kind) return name;
  throw InternalError("unnamed training path");
}

PathKind parse_path(const std::string& text) {
  for (const auto& [value, name] : path_names)
    if (text == name) return value;
  throw InputError(
      fmt::format("path '{}' is not known: must be flow, ridge, decay, descent or implicit", text));
}

double Path::log_phi(double lambda) const {
  if (lambda == 0.0) return 0.0;
  switch (kind) {
    case PathKind::flow: return -time * lambda;
    case PathKind::ridge: return -std::log1p(time * lambda);
    case PathKind::decay:
      if (decay == 0.0) return -time * lambda;
      return filter(lambda) < 0.5 ? std::log1p(-filter(lambda)) : std::log(phi(lambda));
    case PathKind::descent: return time == 0.0 ? 0.0 : time * std::log1p(-learning_rate * lambda);
    case PathKind::implicit: return -iterations * std::log1p(time * lambda);
  }
  throw InternalError("unnamed training path");
}

double Path::phi(double lambda) const {
  if (kind == PathKind::ridge) return 1.0 / (1.0 + time * lambda);
  // The quotient itself, not 1 minus the filter: no cancellation where phi is small.
  if (kind == PathKind::decay && decay > 0.0)
    return (decay + lambda * std::exp(-(lambda + decay) * time)) / (lambda + decay);
  return std::exp(log_phi(lambda));
}

double Path::filter(double lambda) const {
  switch (kind) {
    case PathKind::ridge:
      return std::isinf(time) ? (lambda > 0.0 ? 1.0 : 0.0) : time * lambda / (1.0 + time * lambda);
    case PathKind::decay:
      return std::isinf(time) ? (lambda > 0.0 ? lambda / (lambda + decay) : 0.0) : lambda * dual(lambda);
    default: return -std::expm1(log_phi(lambda));
  }
}

double Path::dual(double lambda) const {
  // Infinite time fits every direction that the operator has, and leaves the rest alone.
  if (std::isinf(time)) return lambda > 0.0 ? filter(lambda) / lambda : 0.0;
  switch (kind) {
    case PathKind::flow: return time * phi1(time * lambda);
    case PathKind::ridge: return time / (1.0 + time * lambda);
    case PathKind::decay: return time * phi1((lambda + decay) * time);
    case PathKind::descent: return lambda == 0.0 ? time * learning_rate : filter(lambda) / lambda;
    case PathKind::implicit: {
      // tau sum_{j=1}^m (1 + tau lambda)^-j
      const double factor = 1.0 / (1.0 + time * lambda);
      double power = 1.0, sum = 0.0;
      for (int j = 1; j <= iterations; ++j) sum += (power *= factor);
      return time * sum;
    }
  }
  throw InternalError("unnamed training path");
}

double Path::psi_zero() const {
  if (std::isinf(time)) return kind == PathKind::decay && decay > 0.0 ? 1.0 / decay : time;
  return dual(0.0);
}

double Path::g(double lambda) const {
  switch (kind) {
    case PathKind::flow: return time * time * phi1_difference(0.0, time * lambda);
    case PathKind::ridge: return -time * time / (1.0 + time * lambda);
    case PathKind::decay: return time * time * phi1_difference(decay * time, time * lambda);
    case PathKind::descent:
      return learning_rate * learning_rate * descent_curvature(time, learning_rate * lambda);
    case PathKind::implicit: {
      // -tau^2 sum_{i=1}^m (m - i + 1)(1 + tau lambda)^-i
      const double factor = 1.0 / (1.0 + time * lambda);
      double power = 1.0, sum = 0.0;
      for (int i = 1; i <= iterations; ++i) sum += (iterations - i + 1) * (power *= factor);
      return -time * time * sum;
    }
  }
  throw InternalError("unnamed training path");
}

Vector Path::log_phi(const Vector& lambda) const {
  return elementwise(lambda, [&](double x) { return log_phi(x); });
}
Vector Path::phi(const Vector& lambda) const {
  return elementwise(lambda, [&](double x) { return phi(x); });
}
Vector Path::filter(const Vector& lambda) const {
  return elementwise(lambda, [&](double x) { return filter(x); });
}
Vector Path::dual(const Vector& lambda) const {
  return elementwise(lambda, [&](double x) { return dual(x); });
}
Vector Path::g(const Vector& lambda) const {
  return elementwise(lambda, [&](double x) { return g(x); });
}

}  // namespace gradflow
