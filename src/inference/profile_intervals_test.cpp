#include "gradflow/inference/profile_intervals.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/math/distributions/chi_squared.hpp>
#include <cmath>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"

namespace gradflow {
namespace {

SpectralData planted_profile(Index n, double tau, double s2, std::uint64_t seed) {
  SpectralData data{Vector(n), RandomStream(seed, "profile intervals").normals(n)};
  for (Index i = 0; i < n; ++i) {
    data.values(i) = 3.0 * std::pow(static_cast<double>(i + 1), -2.0);
    data.z(i) *= std::sqrt(s2 * (1.0 + tau * data.values(i)));
  }
  return data;
}

// min over tau of N log s2 + w'phi w / s2 + sum v, by brute force over a fine grid.
double profiled_over_time(const SpectralData& data, double s2) {
  double least = std::numeric_limits<double>::infinity();
  for (double u = -14.0; u < 14.0; u += 0.002) {
    const Eigen::ArrayXd one_plus = 1.0 + std::exp(u) * data.values.array();
    const double value =
        data.count() * std::log(s2) + (data.z.array().square() / one_plus).sum() / s2 + one_plus.log().sum();
    least = std::min(least, value);
  }
  return least;
}

TEST(ProfileIntervals, EndsOfTheNoiseVarianceLieOneQuantileAboveTheMinimum) {
  const SpectralData data = planted_profile(60, 20.0, 2.0, 4);
  const ProfileIntervals result = profile_intervals(data, Path{.kind = PathKind::ridge});
  const double drop = boost::math::quantile(boost::math::chi_squared(1.0), 0.95);
  const double best = profiled_over_time(data, result.noise_variance.estimate);

  ASSERT_EQ(result.fit.outcome, Outcome::converged);
  // The grid's step of 0.002 in log tau leaves an error below 0.002^2 N / 8.
  EXPECT_NEAR(profiled_over_time(data, result.noise_variance.interval.lower) - best, drop, 1e-4);
  EXPECT_NEAR(profiled_over_time(data, result.noise_variance.interval.upper) - best, drop, 1e-4);
}

TEST(ProfileIntervals, ShareAndDofAreTheImagesOfTheTimesEnds) {
  const SpectralData data = planted_profile(60, 20.0, 2.0, 5);
  for (const PathKind kind : {PathKind::flow, PathKind::ridge, PathKind::implicit}) {
    const ProfileIntervals result = profile_intervals(data, Path{.kind = kind, .iterations = 3});
    const Interval time = result.time.interval;

    ASSERT_TRUE(result.images_are_monotone);
    EXPECT_NEAR(result.effective_dof.interval.lower, data.effective_dof(result.fit.path.at(time.lower)),
                1e-9);
    EXPECT_NEAR(result.effective_dof.interval.upper, data.effective_dof(result.fit.path.at(time.upper)),
                1e-9);
    EXPECT_LE(result.signal_share.interval.lower, result.signal_share.estimate);
    EXPECT_GE(result.signal_share.interval.upper, result.signal_share.estimate);
  }
}

TEST(ProfileIntervals, RescaledResponsesRescaleOnlyTheNoiseVariance) {
  const SpectralData data = planted_profile(60, 20.0, 2.0, 6);
  SpectralData scaled = data;
  scaled.z *= 3.0;
  const ProfileIntervals a = profile_intervals(data, Path{.kind = PathKind::ridge});
  const ProfileIntervals b = profile_intervals(scaled, Path{.kind = PathKind::ridge});

  EXPECT_NEAR(b.noise_variance.interval.lower / a.noise_variance.interval.lower, 9.0, 1e-6);
  EXPECT_NEAR(b.noise_variance.interval.upper / a.noise_variance.interval.upper, 9.0, 1e-6);
  EXPECT_NEAR(b.signal_share.interval.upper, a.signal_share.interval.upper, 1e-7);
  EXPECT_NEAR(b.effective_dof.interval.lower, a.effective_dof.interval.lower, 1e-5);
}

TEST(ProfileIntervals, WiderLevelsContainNarrowerOnes) {
  const SpectralData data = planted_profile(60, 5.0, 1.0, 7);
  const Path ridge{.kind = PathKind::ridge};
  const ProfileIntervals narrow = profile_intervals(data, ridge, {.level = 0.5});
  const ProfileIntervals wide = profile_intervals(data, ridge, {.level = 0.99});

  for (const auto member : {&ProfileIntervals::time, &ProfileIntervals::signal_share,
                            &ProfileIntervals::effective_dof, &ProfileIntervals::noise_variance}) {
    EXPECT_LE((wide.*member).interval.lower, (narrow.*member).interval.lower);
    EXPECT_GE((wide.*member).interval.upper, (narrow.*member).interval.upper);
  }
}

TEST(ProfileIntervals, AnEstimateOfZeroHasLowerEndsOfZeroAndSaysSo) {
  SpectralData data = planted_profile(40, 0.0, 1.0, 8);
  data.z.head(20).setConstant(0.1);
  const ProfileIntervals result = profile_intervals(data, Path{.kind = PathKind::ridge});

  ASSERT_EQ(result.time.outcome, Outcome::at_zero);
  EXPECT_EQ(result.time.interval.lower, 0.0);
  EXPECT_EQ(result.effective_dof.interval.lower, 0.0);
  EXPECT_EQ(result.signal_share.interval.lower, 0.0);
  EXPECT_GT(result.noise_variance.interval.lower, 0.0);
  EXPECT_THAT(result.time.reason, testing::HasSubstr("zero"));
}

TEST(ProfileIntervals, InterpolatingDataBoundTheNoiseVarianceOnlyFromAbove) {
  SpectralData data = planted_profile(40, 0.0, 1.0, 9);
  data.z = data.values.cwiseSqrt();  // covariance proportional to M: no noise at all
  const ProfileIntervals result = profile_intervals(data, Path{.kind = PathKind::ridge});

  ASSERT_TRUE(usable(result.time.outcome));
  EXPECT_TRUE(std::isinf(result.time.interval.upper));
  EXPECT_EQ(result.noise_variance.interval.lower, 0.0);
  EXPECT_TRUE(std::isfinite(result.noise_variance.interval.upper));
  EXPECT_NEAR(result.effective_dof.interval.upper, 40.0, 1e-9);
}

TEST(ProfileIntervals, EqualEigenvaluesGiveNoInterval) {
  const SpectralData data{Vector::Constant(10, 2.0), Vector::Ones(10)};
  const ProfileIntervals result = profile_intervals(data, Path{.kind = PathKind::ridge});

  EXPECT_EQ(result.noise_variance.outcome, Outcome::unidentified);
  EXPECT_TRUE(std::isnan(result.noise_variance.interval.lower));
}

TEST(ProfileIntervals, ForTheNoiseVarianceCoverAtTheirLevel) {
  constexpr int replicates = 300;
  int covered = 0;
  for (int r = 0; r < replicates; ++r) {
    const SpectralData data = planted_profile(40, 10.0, 2.0, 1000 + static_cast<std::uint64_t>(r));
    const Interval interval =
        profile_intervals(data, Path{.kind = PathKind::ridge}, {.level = 0.9}).noise_variance.interval;
    covered += interval.lower <= 2.0 && 2.0 <= interval.upper ? 1 : 0;
  }

  // 3.3 binomial standard errors, and 0.02 for the chi-squared approximation at N = 40.
  EXPECT_NEAR(static_cast<double>(covered) / replicates, 0.9, 3.3 * std::sqrt(0.09 / replicates) + 0.02);
}

}  // namespace
}  // namespace gradflow
