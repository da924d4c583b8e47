#include "gradflow/operators/dual_activation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/math/quadrature/gauss.hpp>
#include <cmath>
#include <numbers>
#include <vector>

#include "gradflow/base/error.h"

namespace gradflow {
namespace {

constexpr double pi = std::numbers::pi;

struct Covariance {
  double a, b, c;
};

std::vector<Covariance> covariances() {
  std::vector<Covariance> all;
  for (const auto& [a, b] : {std::pair{1.0, 1.0}, {0.3, 2.0}, {1e-4, 0.7}, {5.0, 9.0}})
    for (const double rho : {-1.0, -0.999, -0.6, 0.0, 0.2, 0.8, 0.99999, 1.0})
      all.push_back({a, b, rho * std::sqrt(a * b)});
  return all;
}

/// E over (u, v) by the trapezoidal rule in independent coordinates: geometric convergence for smooth
/// functions.
Dual by_trapezoid(const Activation& phi, const Covariance& k, int nodes_per_unit = 24) {
  const double step = 1.0 / nodes_per_unit;
  const int half = 9 * nodes_per_unit;
  const double along = k.c / std::sqrt(k.a), across = std::sqrt(std::max(0.0, k.b - along * along));
  std::vector<double> weight;
  for (int i = -half; i <= half; ++i)
    weight.push_back(step / std::sqrt(2 * pi) * std::exp(-0.5 * i * i * step * step));
  Dual sum{0.0, 0.0};
  for (int i = -half; i <= half; ++i) {
    const double x = i * step, u = std::sqrt(k.a) * x;
    double value = 0.0, derivative = 0.0;
    for (int j = -half; j <= half; ++j) {
      const double v = along * x + across * step * j, w = weight[static_cast<std::size_t>(j + half)];
      value += w * phi.value(v);
      derivative += w * phi.derivative(v);
    }
    sum.value += weight[static_cast<std::size_t>(i + half)] * phi.value(u) * value;
    sum.derivative += weight[static_cast<std::size_t>(i + half)] * phi.derivative(u) * derivative;
  }
  return sum;
}

/// For phi with phi(r u) = r phi(u), r > 0: the radius has second moment 2, the angle is left, in arcs on
/// which neither argument changes sign.
Dual by_angle(const Activation& phi, const Covariance& k) {
  const double along = k.c / std::sqrt(k.a), across = std::sqrt(std::max(0.0, k.b - along * along));
  const double turn = std::atan2(-along, across);
  std::vector<double> ends{-pi, -pi / 2, pi / 2, pi, turn, turn > 0 ? turn - pi : turn + pi};
  std::sort(ends.begin(), ends.end());
  Dual sum{0.0, 0.0};
  for (std::size_t s = 1; s < ends.size(); ++s) {
    const auto integrate = [&](auto&& f) {
      return boost::math::quadrature::gauss<double, 20>::integrate(f, ends[s - 1], ends[s]);
    };
    const auto u = [&](double t) { return std::sqrt(k.a) * std::cos(t); };
    const auto v = [&](double t) { return along * std::cos(t) + across * std::sin(t); };
    sum.value += integrate([&](double t) { return phi.value(u(t)) * phi.value(v(t)); }) / pi;
    sum.derivative +=
        integrate([&](double t) { return phi.derivative(u(t)) * phi.derivative(v(t)); }) / (2 * pi);
  }
  return sum;
}

TEST(DualActivation, SmoothOnesAgreeWithQuadrature) {
  for (const char* name : {"gelu", "erf", "sin", "cos", "tanh", "identity"})
    for (const Covariance& k : covariances()) {
      const Activation phi = parse_activation(name);
      const Dual expected = by_trapezoid(phi, k), computed = dual(phi, k.a, k.b, k.c);

      const double scale = std::sqrt(k.a * k.b) + 1e-3;
      EXPECT_NEAR(computed.value, expected.value, 1e-11 * scale)
          << name << ' ' << k.a << ' ' << k.b << ' ' << k.c;
      EXPECT_NEAR(computed.derivative, expected.derivative, 1e-11)
          << name << ' ' << k.a << ' ' << k.b << ' ' << k.c;
    }
}

TEST(DualActivation, PiecewiseLinearOnesAgreeWithQuadratureOverTheAngle) {
  for (const char* name : {"relu", "leaky-relu@0.2", "leaky-relu@-0.7", "abs"})
    for (const Covariance& k : covariances()) {
      const Activation phi = parse_activation(name);
      const Dual expected = by_angle(phi, k), computed = dual(phi, k.a, k.b, k.c);

      EXPECT_NEAR(computed.value, expected.value, 1e-14 * std::sqrt(k.a * k.b))
          << name << ' ' << k.a << ' ' << k.c;
      // arccos near 1 amplifies the rounding of c itself
      const double gap = 1.0 - std::abs(k.c) / std::sqrt(k.a * k.b);
      EXPECT_NEAR(computed.derivative, expected.derivative, gap < 1e-3 ? 1e-7 : 1e-13)
          << name << ' ' << k.a << ' ' << k.c;
    }
}

TEST(DualActivation, TanhIsAccurateToTheStatedVariances) {
  const Activation phi{ActivationKind::tanh};
  for (const auto& [a, tolerance] : {std::pair{20.0, 1e-13}, {30.0, 1e-11}, {100.0, 1e-6}})
    for (const double rho : {-0.9, 0.3, 0.98, 0.999, 1.0}) {
      const Dual expected = by_trapezoid(phi, {a, a, rho * a}, 40), computed = dual(phi, a, a, rho * a);
      const double allowed = rho == 0.999 ? tolerance : 1e-13;
      EXPECT_NEAR(computed.value, expected.value, allowed) << a << ' ' << rho;
      EXPECT_NEAR(computed.derivative, expected.derivative, allowed) << a << ' ' << rho;
    }
}

TEST(DualActivation, DegenerateVariancesGiveFiniteResults) {
  for (const char* name : {"relu", "leaky-relu", "abs", "gelu", "erf", "tanh", "sin", "cos", "identity"})
    for (const Covariance& k : {Covariance{0, 0, 0},
                                {0, 1, 0},
                                {1, 0, 0},
                                {1e-320, 1, 0},
                                {1e4, 1e4, 1e4},
                                {1e4, 1e4, -1e4},
                                {1e4, 2.0, 0.1},
                                {1, 1, 1.0 + 1e-15},
                                {3, 3, -3.0 * (1.0 + 1e-15)}}) {
      const Dual result = dual(parse_activation(name), k.a, k.b, k.c);
      EXPECT_TRUE(std::isfinite(result.value) && std::isfinite(result.derivative))
          << name << ' ' << k.a << ' ' << k.c;
    }
  EXPECT_EQ(dual(parse_activation("relu"), 0, 2, 0).value, 0.0);
  EXPECT_NEAR(dual(parse_activation("cos"), 0, 2, 0).value, std::exp(-1.0), 1e-16);
  EXPECT_THROW(dual(parse_activation("relu"), -1.0, 1.0, 0.0), InputError);
}

TEST(DualActivation, RoundingNearEqualVariablesDoesNotShow) {
  for (const char* name : {"relu", "leaky-relu@0.2", "abs", "gelu", "erf", "tanh"}) {
    const Activation phi = parse_activation(name);
    const Dual exact = dual(phi, 1.7, 1.7, 1.7);
    for (const double factor : {1.0 - 2e-15, 1.0 + 2e-15}) {
      const Dual rounded = dual(phi, 1.7, 1.7, 1.7 * factor);
      EXPECT_NEAR(rounded.value, exact.value, 1e-14) << name;
      EXPECT_NEAR(rounded.derivative, exact.derivative, 1e-14) << name;
    }
  }
}

TEST(DualActivation, ColumnsAndDiagonalAgreeWithSinglePairs) {
  const Vector a = Vector::LinSpaced(150, 0.0, 3.0), b = Vector::LinSpaced(3, 0.5, 1.5);
  for (const char* name :
       {"relu", "leaky-relu@0.2", "abs", "gelu", "erf", "tanh", "sin", "cos", "identity"}) {
    const Activation phi = parse_activation(name);
    const DualActivation pairs(phi, a, b);
    const Vector c = 0.4 * (a * b[1]).cwiseSqrt();
    Vector value(140), derivative(140), on_value, on_derivative;
    pairs.column(1, 10, 140, c.data() + 10, value.data(), derivative.data());
    DualActivation(phi, a).diagonal(on_value, on_derivative);
    for (const Index i : {0, 75, 139}) {
      const Dual one = dual(phi, a[i + 10], b[1], c[i + 10]);
      EXPECT_NEAR(value[i], one.value, 1e-13) << name;
      EXPECT_NEAR(derivative[i], one.derivative, 1e-13) << name;
      const Dual same = dual(phi, a[i + 10], a[i + 10], a[i + 10]);
      EXPECT_NEAR(on_value[i + 10], same.value, 1e-12) << name;
      EXPECT_NEAR(on_derivative[i + 10], same.derivative, 1e-12) << name;
    }
  }
}

}  // namespace
}  // namespace gradflow
