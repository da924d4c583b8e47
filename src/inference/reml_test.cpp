#include "gradflow/inference/reml.h"

#include <gtest/gtest.h>

#include <cmath>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "support/reference.h"

namespace gradflow {
namespace {

SpectralData planted_decay(Index n, double tau, std::uint64_t seed) {
  SpectralData data{Vector(n), RandomStream(seed, "z").normals(n)};
  for (Index i = 0; i < n; ++i) {
    data.values(i) = 3.0 * std::pow(static_cast<double>(i + 1), -1.5);
    data.z(i) *= std::sqrt(1.0 + tau * data.values(i));
  }
  return data;
}

TEST(FlowReml, DerivativeVanishesAtTheRoot) {
  const SpectralData data = planted_decay(200, 50.0, 1);
  const RemlFit fit = fit_reml(data, Path{.kind = PathKind::flow});
  const Eigen::ArrayXd weight = fit.path.phi(data.values).array() * data.z.array().square();

  ASSERT_EQ(fit.outcome, Outcome::converged);
  EXPECT_NEAR(data.count() * (weight * data.values.array()).sum() / weight.sum() / data.values.sum(), 1.0,
              1e-13);
}

TEST(FlowReml, IsZeroExactlyWhenTheScoreIsNotPositive) {
  SpectralData data{Vector{{4.0, 2.0, 0.0}}, Vector{{1.0, 1.0, 1.0}}};
  EXPECT_EQ(fit_reml(data, Path{.kind = PathKind::flow}).outcome, Outcome::at_zero);
  EXPECT_EQ(fit_reml(data, Path{.kind = PathKind::flow}).path.time, 0.0);

  data.z(0) = 1.001;
  EXPECT_EQ(fit_reml(data, Path{.kind = PathKind::flow}).outcome, Outcome::converged);
  EXPECT_GT(fit_reml(data, Path{.kind = PathKind::flow}).path.time, 0.0);
}

TEST(FlowReml, IsInfiniteWhenAllWeightLiesAboveTheMeanEigenvalue) {
  const SpectralData data{Vector{{4.0, 3.0, 0.1, 0.0}}, Vector{{1.0, 2.0, 0.0, 0.0}}};
  const RemlFit fit = fit_reml(data, Path{.kind = PathKind::flow});

  EXPECT_EQ(fit.outcome, Outcome::on_boundary);
  EXPECT_TRUE(std::isinf(fit.path.time));
}

TEST(FlowReml, InfiniteTimeFitsOnlyTheDirectionsThatTheOperatorHas) {
  const SpectralData data{Vector{{4.0, 0.0, 0.0, 0.0}}, Vector{{1.0, 0.0, 0.0, 0.0}}};
  const RemlFit fit = fit_reml(data, Path{.kind = PathKind::flow});

  ASSERT_TRUE(std::isinf(fit.path.time));
  EXPECT_EQ(data.effective_dof(fit.path), 1.0);
}

TEST(FlowReml, SurvivesTimesAtWhichTheExponentialUnderflows) {
  // Weight far down the spectrum: t lambda_1 is in the thousands.
  SpectralData data{Vector(100), Vector::Ones(100)};
  for (Index i = 0; i < 100; ++i) data.values(i) = i < 50 ? 1000.0 : 1e-3 * static_cast<double>(100 - i);
  data.z.tail(50).setConstant(1e-12);
  const RemlFit fit = fit_reml(data, Path{.kind = PathKind::flow});

  ASSERT_EQ(fit.outcome, Outcome::converged);
  EXPECT_TRUE(std::isfinite(fit.criterion));
  EXPECT_GT(fit.path.time, 0.0);
}

TEST(Reml, EqualEigenvaluesAreUnidentified) {
  const SpectralData data{Vector::Constant(10, 2.0), Vector::Ones(10)};

  EXPECT_EQ(fit_reml(data, Path{.kind = PathKind::flow}).outcome, Outcome::unidentified);
  EXPECT_EQ(fit_reml(data, Path{.kind = PathKind::ridge}).outcome, Outcome::unidentified);
}

TEST(Reml, RescaledOperatorRescalesTheTimeAndKeepsTheRest) {
  const SpectralData data = planted_decay(150, 20.0, 2);
  SpectralData scaled = data;
  scaled.values *= 8.0;
  for (const PathKind kind : {PathKind::flow, PathKind::ridge}) {
    const RemlFit a = fit_reml(data, Path{.kind = kind}), b = fit_reml(scaled, Path{.kind = kind});

    EXPECT_NEAR(8.0 * b.path.time / a.path.time, 1.0, 1e-6);
    EXPECT_NEAR(a.criterion, b.criterion, 1e-9);
    EXPECT_NEAR(a.noise_variance / b.noise_variance, 1.0, 1e-6);
    EXPECT_NEAR(8.0 * b.interval.lower, a.interval.lower, 1e-6 * a.path.time);
    EXPECT_NEAR(8.0 * b.interval.upper / a.interval.upper, 1.0, 1e-6);
  }
}

TEST(RidgeReml, CriterionEqualsTheTextbookRestrictedLikelihood) {
  // -2 log L_R = log|V| + log|X'V^-1X| + (n-q) log(y'Py), V = I + tau H, up to a constant: differences must
  // agree.
  RandomStream random(3, "textbook");
  const Index n = 30, q = 3;
  const Matrix G = random.normals(n, n), X = random.normals(n, q);
  const Matrix H = G * G.transpose() / static_cast<double>(n);
  const Vector y = random.normals(n);
  const Matrix Q = reference::orthogonal_basis(X).rightCols(n - q);
  const auto [values, vectors] = reference::symmetric_spectrum(Q.transpose() * H * Q);
  const SpectralData data{values.cwiseMax(0.0), vectors.transpose() * Q.transpose() * y};
  const auto textbook = [&](double tau) {
    const Matrix V = Matrix::Identity(n, n) + tau * H, W = reference::inverse(V);
    const Matrix P = W - W * X * reference::inverse(X.transpose() * W * X) * X.transpose() * W;
    return reference::log_determinant(V) + reference::log_determinant(X.transpose() * W * X) +
           static_cast<double>(n - q) * std::log(y.dot(P * y));
  };
  const auto ours = [&](double tau) {
    return reml_criterion(data, Path{.kind = PathKind::ridge, .time = tau});
  };

  for (const double tau : {0.1, 1.0, 30.0})
    EXPECT_NEAR(ours(tau) - ours(0.01), textbook(tau) - textbook(0.01), 1e-9);
}

TEST(RidgeReml, FindsTheGlobalMinimumOnAFineGrid) {
  for (std::uint64_t seed = 10; seed < 30; ++seed) {
    const SpectralData data = planted_decay(60, seed % 2 == 0 ? 5.0 : 500.0, seed);
    const RemlFit fit = fit_reml(data, Path{.kind = PathKind::ridge});
    double best = fit.criterion_at_zero;
    for (double x = -12.0; x < 12.0; x += 0.003)
      best = std::min(best, reml_criterion(data, Path{.kind = PathKind::ridge, .time = std::exp(x)}));

    EXPECT_LE(fit.criterion, best + 1e-9) << "seed " << seed;
  }
}

// A search by values alone knows log tau to the root of the rounding: 1e-6 on flat likelihoods, and other
// digits with another number of threads.
TEST(RidgeReml, DerivativeVanishesAtTheMinimum) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SpectralData data = planted_decay(200, seed % 2 == 0 ? 50.0 : 500.0, seed);
    if (seed % 3 == 0) data.multiplicity = RandomStream(seed, "counts").normals(200).cwiseAbs();
    const RemlFit fit = fit_reml(data, Path{.kind = PathKind::ridge});
    ASSERT_EQ(fit.outcome, Outcome::converged) << "seed " << seed;
    const auto slope = [&](long double tau) {
      long double squares = 0.0L, shrunk = 0.0L, trace = 0.0L, count = 0.0L;
      for (Index i = 0; i < data.values.size(); ++i) {
        const long double times = data.multiplicity.size() > 0 ? data.multiplicity(i) : 1.0;
        const long double g = tau * data.values(i) / (1.0L + tau * data.values(i)), z = data.z(i);
        squares += (1.0L - g) * z * z;
        shrunk += (1.0L - g) * g * z * z;
        trace += times * g;
        count += times;
      }
      return trace - count * shrunk / squares;
    };

