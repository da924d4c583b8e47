#include <gtest/gtest.h>

#include <cmath>

#include "gradflow/base/random.h"
#include "gradflow/inference/stopping.h"

namespace gradflow {
namespace {

// Coordinates drawn from the model itself: Var(z_i) = 1 + tau lambda_i + kappa lambda_i^2.
SpectralData planted_components(Index n, double tau, double kappa, std::uint64_t seed) {
  SpectralData data{.values = Vector(n), .z = RandomStream(seed, "z").normals(n)};
  for (Index i = 0; i < n; ++i) {
    const double lambda = 2.0 * std::pow(static_cast<double>(i + 1), -1.0);
    data.values(i) = lambda;
    data.z(i) *= std::sqrt(1.0 + tau * lambda + kappa * lambda * lambda);
  }
  return data;
}

RemlFit ridge_of(const SpectralData& data) { return fit_reml(data, Path{.kind = PathKind::ridge}); }

TEST(TwoComponents, CriterionWithoutTheSecondIsThatOfRidge) {
  const SpectralData data = planted_components(80, 30.0, 0.0, 1);
  for (const double tau : {0.0, 0.3, 20.0, 1e5})
    EXPECT_NEAR(two_component_criterion(data, tau, 0.0),
                reml_criterion(data, {.kind = PathKind::ridge, .time = tau}), 1e-9);
}

TEST(TwoComponents, NoPointOfAFineGridHasAHigherLikelihood) {
  for (const std::uint64_t seed : {1, 2, 3})
    for (const double kappa : {0.0, 300.0}) {
      const SpectralData data = planted_components(60, 3.0, kappa, seed);
      const TwoComponentFit fit = fit_two_components(data, ridge_of(data));
      const double slack = 1e-6;

      EXPECT_NEAR(fit.criterion, two_component_criterion(data, fit.tau, fit.kappa), 1e-9);
      for (double a = -4.0; a < 6.0; a += 0.1)
        for (double b = -4.0; b < 8.0; b += 0.1) {
          const double tau = std::pow(10.0, a), second = std::pow(10.0, b);
          EXPECT_GE(two_component_criterion(data, tau, second), fit.criterion - slack);
          EXPECT_GE(two_component_criterion(data, 0.0, second), fit.criterion - slack);
        }
    }
}

TEST(TwoComponents, LikelihoodFindsWhichOfTheTwoWasPlanted) {
  // 2,000 directions: the share of the wrong component is then small in every draw.
  for (const std::uint64_t seed : {1, 2, 3}) {
    const SpectralData rough = planted_components(2000, 1000.0, 0.0, seed),
                       smooth = planted_components(2000, 0.0, 1e5, seed);
    const TwoComponentFit of_rough = fit_two_components(rough, ridge_of(rough));
    const TwoComponentFit of_smooth = fit_two_components(smooth, ridge_of(smooth));

    EXPECT_LT(of_smooth.criterion, ridge_of(smooth).criterion - 20.0);
    EXPECT_GT(of_rough.criterion, ridge_of(rough).criterion - 15.0);  // chi2_1 beyond 15: 1e-4
    EXPECT_NEAR(std::log(of_rough.tau), std::log(1000.0), 1.0);
    EXPECT_NEAR(std::log(of_smooth.kappa), std::log(1e5), 1.5);
  }
}

TEST(TwoComponents, RescalingTheOperatorRescalesTheComponents) {
  const SpectralData data = planted_components(100, 1.0, 500.0, 4);
  SpectralData scaled = data;
  scaled.values *= 1000.0;

  const TwoComponentFit fit = fit_two_components(data, ridge_of(data));
  const TwoComponentFit other = fit_two_components(scaled, ridge_of(scaled));

  ASSERT_GT(fit.kappa, 0.0);
  EXPECT_NEAR(1e6 * other.kappa / fit.kappa, 1.0, 1e-3);
  EXPECT_NEAR(other.criterion, fit.criterion, 1e-6);
  EXPECT_NEAR(1000.0 * risk_time(scaled, other, {}) / risk_time(data, fit, {}), 1.0, 1e-4);
}

TEST(TwoComponents, IntervalOfTheScaleHoldsOneAndEndsWhereTheLikelihoodHasDropped) {
  const SpectralData data = planted_components(150, 1.0, 500.0, 5);
  const TwoComponentFit fit = fit_two_components(data, ridge_of(data));
  const auto rise = [&](double c) {
    return two_component_criterion(data, c * fit.tau, c * fit.kappa) - fit.criterion;
  };

  ASSERT_GT(fit.kappa, 0.0);
  EXPECT_LT(fit.scale.lower, 1.0);
  EXPECT_GT(fit.scale.upper, 1.0);
  EXPECT_NEAR(rise(fit.scale.lower), 3.841458820694124, 1e-6);
  EXPECT_NEAR(rise(fit.scale.upper), 3.841458820694124, 1e-6);
}

TEST(TwoComponents, TheRiskUnderThemBeatsAFineGridOfTimes) {
  const SpectralData data = planted_components(60, 0.0, 50.0, 6);
  const Vector prior = TwoComponentFit{.tau = 0.0, .kappa = 50.0}.prior(data.values);
  for (const PathKind kind : {PathKind::flow, PathKind::ridge}) {
    const Path family{.kind = kind};
    const double least = expected_risk(data, family.at(risk_minimiser(data, family, prior)), prior);

    for (double x = -12.0; x < 12.0; x += 0.01)
      EXPECT_LE(least, expected_risk(data, family.at(std::exp(x)), prior) * (1.0 + 1e-9));
  }
}

TEST(TwoComponents, NothingToLearnGivesTimeZero) {
  SpectralData data = planted_components(50, 0.0, 0.0, 7);
  for (Index i = 0; i < 50; ++i) data.z(i) = i < 25 ? 0.1 : 1.0;

  const TwoComponentFit fit = fit_two_components(data, ridge_of(data));

  EXPECT_EQ(fit.outcome, Outcome::at_zero);
  EXPECT_EQ(risk_time(data, fit, {}), 0.0);
}

}  // namespace
}  // namespace gradflow
