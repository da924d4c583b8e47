#include "gradflow/inference/expected_loo.h"

#include <gtest/gtest.h>

#include <Eigen/Dense>

#include <cmath>
#include <limits>

#include "gradflow/base/random.h"
#include "gradflow/inference/stopping.h"
#include "gradflow/operators/dense_operator.h"
#include "inference/test_signals.h"

namespace gradflow {
namespace {

// Rows evenly spaced on a circle: every row has the same divisor, so their mean is exact.
Matrix circle_kernel(Index n) {
  Matrix H(n, n);
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < n; ++j)
      H(i, j) =
          std::exp(2.0 * std::cos(6.283185307179586 * static_cast<double>(i - j) / static_cast<double>(n))) /
          static_cast<double>(n);
  return H;
}

struct Circle {
  explicit Circle(Index n, std::uint64_t seed)
      : H(circle_kernel(n)),
        y(RandomStream(seed, "y").normals(n)),
        spectrum(project(DenseOperator(H), FixedEffects::none(n))),
        data{.values = spectrum.values, .z = spectrum.coordinates(y)} {}
  Matrix H;
  Vector y;
  ProjectedSpectrum spectrum;
  SpectralData data;
};

// Residual at row i of the path trained on the others, with the operator's entries as they are.
double residual_without(const Matrix& H, const Vector& y, Index i, const Path& path) {
  std::vector<Index> others;
  for (Index j = 0; j < y.size(); ++j)
    if (j != i) others.push_back(j);
  const DenseOperator left(H(others, others));
  const ProjectedSpectrum spectrum = project(left, FixedEffects::none(y.size() - 1));
  const Vector dual =
      spectrum.basis * path.dual(spectrum.values).cwiseProduct(spectrum.coordinates(y(others)));
  return y(i) - H(i, others).dot(dual);
}

TEST(ExpectedLoo, FactorsAreThoseOfRefittingWithoutEachRow) {
  const Index n = 24;
  const Circle circle(n, 1);
  for (const PathKind kind : {PathKind::flow, PathKind::ridge})
    for (const double time : {0.3, 3.0, 30.0, 300.0}) {
      const Path path{.kind = kind, .time = time};
      const Vector residuals =
          circle.spectrum.basis * leave_one_out_factors(circle.data, path).cwiseProduct(circle.data.z);
      for (Index i = 0; i < n; ++i)
        EXPECT_NEAR(residuals(i), residual_without(circle.H, circle.y, i, path), 2e-5)
            << to_string(kind) << " " << time;
    }
}

// Var(z_i) = 1 + scale lambda_i^power.
SpectralData planted(Index n, double power, double scale, std::uint64_t seed) {
  return drawn_from({power, std::log(scale) + power * std::log(2.0)}, n, seed);
}

AveragedSignal averaged_on(const SpectralData& data) {
  return average_signal(data, fit_reml(data, Path{.kind = PathKind::ridge}));
}

TEST(ExpectedLoo, FactorsAddUpToTheNumberOfDirections) {
  const SpectralData data = planted(70, 1.0, 5.0, 2);
  for (const PathKind kind : {PathKind::flow, PathKind::ridge, PathKind::decay})
    for (const double time : {0.0, 0.1, 1.0, 10.0, 1e4})
      EXPECT_NEAR(leave_one_out_factors(data, {.kind = kind, .time = time, .decay = 0.2}).sum(), 70.0, 1e-10);
}

// One model alone: given the others, y_i has the model's leave-one-out prediction as its mean.
TEST(ExpectedLoo, OfOneModelIsItsPredictiveVarianceAndTheDistanceFromItsPrediction) {
  const Index n = 20;
  const Circle circle(n, 3);
  const double tau = 8.0, noise = 0.7, largest = circle.data.values(0);
  const AveragedSignal signal{.outcome = Outcome::converged,
                              .largest = largest,
                              .noise_variance = noise,
                              .models = {{1.0, std::log(tau * largest), 1.0, noise}}};
  const Path flow{.time = 5.0}, blup{.kind = PathKind::ridge, .time = tau};
  double expected = 0.0;
  for (Index i = 0; i < n; ++i) {
    const double model = residual_without(circle.H, circle.y, i, blup),
                 path = residual_without(circle.H, circle.y, i, flow);
    const Matrix covariance = noise * (Matrix::Identity(n, n) + tau * circle.H);
    const double variance = 1.0 / covariance.inverse()(i, i);
    expected += (variance + (model - path) * (model - path)) / static_cast<double>(n);
  }
  EXPECT_NEAR(ExpectedLoo(circle.data, signal)(flow), expected, 1e-5 * expected);
}

TEST(ExpectedLoo, ItsTimeBeatsAFineGridOfTimes) {
  const SpectralData data = planted(90, 1.0, 10.0, 3);
  const AveragedSignal signal = averaged_on(data);
  const ExpectedLoo expected(data, signal);
  for (const PathKind kind : {PathKind::flow, PathKind::ridge, PathKind::implicit}) {
    const Path family{.kind = kind, .iterations = 3};
    const double least = expected(family.at(expected_loo_time(data, signal, {.path = family})));
    for (double x = -12.0; x < 12.0; x += 0.01)
      EXPECT_LE(least, expected(family.at(std::exp(x))) * (1.0 + 1e-7)) << to_string(kind);
  }
}

TEST(ExpectedLoo, SmallStepsOfDescentStopWhereTheFlowDoes) {
  const SpectralData data = planted(90, 1.0, 10.0, 4);
  const double rate = 1e-5;
  const double flow = expected_loo_time(data, averaged_on(data), {});
  const double steps = expected_loo_time(data, averaged_on(data),
                                         {.path = {.kind = PathKind::descent, .learning_rate = rate}});
  EXPECT_EQ(steps, std::round(steps));
  EXPECT_NEAR(steps * rate, flow, 1e-4 * flow);
}

StoppingRule rule_on(const SpectralData& data) {
  const DenseOperator unused(Matrix::Identity(2, 2));
  const FixedEffects none = FixedEffects::none(2);
  const Vector response = Vector::Zero(2);
  return stop_by_expected_loo({unused, none, response, data}, averaged_on(data), {});
}

TEST(ExpectedLoo, IntervalHoldsTheTimeAndNarrowsWithTheData) {
  double before = std::numeric_limits<double>::infinity();
  for (const Index n : {60, 600, 6000}) {
    const StoppingRule rule = rule_on(planted(n, 1.0, 10.0, 5));
    ASSERT_EQ(rule.outcome, Outcome::converged);
    EXPECT_LE(rule.interval.lower, rule.time);
    EXPECT_GE(rule.interval.upper, rule.time);
    const double width = std::log(rule.interval.upper / rule.interval.lower);
    EXPECT_LT(width, before) << n;
    EXPECT_GT(width, 0.0) << n;
    before = width;
  }
}

TEST(ExpectedLoo, RescalingTheOperatorRescalesTimeAndInterval) {
  const SpectralData data = planted(100, 2.0, 50.0, 6);
  SpectralData scaled = data;
  scaled.values *= 1000.0;
  const StoppingRule one = rule_on(data), other = rule_on(scaled);
  EXPECT_NEAR(1000.0 * other.time / one.time, 1.0, 1e-5);
  EXPECT_NEAR(1000.0 * other.interval.lower / one.interval.lower, 1.0, 1e-4);
  EXPECT_NEAR(1000.0 * other.interval.upper / one.interval.upper, 1.0, 1e-4);
}

TEST(ExpectedLoo, NothingToLearnGivesTimeZero) {
  SpectralData data = planted(50, 1.0, 0.0, 7);
  for (Index i = 0; i < 50; ++i) data.z(i) = i < 25 ? 0.1 : 1.0;
  const StoppingRule rule = rule_on(data);
  EXPECT_EQ(rule.outcome, Outcome::at_zero);
  EXPECT_EQ(rule.time, 0.0);
  EXPECT_EQ(rule.interval.lower, 0.0);
  EXPECT_GT(rule.interval.upper, 0.0);
  EXPECT_EQ(expected_loo_time(data, averaged_on(data), {}), 0.0);
}

// The error that it promises is the one that is met: data drawn from the model that was averaged over,
// response and left-out residuals alike.
TEST(ExpectedLoo, EstimatesTheMeanSquaredLeaveOneOutResidual) {
  double promised = 0.0, met = 0.0;
  const int draws = 200;
  for (int draw = 0; draw < draws; ++draw) {
    const SpectralData data = planted(400, 1.5, 60.0, 100 + static_cast<std::uint64_t>(draw));
    const StoppingRule rule = rule_on(data);
    promised += rule.estimated_rmse * rule.estimated_rmse / draws;
    const Vector residuals = leave_one_out_factors(data, Path{.time = rule.time}).cwiseProduct(data.z);
    met += residuals.squaredNorm() / 400.0 / draws;
  }
  EXPECT_NEAR(promised / met, 1.0, 0.03);
}

}  // namespace
}  // namespace gradflow
