#include "gradflow/spectrum/quadrature.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/special_values.h"
#include "gradflow/base/random.h"
#include "gradflow/spectrum/lanczos.h"

namespace gradflow {
namespace {

/// A planted measure: sum_i weights_i delta(values_i), with the Jacobi matrices that Lanczos makes of it.
struct Measure {
  std::string name;
  Vector values, weights;

  double mass() const { return weights.sum(); }
  double largest() const { return values.maxCoeff(); }
  template <typename F>
  double integral(F&& f) const {
    double sum = 0.0;
    for (Index i = 0; i < values.size(); ++i) sum += weights(i) * f(values(i));
    return sum;
  }
  Tridiagonal jacobi(Index steps) const {
    KrylovSpace space([this](ConstVector x, Eigen::Ref<Vector> y) { y = values.cwiseProduct(x); },
                      weights.cwiseSqrt(), values.size());
    space.extend(steps);
    return space.tridiagonal();
  }
};

Vector random_weights(Index n, std::uint64_t seed) {
  return RandomStream(seed, "weights").normals(n).cwiseAbs2();
}

std::vector<Measure> measures() {
  std::vector<Measure> all;
  Vector spread(60), geometric(60), repeated(60), singular(60), dominated(60);
  RandomStream random(1, "values");
  for (Index i = 0; i < 60; ++i) {
    spread(i) = random.uniform(0.0, 2.0);
    geometric(i) = 3.0 * std::pow(0.8, static_cast<double>(i));
    repeated(i) = 0.25 + static_cast<double>(i % 9);
    singular(i) = i < 40 ? random.uniform(0.0, 1.0) : 0.0;
    dominated(i) = i == 0 ? 1e4 : random.uniform(0.0, 1.0);
  }
  all.push_back({"spread", spread, random_weights(60, 2)});
  all.push_back({"geometric", geometric, random_weights(60, 3)});
  all.push_back({"repeated", repeated, random_weights(60, 4)});
  all.push_back({"singular", singular, random_weights(60, 5)});
  all.push_back({"dominated", dominated, random_weights(60, 6)});
  return all;
}

template <typename F>
double sum_of(const Quadrature& rule, F&& f) {
  double sum = 0.0;
  for (Index j = 0; j < rule.nodes.size(); ++j) sum += rule.weights(j) * f(rule.nodes(j));
  return sum;
}

/// Chebyshev's polynomial on [0, largest]: at most 1 there, so that errors are of the size of rounding.
double chebyshev(int degree, double x, double largest) {
  const double u = std::clamp(2.0 * x / largest - 1.0, -1.0, 1.0);
  return std::cos(degree * std::acos(u));
}

/// A node is known to some units of rounding of the largest; degree^2 is Chebyshev's steepest slope.
double polynomial_tolerance(const Measure& measure, int degree) {
  return 64.0 * machine_epsilon * measure.mass() * (1.0 + degree * degree);
}

TEST(GaussRule, IsExactForPolynomialsUpToDegreeTwoKMinusOne) {
  for (const Measure& measure : measures())
    for (Index k = 1; k <= 12; ++k) {
      const Tridiagonal T = measure.jacobi(k);
      const Quadrature rule = gauss_rule(T, measure.mass());
      for (int degree = 0; degree < 2 * T.size(); ++degree) {
        const auto f = [&](double x) { return chebyshev(degree, x, measure.largest()); };

        EXPECT_NEAR(sum_of(rule, f), measure.integral(f), polynomial_tolerance(measure, degree))
            << measure.name << ", " << k << " steps, degree " << degree;
      }
    }
}

TEST(GaussRule, IsNotExactAtDegreeTwoK) {
  const Measure measure = measures().front();
  for (Index k = 1; k <= 8; ++k) {
    const auto f = [&](double x) { return chebyshev(2 * static_cast<int>(k), x, measure.largest()); };

    EXPECT_GT(std::abs(sum_of(gauss_rule(measure.jacobi(k), measure.mass()), f) - measure.integral(f)),
              1e-6 * measure.mass());
  }
}

TEST(GaussRule, NodesAscendAndWeightsAreNotNegativeAndSumToTheMass) {
  for (const Measure& measure : measures())
    for (const Index k : {1, 2, 3, 7, 20, 45, 60})
      for (const Quadrature& rule :
           {gauss_rule(measure.jacobi(k), measure.mass()), radau_rule(measure.jacobi(k), measure.mass())}) {
        const Index size = rule.nodes.size();
        ASSERT_EQ(rule.weights.size(), size);

        EXPECT_TRUE((rule.nodes.tail(size - 1).array() >= rule.nodes.head(size - 1).array()).all());
        EXPECT_GE(rule.weights.minCoeff(), 0.0);
        EXPECT_NEAR(rule.weights.sum(), measure.mass(), 64.0 * machine_epsilon * measure.mass());
      }
}

TEST(GaussRule, OfOneStepIsTheMean) {
  for (const Measure& measure : measures()) {
    const Quadrature rule = gauss_rule(measure.jacobi(1), measure.mass());
    const double mean = measure.integral([](double x) { return x; }) / measure.mass();

    ASSERT_EQ(rule.nodes.size(), 1);
    EXPECT_NEAR(rule.nodes(0), mean, 16.0 * machine_epsilon * measure.largest());
    EXPECT_DOUBLE_EQ(rule.weights(0), measure.mass());
  }
}

TEST(RadauRule, OfOneStepHasTheSecondOverTheFirstMomentBesideZero) {
  for (const Measure& measure : measures()) {
    const Quadrature rule = radau_rule(measure.jacobi(1), measure.mass());
    const double first = measure.integral([](double x) { return x; }),
                 second = measure.integral([](double x) { return x * x; });

    ASSERT_EQ(rule.nodes.size(), 2);
    EXPECT_EQ(rule.nodes(0), 0.0);
    EXPECT_NEAR(rule.nodes(1) * first / second, 1.0, 1e-12) << measure.name;
    EXPECT_NEAR(rule.weights(1) * second / (first * first), 1.0, 1e-12) << measure.name;
  }
}

TEST(RadauRule, KeepsTheWeightOfZeroFarFromTheSpectrumToRelativeRounding) {
  // All eigenvalues near 1: p_j(0) = (-1)^j b^-j (1 + O(b^2)), and the weight is 1/sum p_j(0)^2.
  const double b = 1e-5;
  const Tridiagonal T{Vector::Ones(6), Vector::Constant(5, b), b};

  EXPECT_NEAR(radau_rule(T, 2.0).weights(0) / (2.0 * std::pow(b, 12)), 1.0, 1e-8);
}

/// What moving every node by some units of rounding of the largest does to f, whose slope is at most rate.
double bound_allowance(const Measure& measure, double rate) {
  return 64.0 * machine_epsilon * measure.mass() * (1.0 + rate * measure.largest());
}

TEST(GaussAndRadauRules, BoundTheExponentialAndTheResolventFromBelowAndAbove) {
  for (const Measure& measure : measures())
    for (const Index k : {1, 2, 3, 5, 9, 14, 20, 30, 60})
      for (const double shrinkage : {1e-3, 0.1, 1.0, 30.0, 1e3, 1e5}) {
        const Tridiagonal T = measure.jacobi(k);
        const Quadrature below = gauss_rule(T, measure.mass()), above = radau_rule(T, measure.mass());
        const double rate = shrinkage / measure.largest(), allowance = bound_allowance(measure, rate);
        const auto exponential = [&](double x) { return std::exp(-rate * x); };
        const auto resolvent = [&](double x) { return 1.0 / (1.0 + rate * x); };
        const std::string at = measure.name + ", " + std::to_string(k) + " steps, " + std::to_string(rate);

        EXPECT_LE(sum_of(below, exponential), measure.integral(exponential) + allowance) << at;
        EXPECT_GE(sum_of(above, exponential), measure.integral(exponential) - allowance) << at;
        EXPECT_LE(sum_of(below, resolvent), measure.integral(resolvent) + allowance) << at;
        EXPECT_GE(sum_of(above, resolvent), measure.integral(resolvent) - allowance) << at;
      }
}

TEST(GaussAndRadauRules, AreEqualAndExactWhenTheSpaceIsInvariant) {
  for (const Measure& measure : measures()) {
    const Tridiagonal T = measure.jacobi(60);
    ASSERT_EQ(T.next, 0.0) << measure.name;
    if (measure.name == "repeated") {
      EXPECT_EQ(T.size(), 9);
    }
    const Quadrature gauss = gauss_rule(T, measure.mass()), radau = radau_rule(T, measure.mass());

    EXPECT_EQ(gauss.nodes, radau.nodes);
    EXPECT_EQ(gauss.weights, radau.weights);
    for (const double rate : {0.01, 1.0, 10.0}) {
      const auto f = [&](double x) { return std::exp(-rate * x); };
      EXPECT_NEAR(sum_of(gauss, f), measure.integral(f), bound_allowance(measure, rate)) << measure.name;
    }
  }
}

TEST(FirstMoment, ItsGaussRuleIsExactForLambdaDmuUpToDegreeTwoKMinusOne) {
  for (const Measure& measure : measures())
    for (Index k = 1; k <= 12; ++k) {
      const Tridiagonal T = measure.jacobi(k), moment = first_moment(T);
      if (T.next == 0.0) continue;
      ASSERT_EQ(moment.size(), k) << measure.name;
      const Quadrature rule = gauss_rule(moment, measure.mass() * T.diagonal(0));
      for (int degree = 0; degree < 2 * k; ++degree) {
        const auto f = [&](double x) { return chebyshev(degree, x, measure.largest()); };
        const double exact = measure.integral([&](double x) { return x * f(x); });

        // T = L L' is factored with pivots as small as the smallest Ritz value: L'L is as exact as that.
        const double tolerance = measure.largest() * polynomial_tolerance(measure, degree);
        EXPECT_NEAR(sum_of(rule, f), exact, tolerance) << measure.name << ", " << k << ", degree " << degree;
      }
    }
}

TEST(FirstMoment, ItsRulesBoundTheIntegralOfLambdaTimesTheExponential) {
  for (const Measure& measure : measures())
    for (const Index k : {2, 3, 5, 9, 14, 20})
      for (const double shrinkage : {1e-3, 0.1, 1.0, 30.0, 1e3}) {
        const Tridiagonal T = measure.jacobi(k), moment = first_moment(T);
        if (T.next == 0.0 || moment.size() == 0) continue;
        const double mass = measure.mass() * T.diagonal(0), rate = shrinkage / measure.largest();
        const auto f = [&](double x) { return std::exp(-rate * x); };
        const double exact = measure.integral([&](double x) { return x * f(x); });
        const double allowance = measure.largest() * bound_allowance(measure, rate);

        EXPECT_LE(sum_of(gauss_rule(moment, mass), f), exact + allowance) << measure.name << ", " << k;
        EXPECT_GE(sum_of(radau_rule(moment.leading(k - 1), mass), f), exact - allowance)
            << measure.name << ", " << k;
      }
}

TEST(FirstMoment, OfAnInvariantSpaceWeighsItsNodesByThemselves) {
  const Measure measure{"three", Vector{{1.0, 2.0, 4.0}}, Vector{{0.5, 0.25, 0.25}}};
  const Tridiagonal T = measure.jacobi(3);

  const Quadrature rule = gauss_rule(first_moment(T), measure.mass() * T.diagonal(0));

  EXPECT_LT((rule.nodes - measure.values).norm(), 1e-14);
  EXPECT_LT((rule.weights - measure.weights.cwiseProduct(measure.values)).norm(), 1e-14);
}

TEST(FirstMoment, IsEmptyWhenTheMatrixIsNotPositiveDefinite) {
  EXPECT_EQ(first_moment({Vector{{1.0, 1.0}}, Vector{{1.0}}, 0.5}).size(), 0);
  EXPECT_EQ(first_moment({Vector{{-1.0}}, Vector(), 0.5}).size(), 0);
  EXPECT_EQ(first_moment({Vector{{0.0}}, Vector(), 0.5}).size(), 0);
}

TEST(Tridiagonal, LeadingPartIsWhatFewerStepsLeave) {
  const Measure measure = measures().front();
  const Tridiagonal whole = measure.jacobi(20), part = whole.leading(7), fewer = measure.jacobi(7);

  EXPECT_EQ(part.diagonal, fewer.diagonal);
  EXPECT_EQ(part.off_diagonal, fewer.off_diagonal);
  EXPECT_EQ(part.next, fewer.next);
}

TEST(Ritz, ValuesAndFirstComponentsAreTheGaussRules) {
  for (const Measure& measure : measures()) {
    const Tridiagonal T = measure.jacobi(25);
    const Quadrature rule = gauss_rule(T, 1.0);
    const Ritz pairs = ritz(T);

    EXPECT_LT((pairs.values - rule.nodes).cwiseAbs().maxCoeff(), 64.0 * machine_epsilon * measure.largest());
    for (const double rate : {0.1, 3.0}) {
      const Vector f = (-rate * pairs.values.array()).exp();
      EXPECT_NEAR(pairs.vectors.row(0).cwiseAbs2().dot(f),
                  sum_of(rule, [&](double x) { return std::exp(-rate * x); }),
                  64.0 * machine_epsilon * (1.0 + rate * measure.largest()));
    }
  }
}

TEST(Quadrature, OfNoStepsIsEmpty) {
  EXPECT_EQ(gauss_rule({}, 1.0).nodes.size(), 0);
  EXPECT_EQ(radau_rule({}, 1.0).nodes.size(), 0);
  EXPECT_EQ(first_moment({}).size(), 0);
  EXPECT_EQ(ritz({}).values.size(), 0);
}

// Eigen's solver of tridiagonal matrices compares squares of entries with entries: at 1e-12 it left 1e-10 of
// them.
TEST(Ritz, PairsAreAsGoodAtEveryScale) {
  RandomStream random(4, "ritz");
  const Index n = 120;
  for (const double range : {0.0, 3.0, 10.0})  // decades
    for (const double scale : {1e-12, 1e-6, 1.0, 1e5, 1e12}) {
      Tridiagonal T;
      T.diagonal = Vector::NullaryExpr(n, [&](Index j) {
        return scale * std::pow(10.0, -range * static_cast<double>(j) / n) * (1.0 + random.uniform());
      });
      T.off_diagonal = 0.5 * (T.diagonal.head(n - 1).array() * T.diagonal.tail(n - 1).array()).sqrt();
      Matrix full = T.diagonal.asDiagonal();
      full.diagonal(1) = full.diagonal(-1) = T.off_diagonal;

      const Ritz pairs = ritz(T);

      EXPECT_LT((full * pairs.vectors - pairs.vectors * pairs.values.asDiagonal()).cwiseAbs().maxCoeff(),
                256.0 * machine_epsilon * scale)
          << range << " decades, scale " << scale;
      EXPECT_LT((pairs.vectors.transpose() * pairs.vectors - Matrix::Identity(n, n)).norm(), 1e-12);
    }
}

}  // namespace
}  // namespace gradflow
