#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/inference/permutation_test.h"
#include "gradflow/inference/score.h"
#include "gradflow/operators/dense_operator.h"
#include "gradflow/spectrum/projected_spectrum.h"

namespace gradflow {
namespace {

Matrix random_kernel(Index n, Index rank, std::uint64_t seed) {
  const Matrix G = RandomStream(seed, "kernel").normals(n, rank);
  return G * G.transpose() / static_cast<double>(n);
}

// Share of all orders of y - mean(y) with a quadratic form at or above the observed one.
double enumerated_p(const Matrix& H, const Vector& y) {
  const Vector e = y.array() - y.mean();
  std::vector<Index> order(static_cast<std::size_t>(y.size()));
  std::iota(order.begin(), order.end(), Index{0});
  const double observed = e.dot(H * e);
  Index total = 0, reached = 0;
  do {
    const Vector permuted = e(order);
    reached += permuted.dot(H * permuted) >= observed * (1.0 - 1e-12) ? 1 : 0;
    ++total;
  } while (std::next_permutation(order.begin(), order.end()));
  return static_cast<double>(reached) / static_cast<double>(total);
}

TEST(PermutationTest, CountsAllArrangementsOfSixAndApproachesThemAtRandom) {
  const Matrix H = random_kernel(6, 3, 1);
  const Vector y{{0.3, 2.0, -1.0, 0.7, 1.1, -0.2}};
  const double exact = enumerated_p(H, y);
  const DenseOperator op(H);
  const FixedEffects fixed = FixedEffects::intercept(6);

  const PermutationTest all = permutation_test(op, fixed, y, {.draws = 720});
  EXPECT_TRUE(all.enumerated);
  EXPECT_DOUBLE_EQ(all.resampled.p_value, exact);
  EXPECT_EQ(all.resampled.standard_error, 0.0);

  const PermutationTest some = permutation_test(op, fixed, y, {.draws = 719});
  EXPECT_FALSE(some.enumerated);
  EXPECT_NEAR(some.resampled.p_value, exact, 4.0 * some.resampled.standard_error);
}

TEST(PermutationTest, AgreesWithTheExactScoreTestForGaussianErrors) {
  const Index n = 60;
  const DenseOperator H(random_kernel(n, 20, 2));
  const FixedEffects fixed = FixedEffects::intercept(n);
  const Vector values = projected_eigenvalues(H, fixed);
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const Vector y = RandomStream(seed, "y").normals(n);
    const PermutationTest test = permutation_test(H, fixed, y, {.draws = 999});
    const double exact = score_test(values, {}, test.statistic / static_cast<double>(n - 1), 1.0).p_value;

    // 0.063: four standard errors of 999 draws at p = 1/2; as much again for n = 60 given residuals.
    EXPECT_NEAR(test.resampled.p_value, exact, 0.126) << "seed " << seed;
  }
}

TEST(PermutationTest, HasItsSizeForHeavyTailedErrorsWithAndWithoutCovariates) {
  const Index n = 30;
  const int responses = 600;
  const DenseOperator H(random_kernel(n, 10, 3));
  Matrix X(n, 3);
  X << Vector::Ones(n), RandomStream(4, "x").normals(n, 2);
  const FixedEffects intercept = FixedEffects::intercept(n), covariates(X, {"(intercept)", "a", "b"});
  for (const FixedEffects* fixed : {&intercept, &covariates}) {
    RandomStream random(5, "responses");
    int rejected = 0;
    for (int r = 0; r < responses; ++r) {
      const Vector y = random.normals(n).array() / random.normals(n).array().abs().max(0.05);
      const PermutationTest test =
          permutation_test(H, *fixed, y, {.draws = 99, .seed = static_cast<std::uint64_t>(r)});
      rejected += test.resampled.p_value <= 0.1 ? 1 : 0;
    }
    EXPECT_NEAR(static_cast<double>(rejected) / responses, 0.1, 4.0 * std::sqrt(0.1 * 0.9 / responses))
        << fixed->count() << " fixed effects";
  }
}

TEST(PermutationTest, StopsAtTheExceedanceWaitedForWithTheSameAnswerInExpectation) {
  const Index n = 40;
  const DenseOperator H(random_kernel(n, 10, 6));
  const Vector y = RandomStream(7, "y").normals(n);
  const FixedEffects fixed = FixedEffects::intercept(n);
  const PermutationTest full = permutation_test(H, fixed, y, {.draws = 4000}),
                        early = permutation_test(H, fixed, y, {.draws = 4000, .stop_after = 50});
  ASSERT_GT(full.resampled.exceedances, 50);

  EXPECT_TRUE(early.stopped_early);
  EXPECT_EQ(early.resampled.exceedances, 50);
  EXPECT_LT(early.resampled.draws, 4000);
  EXPECT_NEAR(early.resampled.p_value, full.resampled.p_value,
              4.0 * std::hypot(early.resampled.standard_error, full.resampled.standard_error));
}

TEST(PermutationTest, BlocksDoNotChangeTheStatisticNorItsScaleTheDecision) {
  const Index n = 25;
  const Matrix K = random_kernel(n, 8, 8);
  const DenseOperator H(K), scaled(1e-30 * K);
  const Vector y = RandomStream(9, "y").normals(n);
  const FixedEffects fixed = FixedEffects::intercept(n);
  const PermutationTest a = permutation_test(H, fixed, y, {.draws = 500}),
                        b = permutation_test(scaled, fixed, 1e20 * y, {.draws = 500});

  EXPECT_EQ(a.resampled.exceedances, b.resampled.exceedances);
  EXPECT_NEAR(b.statistic / a.statistic, 1e-30, 1e-40);
}

TEST(PermutationTest, DegenerateInputsAreUnidentifiedAndBadOnesRefused) {
  const FixedEffects fixed = FixedEffects::intercept(10);
  const DenseOperator zero(Matrix::Zero(10, 10)), identity(Matrix::Identity(10, 10));
  const Vector y = RandomStream(10, "y").normals(10);

  EXPECT_EQ(permutation_test(zero, fixed, y).outcome, Outcome::unidentified);
  EXPECT_EQ(permutation_test(identity, fixed, y).outcome, Outcome::unidentified);
  EXPECT_EQ(permutation_test(identity, fixed, Vector::Constant(10, 3.0)).outcome, Outcome::unidentified);
  EXPECT_THROW(permutation_test(identity, fixed, y.head(9)), InputError);
  EXPECT_THROW(permutation_test(identity, fixed, y, {.draws = 0}), InputError);
}

}  // namespace
}  // namespace gradflow