    const double tau = fit.path.time;
    EXPECT_LT(slope(tau * (1.0 - 1e-10)), 0.0L) << "seed " << seed;
    EXPECT_GT(slope(tau * (1.0 + 1e-10)), 0.0L) << "seed " << seed;
  }
}

TEST(Reml, ProfileIntervalEndsWhereTheCriterionHasRisenByTheQuantile) {
  const SpectralData data = planted_decay(200, 50.0, 4);
  for (const PathKind kind : {PathKind::flow, PathKind::ridge}) {
    const RemlFit fit = fit_reml(data, Path{.kind = kind});
    ASSERT_LT(fit.interval.lower, fit.path.time);
    ASSERT_GT(fit.interval.upper, fit.path.time);

    EXPECT_NEAR(reml_criterion(data, fit.path.at(fit.interval.lower)) - fit.criterion, 3.841458820694124,
                1e-6);
    EXPECT_NEAR(reml_criterion(data, fit.path.at(fit.interval.upper)) - fit.criterion, 3.841458820694124,
                1e-6);
  }
}

TEST(Reml, InterpolatingDataStopAtTheStatedBoundWithAWarning) {
  SpectralData data = planted_decay(50, 5.0, 5);
  data.z = data.values.cwiseSqrt();
  data.values.tail(10).setZero();
  data.z.tail(10).setZero();
  const RemlFit fit = fit_reml(data, Path{.kind = PathKind::ridge});

  EXPECT_EQ(fit.outcome, Outcome::on_boundary);
  EXPECT_DOUBLE_EQ(fit.path.time, fit.upper_bound);
  EXPECT_NE(fit.reason.find("not identified"), std::string::npos);
}

TEST(Reml, DescentNeedsAStableLearningRate) {
  const SpectralData data = planted_decay(50, 5.0, 6);

  EXPECT_THROW(fit_reml(data, Path{.kind = PathKind::descent, .learning_rate = 0.34}), InputError);
  const RemlFit fit = fit_reml(data, Path{.kind = PathKind::descent, .learning_rate = 0.01});
  EXPECT_EQ(fit.path.time, std::round(fit.path.time));
}

TEST(Reml, TwoParameterPathsReachAtLeastTheLikelihoodOfTheirLimits) {
  const SpectralData data = planted_decay(120, 30.0, 7);
  const double flow = fit_reml(data, Path{.kind = PathKind::flow}).criterion;
  const double ridge = fit_reml(data, Path{.kind = PathKind::ridge}).criterion;

  EXPECT_LE(fit_reml_two_parameters(data, PathKind::decay).criterion, std::min(flow, ridge) + 1e-3);
  EXPECT_LE(fit_reml_two_parameters(data, PathKind::implicit).criterion, ridge + 1e-6);
}

}  // namespace
}  // namespace gradflow
