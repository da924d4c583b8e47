// Frequentist calibration with fixed seeds: 2,000 replicates, bounds stated beside each claim.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <vector>

#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "gradflow/inference/analysis.h"
#include "gradflow/operators/dense_operator.h"
#include "gradflow/operators/infinite_ntk.h"

namespace gradflow {
namespace {

constexpr Index replicates = 2000;

ProjectedSpectrum ntk_spectrum(Index n, Index d) {
  const Matrix X = RandomStream(1, "calibration design").normals(n, d);
  const DenseOperator H(kernel_gram(InfiniteArchitecture{}, X) / static_cast<double>(n));
  return project(H, FixedEffects::intercept(n));
}

RandomStream replicate_stream(Index r, const char* name) { return {static_cast<std::uint64_t>(r), name}; }

class NullPValue : public testing::TestWithParam<Index> {};

TEST_P(NullPValue, IsUniformWithAnIntercept) {
  const ProjectedSpectrum spectrum = ntk_spectrum(150, GetParam());
  std::vector<double> p(replicates);
  parallel_for(replicates, 50, [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) {
      // A null response y = b + e has coordinates z ~ N(0, s2 I) whatever b is.
      const Vector z = replicate_stream(r, "null").normals(spectrum.values.size());
      p[static_cast<std::size_t>(r)] =
          score_test(spectrum.values, {}, (spectrum.values.array() * z.array().square()).sum(),
                     z.squaredNorm())
              .p_value;
    }
  });
  std::sort(p.begin(), p.end());
  double distance = 0.0;
  for (std::size_t i = 0; i < p.size(); ++i)
    distance = std::max({distance, std::abs(p[i] - static_cast<double>(i) / replicates),
                         std::abs(p[i] - static_cast<double>(i + 1) / replicates)});

  // Kolmogorov-Smirnov at level 0.001, and the tail at 0.05 and 0.01 within 3.3 binomial standard errors.
  EXPECT_LT(distance, 1.95 / std::sqrt(static_cast<double>(replicates)));
  for (const double level : {0.05, 0.01}) {
    const auto rejected = std::lower_bound(p.begin(), p.end(), level) - p.begin();
    const double bound = 3.3 * std::sqrt(level * (1.0 - level) / replicates);
    EXPECT_NEAR(static_cast<double>(rejected) / replicates, level, bound);
  }
}

INSTANTIATE_TEST_SUITE_P(Dimensions, NullPValue, testing::Values(10, 100, 1000));

// Share of replicates in which the profile interval for the path's time holds the true one.
double interval_coverage(const ProjectedSpectrum& spectrum, const Path& truth) {
  std::atomic<Index> covered{0};
  const Vector sd = (-0.5 * truth.log_phi(spectrum.values)).array().exp();
  parallel_for(replicates, 50, [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) {
      const Vector noise = replicate_stream(r, "interval").normals(spectrum.values.size());
      const RemlFit fit = fit_reml({spectrum.values, sd.cwiseProduct(noise)}, truth);
      if (fit.interval.lower <= truth.time && truth.time <= fit.interval.upper) ++covered;
    }
  });
  return static_cast<double>(covered) / replicates;
}

TEST(ProfileInterval, ForTheTimeOfTheFlowCoversAtLeast93Percent) {
  const ProjectedSpectrum spectrum = ntk_spectrum(150, 10);
  for (const double reduced_time : {0.0, 0.3, 3.0, 30.0}) {
    const double coverage =
        interval_coverage(spectrum, Path{.kind = PathKind::flow, .time = reduced_time / spectrum.values(0)});

    EXPECT_GE(coverage, 0.93) << "t lambda_1 = " << reduced_time;
  }
}

TEST(ProfileInterval, ForTauCoversAtLeast93Percent) {
  const ProjectedSpectrum spectrum = ntk_spectrum(150, 10);
  for (const double reduced_tau : {0.0, 0.3, 3.0, 100.0}) {
    const double coverage =
        interval_coverage(spectrum, Path{.kind = PathKind::ridge, .time = reduced_tau / spectrum.values(0)});

    EXPECT_GE(coverage, 0.93) << "tau lambda_1 = " << reduced_tau;
  }
}

TEST(PredictionInterval, CoversBetween93And97PercentWithTauKnown) {
  const Index n = 200, m = 1;
  const double tau_lambda = 100.0, noise_sd = 0.7;
  const Matrix X = RandomStream(2, "calibration design").normals(n + m, 10);
  const Matrix Theta = kernel_gram(InfiniteArchitecture{}, X) / static_cast<double>(n);
  const DenseOperator H(Theta.topLeftCorner(n, n));
  const FixedEffects fixed = FixedEffects::intercept(n);
  const ProjectedSpectrum spectrum = project(H, fixed);
  const Path ridge{.kind = PathKind::ridge, .time = tau_lambda / spectrum.values(0)};
  const NewPoints at{Theta.bottomLeftCorner(m, n), Theta.diagonal().tail(m), Matrix::Ones(m, 1)};
  const double variance = PosteriorVariance::from_spectrum(H, fixed, spectrum, ridge).at(at)(0);
  // Joint draws of the function at the training rows and the new one: prior s2 tau Theta / n.
  Matrix L = ridge.time * Theta + 1e-12 * Matrix::Identity(n + m, n + m);
  ASSERT_TRUE(cholesky_lower(L));
  L.triangularView<Eigen::StrictlyUpper>().setZero();
  Index covered = 0;
  for (Index r = 0; r < replicates; ++r) {
    RandomStream random = replicate_stream(r, "prediction");
    const Vector function = noise_sd * (L * random.normals(n + m));
    const Vector y = (function.array() + 3.0).matrix() + noise_sd * random.normals(n + m);
    const DualFit fit = dual_fit(H, fixed, spectrum, y.head(n), ridge);
    const double mean = fit.beta(0) + at.H_cross.row(0).dot(fit.alpha);
    const SpectralData data{spectrum.values, spectrum.coordinates(y.head(n))};
    const double s2 = reml_noise_variance(data, ridge);
    if (std::abs(y(n) - mean) <= 1.959963984540054 * std::sqrt(s2 * (1.0 + variance))) ++covered;
  }

  // Monte Carlo standard error 0.005: the bounds are four of them from 0.95.
  EXPECT_GE(static_cast<double>(covered) / replicates, 0.93);
  EXPECT_LE(static_cast<double>(covered) / replicates, 0.97);
}

}  // namespace
}  // namespace gradflow
