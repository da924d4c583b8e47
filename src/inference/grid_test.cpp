#include "gradflow/inference/grid_test.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "gradflow/operators/dense_operator.h"
#include "gradflow/spectrum/projected_spectrum.h"
#include "inference/test_support.h"

namespace gradflow {
namespace {

// Gaussian kernels of several widths on one feature: similar, as a grid of depths or scales is.
Matrix smooth_kernel(const Vector& x, double width) {
  Matrix K(x.size(), x.size());
  for (Index i = 0; i < x.size(); ++i)
    for (Index j = 0; j < x.size(); ++j) K(i, j) = std::exp(-0.5 * std::pow((x(i) - x(j)) / width, 2));
  return K / static_cast<double>(x.size());
}

struct Grid {
  std::vector<std::unique_ptr<DenseOperator>> owned;
  std::vector<const TrainingOperator*> pointers;
  void add(Matrix H) {
    owned.push_back(std::make_unique<DenseOperator>(std::move(H)));
    pointers.push_back(owned.back().get());
  }
};

Grid smooth_grid(Index n, std::uint64_t seed) {
  const Vector x = RandomStream(seed, "x").normals(n);
  Grid grid;
  for (const double width : {0.1, 0.3, 1.0, 3.0}) grid.add(smooth_kernel(x, width));
  return grid;
}

// Signal along the leading eigenvector of one operator, sized so that its p is of the wanted order.
Vector response(Index n, double signal, const TrainingOperator& H, std::uint64_t seed) {
  RandomStream random(seed, "y");
  Vector direction = random.normals(n);
  for (int i = 0; i < 20; ++i) {
    Vector next(n);
    H.apply(direction.array() - direction.mean(), next);
    direction = next.normalized();
  }
  return random.normals(n) + signal * std::sqrt(static_cast<double>(n)) * direction;
}

TEST(GridTest, IdenticalOperatorsHaveThePValueOfOne) {
  const Index n = 40;
  const FixedEffects fixed = FixedEffects::intercept(n);
  for (const double signal : {0.0, 1.5}) {
    Grid grid;
    for (int k = 0; k < 5; ++k) grid.add(random_kernel(n, 15, 1));
    const Vector y = response(n, signal, *grid.pointers[0], 2);
    const GridTest test = grid_test(grid.pointers, fixed, y, {.draws = 600});

    ASSERT_EQ(test.outcome, Outcome::converged);
    EXPECT_NEAR(test.log10_p_value, test.tests[0].log10_p_value, 1e-9);
    EXPECT_NEAR(test.relative_standard_error, 0.0, 1e-6);
  }
}

TEST(GridTest, OperatorsOnOrthogonalDirectionsAreNearlyIndependent) {
  // Projections on K disjoint sets of 4 of 120 directions: 1 - (1 - p)^K up to the common denominator w'w.
  const Index n = 120;
  const int K = 6;
  Grid grid;
  for (int k = 0; k < K; ++k) {
    Matrix H = Matrix::Zero(n, n);
    for (Index i = 0; i < 4; ++i) H(4 * k + i, 4 * k + i) = 1.0;
    grid.add(std::move(H));
  }
  for (const double size : {1.9, 4.0}) {
    Vector y = RandomStream(3, "y").normals(n);
    y.head(4 * K) *= 0.8 / std::sqrt(y.head(4 * K).squaredNorm() / (4 * K));
    y.head(4).setConstant(0.5 * size);
    const GridTest test = grid_test(grid.pointers, FixedEffects::none(n), y);
    const double p = std::pow(10.0, test.log10_smallest_p_value),
                 independent = -std::expm1(K * std::log1p(-p));

    EXPECT_NEAR(test.p_value / independent, 1.0, 0.02 + 4.0 * test.relative_standard_error) << "p " << p;
  }
}

TEST(GridTest, ImportanceSamplingAgreesWithPlainDrawsAtOnePercent) {
  const Index n = 50;
  const Grid grid = smooth_grid(n, 4);
  const FixedEffects fixed = FixedEffects::intercept(n);
  Vector y;
  GridTest tilted;
  for (double signal = 0.0; signal < 3.0; signal += 0.02) {
    y = response(n, signal, *grid.pointers[2], 5);
    tilted = grid_test(grid.pointers, fixed, y, {.draws = 200, .sampling = GridSampling::importance});
    if (tilted.p_value < 0.015) break;
  }
  ASSERT_GT(tilted.p_value, 0.005);
  tilted = grid_test(grid.pointers, fixed, y, {.draws = 4000, .sampling = GridSampling::importance});
  const GridTest plain =
      grid_test(grid.pointers, fixed, y, {.draws = 40000, .seed = 8, .sampling = GridSampling::plain});

  EXPECT_LT(tilted.relative_standard_error, 0.05);
  EXPECT_NEAR(tilted.p_value / plain.p_value, 1.0,
              4.0 * std::hypot(tilted.relative_standard_error, plain.relative_standard_error));
}

TEST(GridTest, EstimateIsThatOfCountingMinimaOfPValues) {
  // The definition itself: the share of null responses whose smallest p is at most the observed one.
  const Index n = 30;
  const Grid grid = smooth_grid(n, 6);
  const FixedEffects fixed = FixedEffects::intercept(n);
  const Vector y = response(n, 0.35, *grid.pointers[1], 7);
  const GridTest test = grid_test(grid.pointers, fixed, y);
  std::vector<ProjectedSpectrum> spectra;
  for (const TrainingOperator* H : grid.pointers) spectra.push_back(project(*H, fixed));
  RandomStream random(9, "null");
  int reached = 0;
  const int draws = 1000;
  for (int r = 0; r < draws; ++r) {
    const Vector null = random.normals(n);
    double smallest = 0.0;
    for (const ProjectedSpectrum& spectrum : spectra) {
      const Vector square = spectrum.coordinates(null).col(0).cwiseAbs2();
      smallest = std::min(
          smallest, score_test(spectrum.values, {}, spectrum.values.dot(square), square.sum()).log10_p_value);
    }
    reached += smallest <= test.log10_smallest_p_value ? 1 : 0;
  }
  const double counted = static_cast<double>(reached) / draws;

  EXPECT_NEAR(test.p_value, counted,
              4.0 * std::hypot(std::sqrt(test.p_value * (1.0 - test.p_value) / draws),
                               test.p_value * test.relative_standard_error));
}

TEST(GridTest, ReachesTenToTheMinusTenBetweenItsBounds) {
  const Index n = 60;
  const Grid grid = smooth_grid(n, 10);
  const FixedEffects fixed = FixedEffects::intercept(n);
  for (const double signal : {1.5, 2.5, 5.0}) {
    const GridTest test = grid_test(grid.pointers, fixed, response(n, signal, *grid.pointers[2], 11));

    EXPECT_LT(test.log10_p_value, -8.0);
    EXPECT_GE(test.log10_p_value, test.log10_smallest_p_value);
    EXPECT_LE(test.log10_p_value, test.log10_bonferroni);
    EXPECT_LT(test.relative_standard_error, 0.1);
    EXPECT_EQ(test.sampling, GridSampling::importance);
  }
}

TEST(GridTest, HasItsSizeUnderTheNull) {
  const OneThread one_thread;
  const Index n = 30;
  const Grid grid = smooth_grid(n, 12);
  const FixedEffects fixed = FixedEffects::intercept(n);
  RandomStream random(13, "null");
  const int responses = 300;
  int rejected = 0;
  for (int r = 0; r < responses; ++r)
    rejected += grid_test(grid.pointers, fixed, random.normals(n), {.draws = 500}).p_value <= 0.1 ? 1 : 0;

  EXPECT_NEAR(static_cast<double>(rejected) / responses, 0.1, 4.0 * std::sqrt(0.1 * 0.9 / responses));
}

TEST(GridTest, SameSeedGivesTheSameBitsForAnyNumberOfThreads) {
  const Grid grid = smooth_grid(30, 14);
  const Vector y = response(30, 1.0, *grid.pointers[0], 15);
  const int before = threads();
  set_threads(1);
  const GridTest one = grid_test(grid.pointers, FixedEffects::intercept(30), y, {.draws = 300});
  set_threads(3);
  const GridTest three = grid_test(grid.pointers, FixedEffects::intercept(30), y, {.draws = 300});
  set_threads(before);

  EXPECT_EQ(one.log10_p_value, three.log10_p_value);
}

TEST(GridTest, LeavesOutOperatorsWithoutATestAndSaysWhenNoneIsLeft) {
  const Index n = 30;
  Grid grid;
  grid.add(Matrix::Zero(n, n));
  grid.add(random_kernel(n, 10, 16));
  grid.add(Matrix::Identity(n, n));
  const Vector y = response(n, 0.5, *grid.pointers[1], 17);
  const FixedEffects fixed = FixedEffects::intercept(n);
  const GridTest test = grid_test(grid.pointers, fixed, y);

  EXPECT_EQ(test.compared, 1);
  EXPECT_EQ(test.best, 1);
  EXPECT_NEAR(test.log10_p_value, test.tests[1].log10_p_value, 1e-9);
  EXPECT_EQ(grid_test({grid.pointers[0]}, fixed, y).outcome, Outcome::unidentified);
  EXPECT_EQ(grid_test(grid.pointers, fixed, Vector::Constant(n, 2.0)).outcome, Outcome::unidentified);
  EXPECT_THROW(grid_test({}, fixed, y), InputError);
  EXPECT_THROW(grid_test(grid.pointers, fixed, y.head(5)), InputError);
}

}  // namespace
}  // namespace gradflow
