#include "gradflow/inference/averaged_signal.h"

#include <gtest/gtest.h>

#include <cmath>

#include "gradflow/base/random.h"
#include "inference/test_signals.h"

namespace gradflow {
namespace {

AveragedSignal averaged(const SpectralData& data) {
  return average_signal(data, fit_reml(data, Path{.kind = PathKind::ridge}));
}

// The same averages by sums over a fine fixed grid, in the variable log m for every family.
struct BruteForce {
  double total = 0.0, noise = 0.0, power = 0.0, flow = 0.0;
  Vector prior;

  explicit BruteForce(const SpectralData& data) : prior(Vector::Zero(data.values.size())) {
    const double most = -0.5 * fit_reml(data, Path{.kind = PathKind::ridge}).criterion;
    const double N = data.count(), largest = data.values.maxCoeff();
    const Eigen::ArrayXd scaled = data.values.array() / largest, square = data.z.array().square();
    const auto add = [&](const Eigen::ArrayXd& p, double a, double prior_weight) {
      const double m = p.mean(), h = m / (1.0 + m), s2 = (square / (1.0 + p)).sum() / N;
      const double q = N * std::log(s2) + (1.0 + p).log().sum();
      const double weight = prior_weight * h * std::sqrt(1.0 - h) * std::exp(-0.5 * q - most);
      total += weight;
      noise += weight * s2;
      prior += weight * s2 * p.matrix();
      (a > 0.0 ? power : flow) += weight * (a > 0.0 ? a : 1.0);
    };
    constexpr int powers = 80;
    const double step = 0.04;
    for (int j = 0; j <= powers; ++j) {
      const double a = std::pow(6.0, j / static_cast<double>(powers));
      const double ends = j == 0 || j == powers ? 0.5 : 1.0;
      const Eigen::ArrayXd shape = scaled.pow(a) / scaled.pow(a).mean();
      for (double log_m = -14.0; log_m < 25.0; log_m += step)
        add(std::exp(log_m) * shape, a, ends / powers * 2.0 / 3.0);
    }
    for (double log_m = -14.0; log_m < 25.0; log_m += step) {
      double low = 1e-12, high = 100.0;
      for (int halving = 0; halving < 80; ++halving) {
        const double middle = std::sqrt(low * high);
        ((middle * scaled).expm1().mean() < std::exp(log_m) ? low : high) = middle;
      }
      add((low * scaled).expm1(), 0.0, 1.0 / 3.0);
    }
    noise /= total;
    prior /= total * noise;
    power /= total - flow;
    flow /= total;
  }
};

TEST(AveragedSignal, IsTheSumOverAFineGridOfModels) {
  const SignalModel models[] = {
      {1.0, std::log(20.0)}, {3.0, std::log(300.0)}, {0.0, std::log(4.0)}, {1.0, -9.0}};
  for (const SignalModel& model : models)
    for (const Index n : {40, 400}) {
      const SpectralData data = drawn_from(model, n, 3);
      if (fit_reml(data, Path{.kind = PathKind::ridge}).outcome != Outcome::converged) continue;
      const AveragedSignal signal = averaged(data);
      const BruteForce expected(data);

      EXPECT_NEAR(signal.noise_variance / expected.noise, 1.0, 1e-3);
      EXPECT_NEAR(signal.power, expected.power, 0.02);
      EXPECT_NEAR(signal.flow_probability, expected.flow, 2e-3);
      const Vector prior = signal.prior(data.values);
      for (const Index i : {Index{0}, Index{3}, n / 2, n - 1})
        EXPECT_NEAR(prior(i), expected.prior(i), 0.01 * expected.prior(i) + 1e-4)
            << model.power << " " << n << " " << i;
    }
}

TEST(AveragedSignal, WeightsSumToOneAndModelsAgreeWithThePrior) {
  const SpectralData data = drawn_from({2.0, std::log(50.0)}, 80, 1);
  const AveragedSignal signal = averaged(data);

  double weight = 0.0, noise = 0.0;
  Vector sum = Vector::Zero(80);
  for (const SignalModel& model : signal.models) {
    weight += model.weight;
    noise += model.weight * model.noise_variance;
    sum += model.weight * model.noise_variance * model.prior(data.values, signal.largest);
  }
  EXPECT_NEAR(weight, 1.0, 1e-12);
  EXPECT_NEAR(noise, signal.noise_variance, 1e-12 * noise);
  EXPECT_LT((sum / noise - signal.prior(data.values)).cwiseAbs().maxCoeff(), 1e-10 * sum.maxCoeff());
}

TEST(AveragedSignal, FindsThePowerOrTheFlowThatWasPlanted) {
  for (const std::uint64_t seed : {1, 2, 3}) {
    const AveragedSignal rough = averaged(drawn_from({1.0, std::log(300.0)}, 2000, seed)),
                         smooth = averaged(drawn_from({2.5, std::log(1e6)}, 2000, seed)),
                         flow = averaged(drawn_from({0.0, std::log(300.0)}, 2000, seed));
    EXPECT_LT(rough.power, 1.4);  // nothing below 1 is averaged over
    EXPECT_NEAR(smooth.power, 2.5, 0.5);
    EXPECT_LT(rough.flow_probability, 0.01);
    EXPECT_LT(smooth.flow_probability, 0.01);
    EXPECT_GT(flow.flow_probability, 0.99);
    for (const AveragedSignal* signal : {&rough, &smooth}) EXPECT_NEAR(signal->noise_variance, 1.0, 0.25);
  }
}

TEST(AveragedSignal, DoesNotSeeTheUnitsOfTheOperatorOrOfTheResponse) {
  const SpectralData data = drawn_from({2.0, std::log(500.0)}, 120, 4);
  SpectralData scaled = data;
  scaled.values *= 1000.0;
  scaled.z *= 7.0;
  const AveragedSignal one = averaged(data), other = averaged(scaled);

  EXPECT_NEAR(other.noise_variance / one.noise_variance, 49.0, 49e-9);
  EXPECT_LT((other.prior(scaled.values) - one.prior(data.values)).norm(),
            1e-9 * one.prior(data.values).norm());
}

// A Krylov space says the same in two lists: values of the trace with z = 0, values of the response counted
// zero times.
TEST(AveragedSignal, TakesTheTwoListsOfAKrylovSpaceForWhatTheyStandFor) {
  const SpectralData data = drawn_from({1.5, std::log(80.0)}, 60, 5);
  SpectralData lists{.values = Vector(120), .z = Vector::Zero(120), .multiplicity = Vector::Zero(120)};
  lists.values << data.values, data.values;
  lists.multiplicity.head(60).setOnes();
  lists.z.tail(60) = data.z;
  const AveragedSignal one = averaged(data), other = averaged(lists);

  EXPECT_NEAR(other.noise_variance, one.noise_variance, 1e-9);
  EXPECT_LT((other.prior(data.values) - one.prior(data.values)).norm(), 1e-8 * one.prior(data.values).norm());
}

// However narrow the posterior, the grids follow it: nothing may jump with the data.
TEST(AveragedSignal, MovesSmoothlyWithTheData) {
  for (const Index n : {300, 4000}) {
    SpectralData data = drawn_from({1.6, std::log(1e4)}, n, 8);
    std::vector<double> log_prior;
    for (int k = 0; k <= 20; ++k) {
      log_prior.push_back(std::log(averaged(data).prior(Vector{{0.1}})(0)));
      data.z(0) *= 1.01;
    }
    for (std::size_t k = 1; k + 1 < log_prior.size(); ++k)
      EXPECT_NEAR(log_prior[k - 1] - 2.0 * log_prior[k] + log_prior[k + 1], 0.0, 2e-4) << n << " " << k;
  }
}

TEST(AveragedSignal, WeightedByOtherDataIsNearlyTheirOwnAverage) {
  SpectralData data = drawn_from({1.3, std::log(300.0)}, 300, 9);
  const AveragedSignal signal = averaged(data);
  data.z.head(10) *= 1.2;
  const AveragedSignal own = averaged(data), weighted = signal.weighted_by(data);

  EXPECT_NEAR(weighted.noise_variance / own.noise_variance, 1.0, 1e-3);
  EXPECT_NEAR(weighted.power, own.power, 5e-3);
  const double change = std::log(own.prior(Vector{{0.1}})(0) / signal.prior(Vector{{0.1}})(0));
  EXPECT_GT(std::abs(change), 0.01);
  EXPECT_NEAR(std::log(weighted.prior(Vector{{0.1}})(0) / signal.prior(Vector{{0.1}})(0)), change,
              0.05 * std::abs(change));
}

TEST(AveragedSignal, SaysWhenTheScaleEndsAtItsBound) {
  const SpectralData data = drawn_from({1.0, std::log(1e5)}, 50, 6);
  const RemlFit ridge = fit_reml(data, Path{.kind = PathKind::ridge});
  EXPECT_EQ(average_signal(data, ridge, {.largest_shrinkage = 1.5}).outcome, Outcome::on_boundary);
  EXPECT_EQ(average_signal(data, ridge).outcome, Outcome::converged);
}

TEST(AveragedSignal, WhatTheLikelihoodCannotTellIsNotAveraged) {
  SpectralData data{.values = Vector::Ones(20), .z = RandomStream(1, "z").normals(20)};
  const AveragedSignal signal = averaged(data);
  EXPECT_EQ(signal.outcome, Outcome::unidentified);
  EXPECT_TRUE(signal.models.empty());
}

}  // namespace
}  // namespace gradflow
