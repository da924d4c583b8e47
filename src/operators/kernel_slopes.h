#pragma once

#include "operators/kernel_pairs.h"

/// The slopes of the duals V = E[phi(u) phi(v)], D = E[phi'(u) phi'(v)] in the variances a, b and the
/// covariance c (dV/dc = D always), in closed form from V and D, without branches, calls or transcendental
/// functions, so that loops over them vectorise. With rho = c / sqrt(ab):
///
///     relu, leaky_relu, abs   with k = (1-s)^2 / 2pi:
///         V_a = k/2 sqrt(b/a) sqrt(1-rho^2),   D_c = k / sqrt((1-rho^2) ab),   D_a = -rho k / (2a
///         sqrt(1-rho^2))
///     erf     x^2 = (1+2a)(1+2b) - 4c^2:
///         V_a = -cD / (1+2a),   D_c = 4cD / x^2,   D_a = -(1+2b) D / x^2
///     gelu    P = (1+a)(1+b), E^2 = P - c^2, Q = 1/E^2 + (1-ab)/P + 1:
///         2pi (1+a) V_a = [(ab - c^2)/2 - c^2/P - c^2/2E^2 + b E^2/P] / E
///         2pi D_c = 1/E + PQ/E^3 + 2c^2/E^5
///         2pi D_a = -c/E [1/(2(1+a)) + (1+b)(Q/2 + 1/E^2)/E^2 + 1/(1+a)^2]
///     sin, cos   V_a = -V/2,   D_c = V,   D_a = -D/2
///     identity   0
///
/// and the same with a and b exchanged. For relu and its kin D_c and D_a are infinite at |rho| = 1. Where the
/// dual takes rho as +-1 they are set to 0: rows that are equal or proportional stay so when features are
/// rescaled, D stays at its end, and D_c dc + D_a da + D_b db = 0 in the limit.
namespace gradflow::pairs {

struct Slopes {
  double V_a, V_b, D_c, D_a, D_b;
};

[[gnu::always_inline]] inline Slopes slopes(const PiecewiseLinear<double>& phi, const Marginal<double>& a,
                                            const Marginal<double>& b, double c, double, double) {
  const double ratio = std::abs(c) * (a.inverse * b.inverse);
  const double gap = 1.0 - ratio > snap<double> ? 1.0 - ratio : 0.0;  // as the dual has it
  const double cosine = 1.0 - gap;
  const double sine = std::sqrt(gap * (1.0 + cosine));
  const double over_sine = select(gap > 0.0, 1.0 / sine, 0.0);
  const double k = (1.0 - phi.s) * (1.0 - phi.s) * (0.5 / pi<double>);
  const double flat = 0.5 * k * sine, steep = k * over_sine;
  const double turn = -0.5 * steep * std::copysign(cosine, c);
  return {flat * (b.root * a.inverse), flat * (a.root * b.inverse), steep * (a.inverse * b.inverse),
          (turn * a.inverse) * a.inverse, (turn * b.inverse) * b.inverse};
}

[[gnu::always_inline]] inline Slopes slopes(const ErrorFunction<double>&, const Marginal<double>& a,
                                            const Marginal<double>& b, double c, double, double D) {
  const double x2 = 1.0 + 2.0 * (a.variance + b.variance) + 4.0 * determinant(a.root * b.root, c);
  const double scaled = D / x2;
  return {-c * D * (a.inverse * a.inverse), -c * D * (b.inverse * b.inverse), 4.0 * c * scaled,
          -(1.0 + 2.0 * b.variance) * scaled, -(1.0 + 2.0 * a.variance) * scaled};
}

[[gnu::always_inline]] inline Slopes slopes(const GaussianError<double>&, const Marginal<double>& a,
                                            const Marginal<double>& b, double c, double, double) {
  const double over_a = a.inverse * a.inverse, over_b = b.inverse * b.inverse, over_P = over_a * over_b;
  const double det = determinant(a.root * b.root, c);
  const double E2 = 1.0 + (a.variance + b.variance) + det;
  const double over_E = 1.0 / std::sqrt(E2), over_E2 = over_E * over_E;
  const double Q = over_E2 + (1.0 - a.variance * b.variance) * over_P + 1.0;
  const double P = (1.0 + a.variance) * (1.0 + b.variance), c2 = c * c;
  constexpr double scale = 0.5 / pi<double>;
  const double shared = 0.5 * det - c2 * (over_P + 0.5 * over_E2), lift = E2 * over_P;
  const double turn = (0.5 * Q + over_E2) * over_E2;
  return {scale * over_E * over_a * (shared + b.variance * lift),
          scale * over_E * over_b * (shared + a.variance * lift),
          scale * over_E * (1.0 + over_E2 * (P * Q + 2.0 * c2 * over_E2)),
          -scale * c * over_E * (over_a * (0.5 + over_a) + (1.0 + b.variance) * turn),
          -scale * c * over_E * (over_b * (0.5 + over_b) + (1.0 + a.variance) * turn)};
}

[[gnu::always_inline]] inline Slopes slopes(const Wave<double>&, const Marginal<double>&,
                                            const Marginal<double>&, double, double V, double D) {
  return {-0.5 * V, -0.5 * V, V, -0.5 * D, -0.5 * D};
}

[[gnu::always_inline]] inline Slopes slopes(const Linear<double>&, const Marginal<double>&,
                                            const Marginal<double>&, double, double, double) {
  return {0.0, 0.0, 0.0, 0.0, 0.0};
}

}  // namespace gradflow::pairs
