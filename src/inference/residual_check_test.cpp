#include "gradflow/inference/residual_check.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/operators/dense_operator.h"
#include "support/reference.h"

namespace gradflow {
namespace {

bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

Vector student_t(Index n, int dof, std::uint64_t seed) {
  RandomStream random(seed, "student");
  Vector x(n);
  for (Index i = 0; i < n; ++i)
    x(i) = random.normal() / std::sqrt(random.normals(dof).squaredNorm() / static_cast<double>(dof));
  return x;
}

TEST(ResidualCheck, AndersonDarlingIsTheWeightedDistanceOfTheDistributions) {
  Vector x = RandomStream(1, "anderson").normals(20);
  const double statistic = residual_check(x, {.draws = 99}).anderson_darling;
  std::sort(x.begin(), x.end());
  const double mean = x.mean(), sd = std::sqrt((x.array() - mean).square().sum() / 19.0);
  // A^2 = n Int (F_n - F)^2 / (F (1 - F)) dF, over z.
  double integral = 0.0;
  const double h = 1e-4;
  for (double z = -12.0; z < 12.0; z += h) {
    const double lower = 0.5 * std::erfc(-z * M_SQRT1_2), upper = 0.5 * std::erfc(z * M_SQRT1_2);
    const auto below = static_cast<double>(std::upper_bound(x.begin(), x.end(), mean + sd * z) - x.begin());
    // Written so that neither tail cancels.
    const double gap = z < 0.0 ? below / 20.0 - lower : upper - (20.0 - below) / 20.0;
    integral += h * gap * gap / (lower * upper) * std::exp(-0.5 * z * z) / std::sqrt(2.0 * M_PI);
  }

  EXPECT_NEAR(statistic, 20.0 * integral, 2e-3);
}

TEST(ResidualCheck, RejectsNormalResidualsAsOftenAsItSays) {
  constexpr int replicates = 400;
  int rejected[4] = {0, 0, 0, 0};
  for (int r = 0; r < replicates; ++r) {
    const Vector x = RandomStream(static_cast<std::uint64_t>(r), "normal residuals").normals(15);
    const ResidualCheck check =
        residual_check(x, {.draws = 199, .seed = static_cast<std::uint64_t>(r + 1000)});
    const double p[4] = {check.anderson_darling_p_value, check.skewness_p_value, check.kurtosis_p_value,
                         check.lag_one_p_value};
    for (int k = 0; k < 4; ++k) rejected[k] += p[k] <= 0.1 ? 1 : 0;
  }

  // Monte Carlo p-values are exact at any n: 3.3 binomial standard errors.
  for (const int count : rejected)
    EXPECT_NEAR(static_cast<double>(count) / replicates, 0.1, 3.3 * std::sqrt(0.09 / replicates));
}

TEST(ResidualCheck, NamesHeavyTailsAndWhatToDo) {
  const ResidualCheck check = residual_check(student_t(300, 3, 2), {.draws = 999});

  EXPECT_TRUE(check.departs_from_normal);
  EXPECT_FALSE(check.depends_on_order);
  EXPECT_TRUE(contains(check.normality, "heavier tails than a normal distribution (kurtosis"));
  EXPECT_TRUE(contains(check.normality, "Student t noise"));
}

TEST(ResidualCheck, NamesTheSideOfTheSkewness) {
  // Density 2 |x| on [-1, 0]: skewness 0.57 and no tails.
  RandomStream random(3, "skewed");
  Vector x(500);
  for (Index i = 0; i < 500; ++i) x(i) = -std::pow(random.uniform(), 0.5);

  EXPECT_TRUE(contains(residual_check(x, {.draws = 999}).normality, "skewed to the right"));
  EXPECT_TRUE(contains(residual_check(-x, {.draws = 999}).normality, "skewed to the left"));
}

TEST(ResidualCheck, SeesNeighboursThatAreAlikeAndForgetsThemWhenShuffled) {
  RandomStream random(4, "neighbours");
  Vector x = random.normals(200);
  for (Index i = 1; i < 200; ++i) x(i) = 0.5 * x(i - 1) + std::sqrt(0.75) * x(i);
  const ResidualCheck ordered = residual_check(x, {.draws = 999});
  const Vector shuffled = x(random.permutation(200));

  EXPECT_TRUE(ordered.depends_on_order);
  EXPECT_TRUE(contains(ordered.dependence, "similar residuals"));
  EXPECT_FALSE(residual_check(shuffled, {.draws = 999}).depends_on_order);
}

TEST(ResidualCheck, DrawsUnderTheModelAreLeaveOneOutResiduals) {
  // cov of the draws: P_ij / (P_ii P_jj)^1/2, to 5 standard errors of 20,000 draws.
  RandomStream random(5, "model residuals");
  const Matrix G = random.normals(6, 6);
  const ProjectedSpectrum spectrum = project(DenseOperator(G * G.transpose()), FixedEffects::intercept(6));
  const double tau = 0.7;
  const Matrix P = spectrum.basis * (1.0 + tau * spectrum.values.array()).inverse().matrix().asDiagonal() *
                   spectrum.basis.transpose();
  const ModelResiduals draw(spectrum, tau);
  Matrix covariance = Matrix::Zero(6, 6);
  for (int block = 0; block < 200; ++block) {
    const Matrix x = draw(random, 100);
    covariance += x * x.transpose() / 20000.0;
  }
  const Vector root = P.diagonal().cwiseSqrt().cwiseInverse();

  EXPECT_LT((covariance - root.asDiagonal() * P * root.asDiagonal()).cwiseAbs().maxCoeff(),
            5.0 * std::sqrt(2.0 / 20000.0));
}

TEST(ResidualCheck, StandardisedResidualsAreLeaveOneOutErrorsOverTheirDeviations) {
  // Without row i: y_i - mean_-i and its variance s2 (1 + var), by a fit of the other rows at the same tau.
  RandomStream random(7, "standardised residuals");
  const Index n = 9;
  const Matrix G = random.normals(n, n), H = G * G.transpose();
  const Vector y = random.normals(n);
  const double tau = 0.4;
  const ProjectedSpectrum spectrum = project(DenseOperator(H), FixedEffects::none(n));

  const Vector residuals = ModelResiduals(spectrum, tau).of(spectrum.coordinates(y));

  const Matrix V = Matrix::Identity(n, n) + tau * H;
  for (Index i = 0; i < n; ++i) {
    std::vector<Index> others;
    for (Index j = 0; j < n; ++j)
      if (j != i) others.push_back(j);
    const Vector across = V(others, i), solved = reference::solve(V(others, others), across);
    const double mean = solved.dot(y(others)), variance = V(i, i) - solved.dot(across);
    EXPECT_NEAR(residuals(i), (y(i) - mean) / std::sqrt(variance), 1e-10) << i;
  }
}

TEST(ResidualCheck, IsTheSameForAnyNumberOfThreads) {
  const Vector x = student_t(50, 5, 6);
  set_threads(1);
  const ResidualCheck one = residual_check(x, {.draws = 500});
  set_threads(3);
  const ResidualCheck three = residual_check(x, {.draws = 500});
  set_threads(0);

  EXPECT_EQ(one.anderson_darling_p_value, three.anderson_darling_p_value);
  EXPECT_EQ(one.kurtosis_p_value, three.kurtosis_p_value);
  EXPECT_EQ(one.lag_one_p_value, three.lag_one_p_value);
}

TEST(ResidualCheck, SaysWhenThereIsNothingToCheck) {
  EXPECT_EQ(residual_check(Vector::Ones(20)).outcome, Outcome::unidentified);
  EXPECT_TRUE(contains(residual_check(Vector::LinSpaced(7, 0.0, 1.0)).normality, "too few"));
  EXPECT_THROW(residual_check(Vector::Constant(20, NAN)), InputError);
  EXPECT_THROW(residual_check(Vector::LinSpaced(20, 0.0, 1.0), {.draws = 10}), InputError);
}

}  // namespace
}  // namespace gradflow
