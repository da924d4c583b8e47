#include "gradflow/training/watch.h"

#include <gtest/gtest.h>

#include "gradflow/base/error.h"
#include "support/reference.h"
#include "training/test_problems.h"

namespace gradflow {
namespace {

using namespace training_tests;

TrainerOptions gradient_descent(double rate) {
  TrainerOptions options;
  options.optimiser.learning_rate = rate;
  return options;
}

TEST(Watch, SeesNothingMoveInANetworkThatIsLinearInItsWeights) {
  const TrainingSet set = small_set(50, 4);
  const auto network = network_of("linear,ntk", 4);
  Trainer trainer(*network, set, gradient_descent(1e-3 / spectrum_of(*network, set).values(0)));
  const InitialFlow flow(trainer);
  Watch watch(trainer, &flow, set, {});

  run_training(trainer, {.max_steps = 2000, .monitors = {&watch}});
  watch.finish(trainer);

  for (const WatchRecord& r : watch.records()) {
    EXPECT_LT(r.drift, 1e-12);
    EXPECT_NEAR(r.alignment, 1.0, 1e-12);
    EXPECT_LT(r.distance, 1e-3);  // explicit steps of eta lambda_1 = 1e-3
    EXPECT_NEAR(r.held_out_loss, r.training_loss, 1e-12);
  }
  EXPECT_EQ(watch.records().back().step, 2000);
  EXPECT_TRUE(watch.verdict().lazy);
}

TEST(Watch, SaysSinceWhenTrainingIsNotLazy) {
  const TrainingSet set = small_set(50, 4);
  const auto network = network_of("tanh:4", 4);
  Trainer trainer(*network, set, gradient_descent(0.1));
  const InitialFlow flow(trainer);
  Watch watch(trainer, &flow, {}, {.growth = 1.2});

  run_training(trainer, {.max_steps = 3000, .monitors = {&watch}});

  const Verdict verdict = watch.verdict();
  ASSERT_FALSE(verdict.lazy);
  bool reached = false;
  for (const WatchRecord& r : watch.records()) {
    const bool moved = r.drift > 0.1 || r.distance > 0.1;
    reached = reached || moved;
    EXPECT_EQ(reached, r.step >= verdict.since) << r.step;
  }
  EXPECT_NE(verdict.sentence.find(fmt::format("step {}", verdict.since)), std::string::npos);
}

TEST(Watch, GoesOnFromACheckpoint) {
  const TrainingSet set = small_set(50, 4);
  const auto network = network_of("tanh:4", 4), other = network_of("tanh:4", 4);
  Trainer trainer(*network, set, gradient_descent(0.1)), resumed(*other, set, gradient_descent(0.1));
  const InitialFlow flow(trainer);
  Watch watch(trainer, &flow, set, {}), after(resumed, &flow, set, {});
  run_training(trainer, {.max_steps = 31, .monitors = {&watch}});
  TensorFile file;
  trainer.save(file);
  watch.save(file);

  resumed.restore(file);
  after.restore(file);
  run_training(trainer, {.max_steps = 100, .monitors = {&watch}});
  run_training(resumed, {.max_steps = 100, .monitors = {&after}});

  ASSERT_EQ(watch.records().size(), after.records().size());
  for (std::size_t k = 0; k < watch.records().size(); ++k) {
    EXPECT_EQ(watch.records()[k].step, after.records()[k].step);
    EXPECT_EQ(watch.records()[k].drift, after.records()[k].drift);
    EXPECT_EQ(watch.records()[k].distance, after.records()[k].distance);
    EXPECT_EQ(watch.records()[k].feature_movement, after.records()[k].feature_movement);
    EXPECT_EQ(watch.records()[k].stable_rank, after.records()[k].stable_rank);
  }
}

TEST(Watch, StableRankIsThatOfThePlantedSingularValues) {
  const Matrix U = reference::orthogonal_basis(RandomStream(1, "u").normals(20, 3)).leftCols(3);
  const Matrix V = reference::orthogonal_basis(RandomStream(2, "v").normals(9, 3)).leftCols(3);

  EXPECT_NEAR(stable_rank(U * Eigen::Vector3d(3.0, 1.0, 0.5).asDiagonal() * V.transpose()), 10.25 / 9.0,
              1e-10);
  EXPECT_EQ(stable_rank(Matrix::Zero(3, 2)), 0.0);
}

TEST(InitialFlow, FindsTheTimeOfAPointOnIt) {
  const TrainingSet set = small_set(50, 4);
  const auto network = network_of("tanh:20", 4);
  const Trainer trainer(*network, set, gradient_descent(0.1));
  const InitialFlow flow(trainer);

  for (const double time : {0.01, 1.0, 50.0})
    EXPECT_NEAR(flow.matched_time(flow.residual(time)), time, 1e-5 * time);
  EXPECT_LT((flow.residual(0.0) - trainer.residual().col(0)).norm(), 1e-12);
  EXPECT_EQ(flow.learned_directions(flow.residual(0.0)), 0);
  EXPECT_GT(flow.learned_directions(flow.residual(50.0)), 0);
  EXPECT_LT(flow.position(flow.residual(50.0)), flow.position(flow.residual(0.0)));
}

}  // namespace
}  // namespace gradflow
