#include "gradflow/inference/binary_test.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/math/special_functions/gamma.hpp>
#include <cmath>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "gradflow/operators/dense_operator.h"
#include "inference/test_support.h"
#include "support/reference.h"

namespace gradflow {
namespace {

Vector classes(Index n, Index ones) {
  Vector y = Vector::Zero(n);
  y.head(ones).setOnes();
  return y;
}

FixedEffects with_covariate(Index n, std::uint64_t seed) {
  Matrix X(n, 2);
  X << Vector::Ones(n), RandomStream(seed, "covariate").normals(n);
  return {X, {"(intercept)", "x"}};
}

TEST(BinaryTest, ThresholdTailIsTheGammaTailForEqualWeights) {
  for (const Index dof : {1, 2, 6, 400})
    for (const double ratio : {0.01, 0.5, 0.9, 1.0, 1.5, 3.0, 10.0}) {
      const double threshold = 2.0 * ratio * static_cast<double>(dof);
      const double exact = boost::math::gamma_q(0.5 * static_cast<double>(dof), 0.25 * threshold);
      if (exact < 1e-300) continue;

      EXPECT_NEAR(std::exp(log_weighted_chi_square_above(Vector::Constant(dof, 2.0), threshold)) / exact, 1.0,
                  1e-10)
          << dof << " at " << ratio;
    }
}

TEST(BinaryTest, ThresholdTailOfTwoDoubledWeightsIsAMixtureOfExponentials) {
  // a chi2_2 + b chi2_2: (a exp(-x/2a) - b exp(-x/2b)) / (a - b).
  const double a = 1.0, b = 1e-3;
  for (const double x : {1e-3, 0.3, 5.0, 100.0, 1000.0}) {
    const double exact = (a * std::exp(-0.5 * x / a) - b * std::exp(-0.5 * x / b)) / (a - b);

    EXPECT_NEAR(std::exp(log_weighted_chi_square_above(Vector{{a, a, b, b, 0.0}}, x)) / exact, 1.0, 1e-10)
        << x;
  }
}

TEST(BinaryTest, LogisticFitSolvesItsScoreEquations) {
  const Index n = 60;
  Matrix X(n, 3);
  X << Vector::Ones(n), RandomStream(1, "x").normals(n, 2);
  RandomStream random(2, "y");
  Vector y(n);
  for (Index i = 0; i < n; ++i)
    y(i) = random.uniform() < 1.0 / (1.0 + std::exp(1.0 - 2.0 * X(i, 1))) ? 1.0 : 0.0;
  const LogisticFit fit = fit_logistic(X, y);

  ASSERT_FALSE(fit.separated);
  EXPECT_LT((X.transpose() * (y - fit.probabilities)).cwiseAbs().maxCoeff(), 1e-7);
  EXPECT_NEAR(fit.probabilities(7), 1.0 / (1.0 + std::exp(-X.row(7).dot(fit.coefficients))), 1e-12);
}

TEST(BinaryTest, PermutationPValueIsThatOfAllArrangementsOfTen) {
  const Index n = 10;
  const Matrix K = random_kernel(n, 4, 3);
  Vector y{{1, 0, 0, 1, 1, 0, 0, 1, 0, 1}};
  const BinaryTest test = binary_test(DenseOperator(K), FixedEffects::intercept(n), y);
  ASSERT_EQ(test.outcome, Outcome::converged);
  const auto form = [&](const Vector& r) {
    return (r.array() - r.mean()).matrix().dot(K * (r.array() - r.mean()).matrix());
  };
  const double observed = form(y);
  std::sort(y.begin(), y.end());
  int reached = 0, total = 0;
  do {
    reached += form(y) >= observed * (1.0 - 1e-12) ? 1 : 0;
    ++total;
  } while (std::next_permutation(y.begin(), y.end()));
  ASSERT_EQ(total, 252);

  EXPECT_NEAR(test.statistic, observed, 1e-9 * observed);
  EXPECT_EQ(test.recommended, BinaryNull::permutation);
  EXPECT_NEAR(test.p_value, static_cast<double>(reached) / total, 4.0 * test.standard_error);
}

TEST(BinaryTest, BootstrapWithoutFixedEffectsIsThatOfAllResponsesOfTen) {
  // mu = 1/2 is known: every one of the 2^10 responses is equally likely.
  const Index n = 10;
  const Matrix K = random_kernel(n, 3, 4);
  const Vector y{{1, 0, 0, 1, 1, 1, 0, 1, 0, 1}};
  const BinaryTest test = binary_test(DenseOperator(K), FixedEffects::none(n), y, {.smallest_class = 1});
  const double observed = (y.array() - 0.5).matrix().dot(K * (y.array() - 0.5).matrix());
  int reached = 0;
  for (int code = 0; code < 1024; ++code) {
    Vector e(n);
    for (Index i = 0; i < n; ++i) e(i) = ((code >> i) & 1) != 0 ? 0.5 : -0.5;
    reached += e.dot(K * e) >= observed * (1.0 - 1e-12) ? 1 : 0;
  }

  EXPECT_EQ(test.resampling, BinaryNull::bootstrap);
  EXPECT_NEAR(test.statistic, observed, 1e-9 * observed);
  EXPECT_NEAR(test.resampled.p_value, reached / 1024.0, 4.0 * test.resampled.standard_error);
}

TEST(BinaryTest, AsymptoticEigenvaluesAreThoseOfTheEfficientScore) {
  // Mean and variance of sum lambda chi2_1 are tr HS and 2 tr (HS)^2 with S formed as written.
  const Index n = 40;
  const Matrix K = random_kernel(n, 6, 5);
  const FixedEffects fixed = with_covariate(n, 6);
  const Vector y = classes(n, 15);
  const BinaryTest test = binary_test(DenseOperator(K), fixed, y, {.draws = 1});
  const Matrix& X = fixed.design();
  const Vector mu = fit_logistic(X, y).probabilities;
  const Matrix W = Vector(mu.array() * (1.0 - mu.array())).asDiagonal();
  const Matrix S = W - W * X * reference::inverse(X.transpose() * W * X) * X.transpose() * W;
  const auto [values, vectors] = reference::symmetric_spectrum(S);
  const Matrix half = vectors * values.cwiseMax(0.0).cwiseSqrt().asDiagonal() * vectors.transpose();
  const Vector weights = reference::symmetric_spectrum(half * K * half).values.cwiseMax(0.0);

  EXPECT_NEAR(test.statistic, (y - mu).dot(K * (y - mu)), 1e-8 * test.statistic);
  EXPECT_NEAR(test.log10_p_value_asymptotic,
              log_weighted_chi_square_above(weights, test.statistic) / std::log(10.0), 1e-6);
}

TEST(BinaryTest, HasItsSizeWithAnInterceptAndWithACovariate) {
  const OneThread one_thread;
  const Index n = 40;
  const int responses = 400;
  const DenseOperator H(random_kernel(n, 10, 7));
  const FixedEffects covariate = with_covariate(n, 8), intercept = FixedEffects::intercept(n);
  for (const FixedEffects* fixed : {&intercept, &covariate}) {
    RandomStream random(9, "responses");
    int rejected = 0, answered = 0;
    for (int r = 0; r < responses; ++r) {
      Vector y(n);
      for (Index i = 0; i < n; ++i)
        y(i) = random.uniform() < 1.0 / (1.0 + std::exp(1.0 - covariate.design()(i, 1) *
                                                                  static_cast<double>(fixed->count() - 1)))
                   ? 1.0
                   : 0.0;
      const BinaryTest test = binary_test(H, *fixed, y, {.draws = 99, .seed = static_cast<std::uint64_t>(r)});
      if (!usable(test.outcome)) continue;
      ++answered;
      rejected += test.p_value <= 0.1 ? 1 : 0;
    }
    ASSERT_GT(answered, 360);
    EXPECT_NEAR(static_cast<double>(rejected) / answered, 0.1, 4.0 * std::sqrt(0.1 * 0.9 / answered))
        << fixed->count() << " fixed effects";
  }
}

TEST(BinaryTest, FindsASignalOfTheOperatorBeneathACovariate) {
  const Index n = 300;
  const Matrix K = random_kernel(n, 5, 10);
  const FixedEffects fixed = with_covariate(n, 11);
  RandomStream random(12, "y");
  Vector effect = K * random.normals(n);
  effect *= 2.0 * std::sqrt(static_cast<double>(n)) / effect.norm();
  Vector y(n);
  for (Index i = 0; i < n; ++i)
    y(i) = random.uniform() < 1.0 / (1.0 + std::exp(-effect(i) - fixed.design()(i, 1))) ? 1.0 : 0.0;
  const BinaryTest test = binary_test(DenseOperator(K), fixed, y, {.draws = 199});

  EXPECT_EQ(test.recommended, BinaryNull::asymptotic);
  EXPECT_LT(test.log10_p_value, -6.0);
  EXPECT_TRUE(test.resampled.upper_bound);
}

TEST(BinaryTest, RefusesSeparatedClassesRareOnesAndOtherValues) {
  const Index n = 30;
  const DenseOperator H(random_kernel(n, 5, 13)), zero(Matrix::Zero(n, n)), identity(Matrix::Identity(n, n));
  const Vector y = classes(n, 12);
  Matrix separating(n, 2), quasi(n, 2);
  separating << Vector::Ones(n), Vector::LinSpaced(n, 0.0, 1.0);
  quasi << Vector::Ones(n), classes(n, 6);  // all with the covariate are ones, the others are mixed
  const FixedEffects intercept = FixedEffects::intercept(n);

  for (const Matrix& X : {separating, quasi}) {
    const BinaryTest test = binary_test(H, {X, {"(intercept)", "x"}}, y);
    EXPECT_EQ(test.outcome, Outcome::unidentified);
    EXPECT_NE(test.reason.find("separate"), std::string::npos);
    EXPECT_TRUE(std::isnan(test.p_value));
  }
  EXPECT_EQ(binary_test(H, intercept, classes(n, 4)).outcome, Outcome::unidentified);
  EXPECT_EQ(binary_test(H, intercept, classes(n, 0)).outcome, Outcome::unidentified);
  EXPECT_EQ(binary_test(zero, intercept, y).outcome, Outcome::unidentified);
  EXPECT_EQ(binary_test(identity, intercept, y).outcome, Outcome::unidentified);
  EXPECT_THROW(binary_test(H, intercept, 2.0 * y), InputError);
  EXPECT_THROW(binary_test(H, intercept, y.head(5)), InputError);
}

}  // namespace
}  // namespace gradflow
