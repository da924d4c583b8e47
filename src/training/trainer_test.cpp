#include "gradflow/training/trainer.h"

#include <gtest/gtest.h>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "training/test_problems.h"

namespace gradflow {
namespace {

using namespace training_tests;

TrainerOptions options_of(OptimiserKind kind, double rate, Index batch = 0) {
  TrainerOptions options;
  options.optimiser.kind = kind;
  options.optimiser.learning_rate = rate;
  options.batch = batch;
  return options;
}

constexpr OptimiserKind all_kinds[] = {OptimiserKind::gd, OptimiserKind::momentum, OptimiserKind::nesterov,
                                       OptimiserKind::adam, OptimiserKind::adamw};

TEST(Trainer, GradientDescentOnALinearNetworkIsAPowerOfTheOperator) {
  const TrainingSet set = small_set(30, 4);
  const auto network = network_of("linear", 4);
  const ProjectedSpectrum M = spectrum_of(*network, set);
  const double eta = 0.9 / M.values(0);
  Trainer trainer(*network, set, options_of(OptimiserKind::gd, eta));
  const Vector z = M.coordinates(trainer.residual());

  for (int k = 0; k < 25; ++k) trainer.step();

  const Vector expected = (1.0 - eta * M.values.array()).pow(25) * z.array();
  EXPECT_LT((M.coordinates(trainer.residual()) - expected).norm(), 1e-12 * z.norm());
  EXPECT_NEAR(trainer.time(), 25 * eta, 1e-12);
}

TEST(Trainer, SmallStepsFollowTheFlowForEveryOptimiserWithAFlowTime) {
  const TrainingSet set = small_set(30, 4);
  for (const OptimiserKind kind : {OptimiserKind::gd, OptimiserKind::momentum, OptimiserKind::nesterov}) {
    const auto network = network_of("linear", 4);
    const ProjectedSpectrum M = spectrum_of(*network, set);
    const auto distance = [&](double eta) {
      const auto fresh = network_of("linear", 4);
      Trainer trainer(*fresh, set, options_of(kind, eta));
      const Vector z = M.coordinates(trainer.residual());
      while (trainer.time() < 1.0) trainer.step(1.0 - trainer.time());
      const Vector flow = (-trainer.time() * M.values.array()).exp() * z.array();
      return (M.coordinates(trainer.residual()) - flow).norm() / z.norm();
    };

    // First order in the step.
    const double coarse = distance(4e-4), fine = distance(1e-4);
    EXPECT_LT(fine, 5e-3) << to_string(kind);
    EXPECT_NEAR(coarse / fine, 4.0, 0.4) << to_string(kind);
  }
}

TEST(Trainer, LandsOnTheTimeItIsGiven) {
  const TrainingSet set = small_set(30, 4);
  const auto network = network_of("tanh:5", 4);
  Trainer trainer(*network, set, options_of(OptimiserKind::momentum, 0.013));

  while (trainer.time() < 0.5) trainer.step(0.5 - trainer.time());

  EXPECT_DOUBLE_EQ(trainer.time(), 0.5);
}

TEST(Trainer, DecayTowardsTheInitialWeightsEndsInRidgeRegression) {
  const TrainingSet set = small_set(30, 4);
  const auto network = network_of("linear", 4);
  const ProjectedSpectrum M = spectrum_of(*network, set);
  TrainerOptions options = options_of(OptimiserKind::gd, 0.5 / M.values(0));
  options.optimiser.weight_decay = 0.2;
  options.optimiser.anchor = DecayAnchor::initial;
  Trainer trainer(*network, set, options);
  const Vector z = M.coordinates(trainer.residual());

  for (int k = 0; k < 3000; ++k) trainer.step();

  const Vector ridge = z.array() / (1.0 + M.values.array() / 0.2);
  EXPECT_LT((M.coordinates(trainer.residual()) - ridge).norm(), 1e-10 * z.norm());
}

TEST(Trainer, FollowsTheGradientOfItsLoss) {
  for (const TrainingLoss loss : {TrainingLoss::half_mse, TrainingLoss::mse, TrainingLoss::cross_entropy}) {
    TrainingSet set = small_set(20, 4);
    const Index outputs = loss == TrainingLoss::cross_entropy ? 3 : 1;
    if (outputs == 3) {
      set.design.resize(20, 0);
      set.Y = Matrix::Zero(20, 3);
      for (Index i = 0; i < 20; ++i) set.Y(i, i % 3) = 1.0;
    }
    const auto network = make_trainable(parse_architecture("tanh:6"), 4, outputs, 3);
    TrainerOptions options = options_of(OptimiserKind::gd, 1e-6);
    options.loss = loss;
    Trainer trainer(*network, set, options);
    const Vector before = network->parameters();
    const double loss_before = trainer.loss();

    trainer.step();

    // dL = -|g|^2 eta, g = (theta_0 - theta_1)/eta
    const double expected = -(before - network->parameters()).squaredNorm() / 1e-6;
    EXPECT_NEAR((trainer.loss() - loss_before) / expected, 1.0, 1e-4) << to_string(loss);
  }
}

TEST(Trainer, MeanSquareWithHalfTheRateIsTheSameTraining) {
  const TrainingSet set = small_set(30, 4);
  const auto one = network_of("tanh:5", 4), two = network_of("tanh:5", 4);
  TrainerOptions options = options_of(OptimiserKind::momentum, 0.05);
  Trainer half(*one, set, options);
  options.optimiser.learning_rate = 0.025;
  options.loss = TrainingLoss::mse;
  Trainer whole(*two, set, options);

  for (int k = 0; k < 40; ++k) {
    half.step();
    whole.step();
  }

  EXPECT_LT((one->parameters() - two->parameters()).norm(), 1e-13 * one->parameters().norm());
  EXPECT_DOUBLE_EQ(half.time(), whole.time());
}

TEST(Trainer, ABatchOfAllRowsIsAFullStep) {
  const TrainingSet set = small_set(30, 4);
  const auto one = network_of("tanh:5", 4), two = network_of("tanh:5", 4);
  Trainer full(*one, set, options_of(OptimiserKind::gd, 0.05));
  Trainer batches(*two, set, options_of(OptimiserKind::gd, 0.05, 30));

  for (int k = 0; k < 20; ++k) {
    full.step();
    batches.step();
  }

  EXPECT_LT((one->parameters() - two->parameters()).norm(), 1e-12 * one->parameters().norm());
}

TEST(Trainer, AnEpochTakesEveryRowOnceAndItsMeanGradientIsTheFullOneWithoutFixedEffects) {
  TrainingSet set = small_set(30, 4);
  set.design.resize(30, 0);
  const auto one = network_of("tanh:5", 4), two = network_of("tanh:5", 4);
  constexpr double tiny = 1e-7;
  Trainer full(*one, set, options_of(OptimiserKind::gd, tiny));
  Trainer batches(*two, set, options_of(OptimiserKind::gd, tiny, 10));
  const Vector start = one->parameters();

  full.step();
  for (int k = 0; k < 3; ++k) batches.step();

  const Vector expected = 3.0 * (one->parameters() - start);
  EXPECT_LT((two->parameters() - start - expected).norm(), 1e-5 * expected.norm());
}

TEST(Trainer, HasTheSameBitsForOneAndTwoThreads) {
  const TrainingSet set = small_set(300, 6);
  for (const OptimiserKind kind : all_kinds)
    for (const Index batch : {Index{0}, Index{70}}) {
      const auto run = [&](int count) {
        set_threads(count);
        const auto network = network_of("relu:20x2", 6, Centring::copies, Precision::float32);
        Trainer trainer(*network, set, options_of(kind, 0.01, batch));
        for (int k = 0; k < 30; ++k) trainer.step();
        set_threads(0);
        return network->parameters();
      };

      EXPECT_EQ(run(1), run(2)) << to_string(kind) << batch;
    }
}

TEST(Trainer, GoesOnFromASavedStateWithTheSameBits) {
  const TrainingSet set = small_set(60, 4);
  for (const OptimiserKind kind : all_kinds)
    for (const Index batch : {Index{0}, Index{16}}) {
      TrainerOptions options = options_of(kind, 0.01, batch);
      options.schedule = {.kind = ScheduleKind::cosine, .period = 50, .warm_up = 5};
      options.optimiser.weight_decay = 1e-3;
      options.optimiser.anchor = DecayAnchor::initial;
      const auto whole = network_of("tanh:6x2", 4), part = network_of("tanh:6x2", 4),
                 resumed = network_of("tanh:6x2", 4);
      Trainer one(*whole, set, options), two(*part, set, options), three(*resumed, set, options);
      for (int k = 0; k < 40; ++k) one.step();
      for (int k = 0; k < 17; ++k) two.step();
      TensorFile file;
      two.save(file);

      three.restore(file);
      for (int k = 17; k < 40; ++k) three.step();

      EXPECT_EQ(whole->parameters(), resumed->parameters()) << to_string(kind) << batch;
      EXPECT_EQ(one.steps(), three.steps());
      if (has_flow_time(kind)) {
        EXPECT_EQ(one.time(), three.time());
      }
    }
}

TEST(Trainer, RefusesAStateOfAnotherShape) {
  const TrainingSet set = small_set(30, 4);
  const auto small = network_of("tanh:3", 4), large = network_of("tanh:4", 4);
  Trainer one(*small, set, options_of(OptimiserKind::gd, 0.1)),
      two(*large, set, options_of(OptimiserKind::gd, 0.1));
  TensorFile file;
  one.save(file);

  EXPECT_THROW(two.restore(file), InputError);
}

TEST(Trainer, EndsOnDivergenceWithTheLastGoodWeights) {
  const TrainingSet set = small_set(30, 4);
  const auto network = network_of("linear", 4);
  const double eta = 2.5 / spectrum_of(*network, set).values(0);
  Trainer trainer(*network, set, options_of(OptimiserKind::gd, eta));
  int steps = 0;
  while (trainer.step() && steps < 10000) ++steps;

  EXPECT_TRUE(trainer.diverged());
  EXPECT_EQ(trainer.diverged_at(), steps);
  EXPECT_LE(trainer.steps(), steps);
  EXPECT_LE(trainer.loss(), trainer.start_loss());
  EXPECT_FALSE(trainer.step());
}

TEST(Trainer, PredictsWithTheFixedEffectsAtTheirBest) {
  const TrainingSet set = small_set(30, 4);
  const auto network = network_of("tanh:5", 4);
  Trainer trainer(*network, set, options_of(OptimiserKind::gd, 0.1));
  for (int k = 0; k < 10; ++k) trainer.step();

  const Matrix error = set.Y - trainer.predict(set.X, set.design);

  EXPECT_LT((error - trainer.residual()).norm(), 1e-12);
  EXPECT_NEAR(error.sum(), 0.0, 1e-12);
}

TEST(Trainer, NamesWhatDoesNotFit) {
  const auto network = network_of("tanh:5", 4);
  TrainingSet set = small_set(30, 4);

  EXPECT_THROW(Trainer(*network, set, options_of(OptimiserKind::gd, 0.1, 31)), InputError);
  EXPECT_THROW(Trainer(*network, set, options_of(OptimiserKind::gd, 0.1, 2)), InputError);
  set.Y.conservativeResize(29, 1);
  EXPECT_THROW(Trainer(*network, set, options_of(OptimiserKind::gd, 0.1)), InputError);
}

}  // namespace
}  // namespace gradflow
