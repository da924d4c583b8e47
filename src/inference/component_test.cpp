#include "gradflow/inference/component_test.h"

#include <gtest/gtest.h>

#include <cmath>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "gradflow/operators/dense_operator.h"
#include "gradflow/spectrum/projected_spectrum.h"
#include "inference/test_support.h"
#include "support/reference.h"

namespace gradflow {
namespace {

Matrix linear_kernel(const Matrix& X) { return X * X.transpose() / static_cast<double>(X.rows() * X.cols()); }

// Two groups of features; the second correlated with the first.
struct Features {
  Matrix first, second;
  Features(Index n, Index d, double correlation, std::uint64_t seed)
      : first(RandomStream(seed, "first").normals(n, d)),
        second(correlation * first +
               std::sqrt(1.0 - correlation * correlation) * RandomStream(seed, "second").normals(n, d)) {}
};

Vector signal_of(const Matrix& X, RandomStream& random) {
  return X * random.normals(X.cols()) / std::sqrt(static_cast<double>(X.cols()));
}

TEST(ComponentTest, StatisticIsTheTextbookScoreWithTheFixedEffectsProjected) {
  // T = N y'P H2 P y / y'P y with P = V^-1 - V^-1 X (X'V^-1 X)^-1 X'V^-1: projecting first is the same.
  const Index n = 40;
  const Features features(n, 8, 0.3, 1);
  const Matrix H1 = linear_kernel(features.first), H2 = linear_kernel(features.second);
  Matrix X(n, 2);
  X << Vector::Ones(n), RandomStream(2, "x").normals(n);
  RandomStream random(3, "y");
  const Vector noise = random.normals(n);  // in a stated order: compilers differ in that of a sum's parts
  const Vector y = 2.0 * signal_of(features.first, random) + noise;
  const ComponentTest test =
      component_test(DenseOperator(H1), DenseOperator(H2), {X, {"(intercept)", "x"}}, y, {.draws = 0});
  ASSERT_EQ(test.outcome, Outcome::converged);
  ASSERT_GT(test.null_time, 0.0);

  const Matrix W = reference::inverse(Matrix::Identity(n, n) + test.null_time * H1);
  const Matrix P = W - W * X * reference::inverse(X.transpose() * W * X) * X.transpose() * W;
  EXPECT_NEAR(test.statistic / (static_cast<double>(n - 2) * y.dot(P * H2 * P * y) / y.dot(P * y)), 1.0,
              1e-8);
}

TEST(ComponentTest, WithoutAFirstOperatorItIsTheScoreTest) {
  const Index n = 30;
  const Matrix H2 = linear_kernel(Features(n, 6, 0.0, 4).first);
  const FixedEffects fixed = FixedEffects::intercept(n);
  const Vector y = RandomStream(5, "y").normals(n);
  const ProjectedSpectrum spectrum = project(DenseOperator(H2), fixed);
  const Vector square = spectrum.coordinates(y).col(0).cwiseAbs2();
  const ScoreTest score = score_test(spectrum.values, {}, spectrum.values.dot(square), square.sum());
  for (const Matrix& nothing : {Matrix(Matrix::Zero(n, n)), Matrix(Matrix::Identity(n, n))}) {
    const ComponentTest test =
        component_test(DenseOperator(nothing), DenseOperator(H2), fixed, y, {.draws = 2000});

    EXPECT_EQ(test.null_time, 0.0);
    EXPECT_NEAR(test.given.log10_p_value, score.log10_p_value, 1e-9);
    EXPECT_NEAR(test.bootstrap.p_value, score.p_value, 4.0 * test.bootstrap.standard_error + 1e-3);
  }
}

struct Rejected {
  double given = 0.0, bootstrap = 0.0, likelihood_ratio = 0.0;
};

Rejected rejection_rates(double correlation, double second_signal, int responses, bool likelihood_ratio) {
  const OneThread one_thread;
  const Index n = 40;
  const Features features(n, 10, correlation, 6);
  const DenseOperator H1(linear_kernel(features.first)), H2(linear_kernel(features.second));
  const FixedEffects fixed = FixedEffects::intercept(n);
  RandomStream random(7, "responses");
  Rejected rates;
  for (int r = 0; r < responses; ++r) {
    const Vector noise = random.normals(n), first = signal_of(features.first, random);
    const Vector y = first + second_signal * signal_of(features.second, random) + noise;
    const ComponentTest test = component_test(
        H1, H2, fixed, y,
        {.draws = 99, .seed = static_cast<std::uint64_t>(r), .likelihood_ratio = likelihood_ratio});
    rates.given += test.given.p_value <= 0.1 ? 1.0 / responses : 0.0;
    rates.bootstrap += test.bootstrap.p_value <= 0.1 ? 1.0 / responses : 0.0;
    rates.likelihood_ratio += test.likelihood_ratio_bootstrap.p_value <= 0.1 ? 1.0 / responses : 0.0;
  }
  return rates;
}

double bound(int responses) { return 4.0 * std::sqrt(0.1 * 0.9 / responses); }

TEST(ComponentTest, KeepsItsSizeWhenOnlyTheFirstOperatorCarriesSignal) {
  const int responses = 300;
  const Rejected rates = rejection_rates(0.3, 0.0, responses, false);

  EXPECT_NEAR(rates.bootstrap, 0.1, bound(responses));
  EXPECT_LE(rates.given, 0.1 + bound(responses));
}

TEST(ComponentTest, LikelihoodRatioKeepsItsSizeToo) {
  const int responses = 100;
  const Rejected rates = rejection_rates(0.3, 0.0, responses, true);

  EXPECT_NEAR(rates.likelihood_ratio, 0.1, bound(responses));
}

TEST(ComponentTest, FindsASecondSignalBeneathTheFirst) {
  const Rejected rates = rejection_rates(0.3, 1.5, 60, true);

  EXPECT_GT(rates.bootstrap, 0.6);
  EXPECT_GT(rates.given, 0.6);
  EXPECT_GT(rates.likelihood_ratio, 0.6);
}

TEST(ComponentTest, LikelihoodRatioIsNotAboveAFineSearchInBothTimesAndNearIt) {
  const Index n = 30;
  const Features features(n, 6, 0.2, 8);
  const Matrix H1 = linear_kernel(features.first), H2 = linear_kernel(features.second);
  RandomStream random(9, "y");
  const Vector noise = random.normals(n), first = signal_of(features.first, random);
  const Vector y = first + signal_of(features.second, random) + noise;
  const ComponentTest test = component_test(DenseOperator(H1), DenseOperator(H2), FixedEffects::none(n), y,
                                            {.draws = 0, .likelihood_ratio = true});
  const auto criterion = [&](double tau_1, double tau_2) {
    const Matrix V = Matrix::Identity(n, n) + tau_1 * H1 + tau_2 * H2;
    return static_cast<double>(n) * std::log(y.dot(Vector(reference::solve(V, y)))) +
           reference::log_determinant(V);
  };
  double null = criterion(0.0, 0.0), both = null;
  for (double a = -4.0; a < 10.0; a += 0.2) {
    null = std::min(null, criterion(std::exp(a), 0.0));
    for (double b = -4.0; b < 10.0; b += 0.2) both = std::min(both, criterion(std::exp(a), std::exp(b)));
  }
  ASSERT_GT(null - both, 1.0);

  EXPECT_NEAR(test.likelihood_ratio, null - both, 0.25);
}

TEST(ComponentTest, SameSeedGivesTheSameBitsForAnyNumberOfThreads) {
  const Index n = 30;
  const Features features(n, 5, 0.3, 10);
  const DenseOperator H1(linear_kernel(features.first)), H2(linear_kernel(features.second));
  const Vector y = RandomStream(11, "y").normals(n);
  const int before = threads();
  set_threads(1);
  const ComponentTest one = component_test(H1, H2, FixedEffects::intercept(n), y, {.draws = 300});
  set_threads(3);
  const ComponentTest three = component_test(H1, H2, FixedEffects::intercept(n), y, {.draws = 300});
  set_threads(before);

  EXPECT_EQ(one.bootstrap.exceedances, three.bootstrap.exceedances);
}

// Reported as "-1e-18 on its diagonal": at a tau_1 of 1e8 and more, rounding was a share of what is left.
TEST(ComponentTest, RoundingIsNoFaultOfASecondOperatorThatTheFirstExplainsExactly) {
  const Index n = 40;
  const Features features(n, 2, 0.0, 14);
  const DenseOperator H1(linear_kernel(features.first)), H2(linear_kernel(features.second));
  const Vector y = 1e9 * features.first.col(0);

  const ComponentTest same = component_test(H1, H1, FixedEffects::intercept(n), y, {.draws = 19});
  const ComponentTest other = component_test(H1, H2, FixedEffects::intercept(n), y, {.draws = 19});

  EXPECT_EQ(same.outcome, Outcome::unidentified);
  EXPECT_EQ(other.outcome, Outcome::converged);
  EXPECT_GE(other.given.p_value, 0.0);
}

TEST(ComponentTest, SaysWhatCannotBeTested) {
  const Index n = 20;
  const Matrix H = linear_kernel(Features(n, 5, 0.0, 12).first);
  const FixedEffects fixed = FixedEffects::intercept(n);
  const Vector y = RandomStream(13, "y").normals(n);
  const DenseOperator op(H), twice(2.0 * H), zero(Matrix::Zero(n, n)), identity(Matrix::Identity(n, n));

  EXPECT_EQ(component_test(op, twice, fixed, y).outcome, Outcome::unidentified);
  EXPECT_EQ(component_test(op, zero, fixed, y).outcome, Outcome::unidentified);
  EXPECT_EQ(component_test(op, identity, fixed, y).outcome, Outcome::unidentified);
  EXPECT_EQ(component_test(op, twice, fixed, Vector::Ones(n)).outcome, Outcome::unidentified);
  EXPECT_THROW(component_test(op, twice, fixed, y.head(3)), InputError);
  EXPECT_THROW(component_test(op, twice, fixed, y, {.draws = -1}), InputError);
}

}  // namespace
}  // namespace gradflow
