#include "gradflow/training/train.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "gradflow/base/error.h"
#include "gradflow/inference/stopping.h"
#include "gradflow/training/export.h"
#include "training/test_problems.h"

namespace gradflow {
namespace {

using namespace training_tests;

TEST(Train, GoesToTheTimeOfItsRule) {
  const TrainingSet set = small_set(80, 4);
  const auto network = network_of("relu:30,ntk", 4, Centring::copies);
  const ProjectedSpectrum M = spectrum_of(*network, set);
  const SpectralData data{M.values, M.coordinates(set.Y.col(0)), Vector(), M.trace};
  const double risk = risk_time(data, fit_reml(data, Path{.kind = PathKind::ridge}), StoppingOptions{});

  const TrainReport report = train(*network, set, {});

  EXPECT_EQ(report.outcome, Outcome::converged);
  EXPECT_NEAR(report.planned_time, risk, 1e-9 * risk);
  EXPECT_NEAR(report.run.time, risk, 1e-9 * risk);
  EXPECT_NEAR(report.learning_rate * report.largest_eigenvalue, 0.4, 1e-9);
  EXPECT_GE(static_cast<double>(report.run.steps), std::floor(risk / report.learning_rate));
  EXPECT_TRUE(report.verdict.has_value());
}

// Wider networks stay nearer to the flow of their operator at the start (the lazy limit).
TEST(Train, ComesNearerToTheFlowAsTheNetworkGetsWider) {
  const TrainingSet set = small_set(100, 5, 1, 1.0);
  const auto distance = [&](const char* text) {
    const auto network = network_of(text, 5, Centring::copies);
    TrainRequest request;
    request.learning_rate = 0.1 / spectrum_of(*network, set).values(0);
    request.max_steps = 5000;
    const TrainReport report = train(*network, set, request);
    EXPECT_EQ(report.outcome, Outcome::converged);
    return report.watch.back().distance;
  };

  const double narrow = distance("erf:16,ntk"), wide = distance("erf:256,ntk");

  ASSERT_GT(narrow, 0.01);  // there was something to learn

  // 16 times the width: a quarter, at the rate of its inverse square root.
  EXPECT_LT(wide, 0.5 * narrow);
}

TEST(Train, RefusesAnUnstableLearningRateAndSaysTheLimit) {
  const TrainingSet set = small_set(40, 3);
  const auto network = network_of("tanh:8", 3);
  const double limit = 2.0 / spectrum_of(*network, set).values(0);
  TrainRequest request;
  request.learning_rate = 1.001 * limit;

  EXPECT_THROW(train(*network, set, request), InputError);
  request.learning_rate = 0.999 * limit;
  EXPECT_NO_THROW(train(*network, set, request));
  request.trainer.loss = TrainingLoss::mse;
  EXPECT_THROW(train(*network, set, request), InputError);
}

TEST(Train, AdamStopsWhereItsFittedValuesHaveComeAsFarAsTheFlow) {
  const TrainingSet set = small_set(80, 4);
  const auto network = network_of("relu:200,ntk", 4, Centring::copies);
  TrainRequest request;
  request.trainer.optimiser.kind = OptimiserKind::adam;
  request.learning_rate = 1e-3;

  const TrainReport report = train(*network, set, request);

  EXPECT_EQ(report.run.end, TrainingEnd::monitor);
  EXPECT_GE(report.matched_time, report.planned_time);
  EXPECT_LT(report.matched_time, 1.6 * report.planned_time);
}

TEST(Train, ValidationRefitsToTheHeldOutRowsBestTime) {
  const TrainingSet set = small_set(80, 4, 1, 1.0);
  const auto network = network_of("tanh:20", 4);
  TrainRequest request;
  request.stop = TrainingStop::validation;

  const TrainReport refit = train(*network, set, request);
  const auto other = network_of("tanh:20", 4);
  request.refit = false;
  const TrainReport kept = train(*other, set, request);

  EXPECT_EQ(refit.outcome, Outcome::converged);
  EXPECT_EQ(refit.validation_loss, kept.validation_loss);
  EXPECT_NEAR(refit.run.time, kept.run.time, 1e-9 * kept.run.time);
  EXPECT_EQ(kept.run.steps, kept.validation_steps);
}

TEST(Train, LowersItsOwnLearningRateAsTheOperatorGrows) {
  const TrainingSet set = small_set(60, 4, 1, 1.0);
  const auto network = network_of("relu:40x2", 4), other = network_of("relu:40x2", 4);
  const double before = spectrum_of(*network, set).values(0);
  TrainRequest request;
  request.stop = TrainingStop::steps;
  request.steps = 200;

  const TrainReport chosen = train(*network, set, request);
  request.learning_rate = chosen.learning_rate;
  const TrainReport given = train(*other, set, request);

  EXPECT_GT(spectrum_of(*network, set).values(0), 1.5 * before);
  EXPECT_NEAR(given.run.time, 200 * chosen.learning_rate, 1e-9 * given.run.time);
  EXPECT_LT(chosen.run.time, given.run.time / 1.3);
}

TEST(Train, SaysThatTheLimitOfStepsCameFirst) {
  const TrainingSet set = small_set(80, 4);
  const auto network = network_of("tanh:20", 4);
  TrainRequest request;
  request.max_steps = 2;

  const TrainReport report = train(*network, set, request);

  EXPECT_EQ(report.outcome, Outcome::iteration_limit);
  EXPECT_FALSE(usable(report.outcome));
}

TEST(Train, TrainsClassesOnCrossEntropy) {
  TrainingSet set{RandomStream(1, "classes").normals(90, 2), {}, Matrix(90, 0)};
  set.Y = Matrix::Zero(90, 3);
  for (Index i = 0; i < 90; ++i) {
    const double angle = std::atan2(set.X(i, 1), set.X(i, 0));
    set.Y(i, angle < -1.0 ? 0 : angle < 1.0 ? 1 : 2) = 1.0;
  }
  const auto network = make_trainable(parse_architecture("relu:20"), 2, 3, 1);
  TrainRequest request;
  request.trainer.loss = TrainingLoss::cross_entropy;
  request.trainer.optimiser.kind = OptimiserKind::adam;
  request.learning_rate = 0.02;
  request.stop = TrainingStop::steps;
  request.steps = 300;

  const TrainReport report = train(*network, set, request);

  EXPECT_LT(report.loss, 0.2 * report.start_loss);
  const Matrix F = network->output(set.X);
  int right = 0;
  for (Index i = 0; i < 90; ++i) {
    Index most = 0;
    F.row(i).maxCoeff(&most);
    right += set.Y(i, most) == 1.0 ? 1 : 0;
  }
  EXPECT_GE(right, 85);
  request.stop = TrainingStop::reml_risk;
  EXPECT_THROW(train(*network, set, request), InputError);
}

TEST(Train, FindsTheLargestEigenvalueWithoutTheKernel) {
  const TrainingSet set = small_set(60, 4);
  const auto network = network_of("tanh:20x2", 4);
  const Vector before = network->parameters();

  EXPECT_NEAR(largest_eigenvalue(*network, set) / spectrum_of(*network, set).values(0), 1.0, 0.02);
  EXPECT_EQ(network->parameters(), before);
}

TEST(Export, IsTheSameFunctionInRawUnits) {
  RandomStream random(1, "export");
  for (const char* text : {"relu:6x2", "gelu:5,ntk", "tanh:4,no-bias", "linear,ntk"}) {
    const auto network = DenseNetwork::initialise(parse_architecture(text), 3, 2);
    const Matrix X = random.normals(10, 3);
    const Vector center = random.normals(3), scale = random.normals(3).cwiseAbs().array() + 0.5;
    const Matrix encoded = (X.rowwise() - center.transpose()).array().rowwise() / scale.transpose().array();
    const Vector expected = 7.0 + 3.0 * (network.output(encoded).array() + 0.25);

    const DenseNetwork raw = in_raw_units(network, center, scale, 7.0, 3.0, 0.25);
    const std::string path =
        (std::filesystem::temp_directory_path() / "gradflow-export.safetensors").string();
    write_state_dict(path, raw, {{"a", "b"}});
    const DenseNetwork read = DenseNetwork::from_file(path, raw.architecture());

    EXPECT_LT((raw.output(X) - expected).norm(), 1e-12 * expected.norm()) << text;
    EXPECT_EQ(read.output(X), raw.output(X)) << text;
    std::filesystem::remove(path);
  }
}

}  // namespace
}  // namespace gradflow
