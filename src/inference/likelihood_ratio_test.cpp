#include <gtest/gtest.h>

#include <cmath>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "gradflow/inference/likelihood_ratio.h"
#include "gradflow/inference/score.h"

namespace gradflow {
namespace {

SpectralData planted_spectrum(Index n, double tau, std::uint64_t seed) {
  SpectralData data{Vector(n), RandomStream(seed, "z").normals(n)};
  for (Index i = 0; i < n; ++i) {
    data.values(i) = i < n - 5 ? 3.0 * std::pow(static_cast<double>(i + 1), -1.5) : 0.0;
    data.z(i) *= std::sqrt(1.0 + tau * data.values(i));
  }
  return data;
}

// Sup of LR over a fine grid in log tau, with nothing shared: full vectors, no merging, no refinement.
double direct_ratio(const Vector& values, const Vector& z) {
  const double n = static_cast<double>(z.size());
  const auto criterion = [&](double tau) {
    const Eigen::ArrayXd V = 1.0 + tau * values.array();
    return n * std::log((z.array().square() / V).sum()) + V.log().sum();
  };
  const double at_zero = criterion(0.0);
  double best = 0.0;
  for (double x = -12.0; x < 18.4; x += 0.02) best = std::max(best, at_zero - criterion(std::exp(x)));
  return best;
}

TEST(LikelihoodRatio, NullAgreesWithDirectSimulationOnAFineGrid) {
  const SpectralData data = planted_spectrum(30, 0.0, 1);
  const LikelihoodRatioOptions options{.draws = 4000, .seed = 3};
  const Vector null = likelihood_ratio_null(data, Path{.kind = PathKind::ridge}, options);
  RandomStream random(8, "direct");
  const int direct_draws = 2000;
  Vector direct(direct_draws);
  for (double& value : direct) value = direct_ratio(data.values, random.normals(30));

  for (const double cut : {1e-3, 0.5, 1.0, 2.0, 4.0}) {
    const double a = (null.array() > cut).cast<double>().mean(),
                 b = (direct.array() > cut).cast<double>().mean();
    const double error = std::sqrt(b * (1.0 - b) * (1.0 / 4000 + 1.0 / direct_draws));
    EXPECT_NEAR(a, b, 4.0 * error) << "above " << cut;
  }
}

TEST(LikelihoodRatio, FlowIsZeroExactlyAsOftenAsTheScoreIsNotPositive) {
  // LR = 0 on the flow exactly when sum (lambda_i - mean) z_i^2 <= 0, whose probability is known.
  const SpectralData data = planted_spectrum(40, 0.0, 2);
  const LikelihoodRatioTest test =
      likelihood_ratio_test(data, Path{.kind = PathKind::flow}, {.draws = 4000, .seed = 4});
  const double exact = -std::expm1(weighted_chi_square_tail(data.values.array() - data.values.mean()).log_p);

  EXPECT_NEAR(test.zero_mass, exact, 4.0 * test.zero_mass_standard_error);
}

TEST(LikelihoodRatio, MultiplicitiesOfAnySizeReplaceEqualEigenvalues) {
  SpectralData expanded = planted_spectrum(60, 0.0, 5);
  expanded.values.tail(50).setZero();
  SpectralData merged{expanded.values.head(11), Vector::Ones(11), Vector::Ones(11)};
  merged.multiplicity(10) = 50.0;
  SpectralData halves{Vector(12), Vector::Ones(12), Vector::Ones(12)};
  halves.values << merged.values.head(10), 1e-14, 0.0;
  halves.multiplicity.tail(2) << 24.5, 25.5;
  const Path ridge{.kind = PathKind::ridge};
  const LikelihoodRatioOptions options{.draws = 4000};
  const Vector a = likelihood_ratio_null(expanded, ridge, options),
               b = likelihood_ratio_null(merged, ridge, options),
               c = likelihood_ratio_null(halves, ridge, {.draws = 4000, .seed = 9});

  EXPECT_EQ(a, b);
  const double p = (a.array() > 1.0).cast<double>().mean(), q = (c.array() > 1.0).cast<double>().mean();
  EXPECT_NEAR(p, q, 4.0 * std::sqrt(2.0 * p * (1.0 - p) / 4000));
}

TEST(LikelihoodRatio, HasItsSizeUnderTheNull) {
  // One null serves every response; a p-value at most 0.05 or 0.2 has that probability.
  const SpectralData data = planted_spectrum(40, 0.0, 6);
  const Path ridge{.kind = PathKind::ridge};
  const Vector null = likelihood_ratio_null(data, ridge, {.draws = 4000, .seed = 7});
  RandomStream random(10, "responses");
  const int responses = 1500;
  int at_05 = 0, at_20 = 0;
  for (int r = 0; r < responses; ++r) {
    const SpectralData drawn{data.values, random.normals(40)};
    const double statistic = fit_reml(drawn, ridge).likelihood_ratio();
    const double p = resampled_p_value((null.array() >= statistic - 1e-12).count(), null.size(), 7).p_value;
    at_05 += p <= 0.05 ? 1 : 0;
    at_20 += p <= 0.2 ? 1 : 0;
  }
  const auto bound = [&](double level) {
    return 4.0 * std::sqrt(level * (1.0 - level) * (1.0 / responses + 1.0 / 4000));
  };

  EXPECT_NEAR(static_cast<double>(at_05) / responses, 0.05, bound(0.05));
  EXPECT_NEAR(static_cast<double>(at_20) / responses, 0.2, bound(0.2));
}

TEST(LikelihoodRatio, StatisticIsThatOfTheRemlFitOnEveryPath) {
  const SpectralData data = planted_spectrum(50, 30.0, 11);
  for (const Path& family :
       {Path{.kind = PathKind::flow}, Path{.kind = PathKind::ridge},
        Path{.kind = PathKind::decay, .decay = 0.1}, Path{.kind = PathKind::implicit, .iterations = 3},
        Path{.kind = PathKind::descent, .learning_rate = 0.02}}) {
    const LikelihoodRatioTest test = likelihood_ratio_test(data, family, {.draws = 200});

    ASSERT_EQ(test.outcome, Outcome::converged) << to_string(family.kind);
    EXPECT_NEAR(test.statistic, fit_reml(data, family).likelihood_ratio(), 1e-9) << to_string(family.kind);
    EXPECT_GT(test.statistic, 0.0);
    EXPECT_GE(test.critical_value, 0.0);
    EXPECT_LE(test.simulated.p_value, 0.2);
  }
}

TEST(LikelihoodRatio, StatisticZeroHasPValueOne) {
  SpectralData data = planted_spectrum(20, 0.0, 12);
  data.z.setConstant(1.0);
  data.z(0) = 0.0;
  const LikelihoodRatioTest test = likelihood_ratio_test(data, Path{.kind = PathKind::ridge}, {.draws = 100});

  EXPECT_EQ(test.outcome, Outcome::at_zero);
  EXPECT_EQ(test.statistic, 0.0);
  EXPECT_EQ(test.simulated.p_value, 1.0);
  EXPECT_EQ(test.p_value_mixture, 1.0);
}

TEST(LikelihoodRatio, BeyondTheDrawsThePValueIsMarkedAsAnUpperBound) {
  const SpectralData data = planted_spectrum(60, 1e4, 13);
  const LikelihoodRatioTest test = likelihood_ratio_test(data, Path{.kind = PathKind::ridge}, {.draws = 500});

  EXPECT_TRUE(test.simulated.upper_bound);
  EXPECT_DOUBLE_EQ(test.simulated.p_value, 1.0 / 501);
  EXPECT_NE(test.reason.find("upper bound"), std::string::npos);
}

TEST(LikelihoodRatio, SameSeedGivesTheSameBitsForAnyNumberOfThreads) {
  const SpectralData data = planted_spectrum(30, 0.0, 14);
  const int before = threads();
  set_threads(1);
  const Vector one = likelihood_ratio_null(data, Path{.kind = PathKind::ridge}, {.draws = 600});
  set_threads(3);
  const Vector three = likelihood_ratio_null(data, Path{.kind = PathKind::ridge}, {.draws = 600});
  set_threads(before);

  EXPECT_EQ(one, three);
}

TEST(LikelihoodRatio, DegenerateInputsAreUnidentified) {
  const Path ridge{.kind = PathKind::ridge};
  EXPECT_EQ(likelihood_ratio_test({Vector::Constant(5, 2.0), Vector::Ones(5)}, ridge).outcome,
            Outcome::unidentified);
  EXPECT_EQ(likelihood_ratio_test({Vector::Zero(5), Vector::Ones(5)}, ridge).outcome, Outcome::unidentified);
  EXPECT_EQ(likelihood_ratio_test({Vector{{2.0, 1.0}}, Vector::Zero(2)}, ridge).outcome,
            Outcome::unidentified);
  EXPECT_THROW(likelihood_ratio_test({Vector{{2.0, 1.0}}, Vector::Ones(2)}, ridge, {.draws = 0}), InputError);
}

}  // namespace
}  // namespace gradflow
