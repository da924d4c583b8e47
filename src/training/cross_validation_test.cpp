#include "gradflow/training/cross_validation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/training/train.h"
#include "training/test_problems.h"

namespace gradflow {
namespace {

using namespace training_tests;

CrossValidationOptions adam(int folds) {
  CrossValidationOptions options;
  options.folds = folds;
  options.trainer.optimiser.kind = OptimiserKind::adam;
  options.trainer.optimiser.learning_rate = 0.01;
  return options;
}

TrainingSet rows_of(const TrainingSet& set, const std::vector<Index>& rows) {
  return {set.X(rows, Eigen::all), set.Y(rows, Eigen::all), set.design(rows, Eigen::all)};
}

// Rows that share a left-out network are found by training without them: each prediction must be that of one
// of K trainings, and the fold's rows are those it fits.
TEST(CrossValidation, IsWhatTrainingsWithoutEachFoldSayOfItsRows) {
  const TrainingSet set = small_set(30, 3, 1, 0.5);
  const auto network = network_of("tanh:8", 3);
  const Vector start = network->parameters();
  const int n = 30;

  // As many folds as rows: which row a training leaves out is known.
  const CrossValidation cross = cross_validate(*network, set, adam(n));

  EXPECT_EQ(network->parameters(), start);
  ASSERT_FALSE(cross.in_time);
  double sum = 0.0;
  for (Index row = 0; row < n; ++row) {
    std::vector<Index> kept;
    for (Index i = 0; i < n; ++i)
      if (i != row) kept.push_back(i);
    const auto other = network_of("tanh:8", 3);
    Trainer trainer(*other, rows_of(set, kept), adam(n).trainer);
    run_training(trainer, {.max_steps = static_cast<Index>(cross.point())});
    const Matrix expected = trainer.predict(set.X.row(row), set.design.row(row));
    EXPECT_EQ(cross.left_out(row, 0), expected(0, 0)) << row;
    sum += 0.5 * std::pow(expected(0, 0) - set.Y(row, 0), 2);
  }
  EXPECT_NEAR(cross.loss(), sum / n, 1e-12 * cross.loss());
}

TEST(CrossValidation, TakesTheLeastLossOnceTheTrainingHasGoneTwiceAsFar) {
  const TrainingSet set = small_set(60, 4, 2, 1.0);
  const auto network = network_of("relu:30", 4);
  CrossValidationOptions options;
  options.trainer.optimiser.learning_rate = 0.2 / spectrum_of(*network, set).values(0);

  const CrossValidation cross = cross_validate(*network, set, options);

  ASSERT_TRUE(cross.settled);
  EXPECT_TRUE(cross.in_time);
  EXPECT_EQ(cross.points.size(), cross.losses.size());
  EXPECT_EQ(cross.loss(), *std::ranges::min_element(cross.losses));
  EXPECT_GE(cross.points.back(), 2.0 * cross.point());
  EXPECT_LT(cross.points.back(),
            std::max(2.6 * cross.point(), 60.0 * options.trainer.optimiser.learning_rate));
  EXPECT_EQ(cross.points.front(), 0.0);
  for (std::size_t i = 1; i < cross.points.size(); ++i) EXPECT_GT(cross.points[i], cross.points[i - 1]);
  const double mean_square = (cross.left_out - set.Y).squaredNorm() / 60.0;
  EXPECT_NEAR(0.5 * mean_square, cross.loss(), 1e-12);
  EXPECT_GT(cross.standard_error, 0.0);
  EXPECT_TRUE(cross.warnings.empty());
}

// At time 0 a fold's rows are predicted by what they start from: output and fixed effects of the others.
TEST(CrossValidation, BeginsWithNoTraining) {
  const TrainingSet set = small_set(20, 3);
  const auto network = network_of("relu:10", 3, Centring::copies);  // output 0

  const CrossValidation cross = cross_validate(*network, set, adam(20));

  double sum = 0.0;
  for (Index row = 0; row < 20; ++row)
    sum += 0.5 * std::pow(set.Y(row, 0) - (set.Y.sum() - set.Y(row, 0)) / 19.0, 2);
  EXPECT_NEAR(cross.losses.front(), sum / 20.0, 1e-12);
}

TEST(CrossValidation, KeepsCopiesInOneFold) {
  TrainingSet set = small_set(40, 3, 3, 1.0);
  set.X.bottomRows(20) = set.X.topRows(20);
  const auto network = network_of("tanh:10", 3);

  const CrossValidation cross = cross_validate(*network, set, adam(4));

  EXPECT_EQ(cross.left_out.topRows(20), cross.left_out.bottomRows(20));
}

TEST(CrossValidation, LeavesOutEachClassesShare) {
  TrainingSet set{RandomStream(1, "classes").normals(40, 2), Matrix::Zero(40, 2), Matrix(40, 0)};
  for (Index i = 0; i < 40; ++i) set.Y(i, i < 5 ? 0 : 1) = 1.0;
  set.X.topRows(5).array() += 3.0;
  const auto network = make_trainable(parse_architecture("relu:10"), 2, 2, 1);
  CrossValidationOptions options = adam(5);
  options.trainer.loss = TrainingLoss::cross_entropy;

  const CrossValidation cross = cross_validate(*network, set, options);

  // A fold with two of the five would have left the others too few to be right of all five.
  EXPECT_LT(cross.loss(), 0.3);
  EXPECT_EQ(cross.left_out.rows(), 40);
  EXPECT_TRUE(cross.left_out.allFinite());
}

TEST(CrossValidation, SaysWhatCutItShort) {
  const TrainingSet set = small_set(40, 3);
  const auto network = network_of("tanh:10", 3);
  CrossValidationOptions few = adam(3), wild = adam(3);
  few.max_steps = 20;
  wild.trainer.optimiser.learning_rate = 20.0;
  wild.trainer.divergence = 3.0;

  const CrossValidation limited = cross_validate(*network, set, few);
  const CrossValidation diverged = cross_validate(*network, set, wild);

  EXPECT_FALSE(limited.settled);
  EXPECT_LE(limited.points.back(), 20.0);
  ASSERT_EQ(limited.warnings.size(), 1U);
  EXPECT_EQ(limited.warnings[0],
            "20 steps without each fold were too few to see the loss on rows left out rise again");
  EXPECT_FALSE(diverged.settled);
  ASSERT_FALSE(diverged.warnings.empty());
  EXPECT_EQ(diverged.warnings[0].substr(0, 34), "training without fold 1 diverged: ");
}

TEST(CrossValidation, RefusesFoldsThatCannotBe) {
  const TrainingSet set = small_set(10, 3);
  const auto network = network_of("tanh:4", 3);

  EXPECT_THROW(cross_validate(*network, set, adam(1)), InputError);
  EXPECT_THROW(cross_validate(*network, set, adam(11)), InputError);
}

TEST(CrossValidation, GoesOnFromItsCheckpointToTheSameBits) {
  const TrainingSet set = small_set(40, 3, 1, 0.5);
  const auto network = network_of("relu:12", 3);
  const std::string path =
      (std::filesystem::temp_directory_path() / "gradflow-cross-validation.safetensors").string();
  CrossValidationOptions options;
  options.folds = 3;
  options.follows_rate = true;
  options.trainer.optimiser.learning_rate = 0.3 / spectrum_of(*network, set).values(0);
  const CrossValidation whole = cross_validate(*network, set, options);

  options.checkpoint = path;
  options.seconds_between_checkpoints = 0.0;
  options.fingerprint = "test";
  const auto resumed = interrupted([&](Progress& progress) {
    options.progress = &progress;
    return cross_validate(*network_of("relu:12", 3), set, options);
  });

  EXPECT_GT(resumed.interruptions, 2);
  EXPECT_EQ(resumed.result.losses, whole.losses);
  EXPECT_EQ(resumed.result.left_out, whole.left_out);
  EXPECT_EQ(resumed.result.steps, whole.steps);
  EXPECT_FALSE(std::filesystem::exists(path + ".part"));
  options.fingerprint = "another";
  EXPECT_THROW(cross_validate(*network, set, options), InputError);
  std::filesystem::remove(path);
}

Matrix left_out_with(int count, const TrainingSet& set) {
  set_threads(count);
  const auto network = network_of("relu:40x2", 3);
  TrainRequest request;
  request.stop = TrainingStop::cross_validation;
  request.max_steps = 200;
  const TrainReport report = train(*network, set, request);
  set_threads(0);
  return report.cross_validation.value().left_out;
}

TEST(CrossValidation, IsTheSameForAnyNumberOfThreads) {
  const TrainingSet set = small_set(50, 3);

  EXPECT_EQ(left_out_with(1, set), left_out_with(2, set));
}

TEST(Train, CrossValidatesAndTrainsAllRowsToThatTime) {
  const TrainingSet set = small_set(80, 4, 1, 1.0);
  const auto network = network_of("tanh:20", 4);
  TrainRequest request;
  request.stop = TrainingStop::cross_validation;

  const TrainReport report = train(*network, set, request);

  EXPECT_EQ(report.outcome, Outcome::converged);
  ASSERT_TRUE(report.cross_validation.has_value());
  EXPECT_NEAR(report.run.time, report.cross_validation->point(), 1e-9 * report.run.time);
  EXPECT_EQ(report.validation_loss, report.cross_validation->loss());
  EXPECT_LT(report.loss, report.validation_loss);
  EXPECT_EQ(report.cross_validation->folds, 5);
}

}  // namespace
}  // namespace gradflow
