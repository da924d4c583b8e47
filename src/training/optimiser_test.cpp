#include "gradflow/training/optimiser.h"

#include <gtest/gtest.h>

#include <cmath>

#include "gradflow/base/error.h"

namespace gradflow {
namespace {

const Vector curvature = (Vector(3) << 0.5, 1.0, 3.0).finished();
const Vector start_point = (Vector(3) << 1.0, -2.0, 0.5).finished();

OptimiserOptions optimiser_of(OptimiserKind kind, double rate) {
  OptimiserOptions options;
  options.kind = kind;
  options.learning_rate = rate;
  return options;
}

/// theta after k steps on 1/2 sum a theta^2, the gradient a theta.
Vector descend(const OptimiserOptions& options, int steps) {
  TrainingOptimiser optimiser(options, start_point);
  Vector theta = start_point;
  for (int k = 0; k < steps; ++k) optimiser.step(theta, curvature.cwiseProduct(theta), options.learning_rate);
  return theta;
}

TEST(Optimiser, GradientDescentOnAQuadraticIsAPower) {
  const Vector theta = descend(optimiser_of(OptimiserKind::gd, 0.2), 12);

  EXPECT_LT((theta.array() - start_point.array() * (1.0 - 0.2 * curvature.array()).pow(12)).abs().maxCoeff(),
            1e-14);
}

TEST(Optimiser, MomentumObeysItsTwoTermRecursion) {
  const OptimiserOptions options = optimiser_of(OptimiserKind::momentum, 0.1);
  Vector before = start_point, now = start_point - 0.1 * curvature.cwiseProduct(start_point);
  for (int k = 1; k < 20; ++k) {
    // theta_{k+1} = (1 + beta - eta a) theta_k - beta theta_{k-1}
    const Vector next = (1.9 - 0.1 * curvature.array()) * now.array() - 0.9 * before.array();
    before = now;
    now = next;
  }

  EXPECT_LT((descend(options, 20) - now).norm(), 1e-13);
}

TEST(Optimiser, NesterovIsAGradientStepAndAnExtrapolation) {
  Vector y = start_point, x = start_point;
  for (int k = 0; k < 20; ++k) {
    const Vector next = x - 0.1 * curvature.cwiseProduct(x);
    x = next + 0.9 * (next - y);
    y = next;
  }

  EXPECT_LT((descend(optimiser_of(OptimiserKind::nesterov, 0.1), 20) - x).norm(), 1e-13);
}

TEST(Optimiser, AdamMovesByTheLearningRateUnderAConstantGradient) {
  // m / (1 - beta1^k) = g and s / (1 - beta2^k) = g^2 for every k.
  TrainingOptimiser optimiser(optimiser_of(OptimiserKind::adam, 0.01), start_point);
  const Vector g = (Vector(3) << 3.0, -0.2, 1e-3).finished();
  Vector theta = start_point;
  for (int k = 0; k < 50; ++k) optimiser.step(theta, g, 0.01);

  EXPECT_LT((theta.array() - (start_point.array() - 50 * 0.01 * g.array() / (g.array().abs() + 1e-8)))
                .abs()
                .maxCoeff(),
            1e-12);
}

TEST(Optimiser, AdamForgetsAsItsRecursionSays) {
  TrainingOptimiser optimiser(optimiser_of(OptimiserKind::adam, 0.1), Vector::Zero(1));
  Vector theta = Vector::Zero(1);
  double m = 0.0, s = 0.0, expected = 0.0;
  for (int k = 1; k <= 30; ++k) {
    const double g = std::sin(k);
    optimiser.step(theta, Vector::Constant(1, g), 0.1);
    m += 0.1 * (g - m);
    s += 0.001 * (g * g - s);
    expected -= 0.1 * (m / (1 - std::pow(0.9, k))) / (std::sqrt(s / (1 - std::pow(0.999, k))) + 1e-8);
  }

  EXPECT_NEAR(theta(0), expected, 1e-12);
}

TEST(Optimiser, DecayDrawsToItsAnchor) {
  for (const OptimiserKind kind : {OptimiserKind::gd, OptimiserKind::adamw}) {
    OptimiserOptions options = optimiser_of(kind, 0.1);
    options.weight_decay = 0.5;
    TrainingOptimiser to_zero(options, start_point);
    options.anchor = DecayAnchor::initial;
    TrainingOptimiser to_start(options, start_point);
    Vector zero = start_point, stay = start_point;
    for (int k = 0; k < 10; ++k) {
      to_zero.step(zero, Vector::Zero(3), 0.1);
      to_start.step(stay, Vector::Zero(3), 0.1);
    }

    EXPECT_LT((zero - std::pow(0.95, 10) * start_point).norm(), 1e-14) << to_string(kind);
    EXPECT_EQ(stay, start_point) << to_string(kind);
  }
}

TEST(Optimiser, TimeOfMomentumIsWhatAConstantGradientMovesThetaBy) {
  for (const OptimiserKind kind : {OptimiserKind::gd, OptimiserKind::momentum, OptimiserKind::nesterov}) {
    TrainingOptimiser optimiser(optimiser_of(kind, 0.1), Vector::Zero(1));
    Vector theta = Vector::Zero(1);
    double time = 0.0;
    for (int k = 0; k < 200; ++k) {
      time += 0.1 * optimiser.time_per_rate();
      optimiser.step(theta, Vector::Constant(1, -1.0), 0.1);
    }

    EXPECT_NEAR(theta(0), time, 1e-10) << to_string(kind);
    if (kind != OptimiserKind::gd) {
      EXPECT_NEAR(0.1 * optimiser.time_per_rate(), 0.1 / (1.0 - 0.9), 1e-8) << to_string(kind);
    }
  }
}

TEST(Optimiser, IsStableBelowTheStatedRateAndNotAbove) {
  for (const OptimiserKind kind : {OptimiserKind::gd, OptimiserKind::momentum, OptimiserKind::nesterov}) {
    const double limit = largest_stable_rate(optimiser_of(kind, 1.0), 3.0);

    EXPECT_LT(descend(optimiser_of(kind, 0.98 * limit), 3000).norm(), 1e-3) << to_string(kind);
    EXPECT_GT(descend(optimiser_of(kind, 1.02 * limit), 3000).norm(), 1e3) << to_string(kind);
  }
}

TEST(Schedule, HasTheStatedFactors) {
  const Schedule step{.kind = ScheduleKind::step, .period = 10, .factor = 0.5};
  const Schedule cosine{.kind = ScheduleKind::cosine, .period = 100, .floor = 0.1, .warm_up = 4};

  EXPECT_EQ(Schedule{}.at(12345), 1.0);
  EXPECT_EQ(step.at(9), 1.0);
  EXPECT_EQ(step.at(25), 0.25);
  EXPECT_NEAR(cosine.at(50), 0.55, 1e-15);
  EXPECT_NEAR(cosine.at(500), 0.1, 1e-15);
  EXPECT_NEAR(cosine.at(0), 0.25, 1e-15);
}

TEST(Optimiser, NamesWhatIsOutOfRange) {
  EXPECT_THROW(TrainingOptimiser(optimiser_of(OptimiserKind::gd, 0.0), start_point), InputError);
  EXPECT_THROW(parse_optimiser("sgd"), InputError);
  EXPECT_THROW(parse_schedule("linear"), InputError);
  EXPECT_EQ(parse_optimiser("adamw"), OptimiserKind::adamw);
}

}  // namespace
}  // namespace gradflow
