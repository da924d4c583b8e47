#include "gradflow/training/trained_gcv.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/inference/stopping.h"
#include "gradflow/training/train.h"
#include "training/test_problems.h"

namespace gradflow {
namespace {

using namespace training_tests;

TrainedGcvOptions descent_of(const TrainableNetwork& network, const TrainingSet& set, double part = 0.3) {
  TrainedGcvOptions options;
  options.trainer.optimiser.learning_rate = part / spectrum_of(network, set).values(0);
  return options;
}

// tr (I - (I - eta M)^k), what k steps of a fixed operator use.
double used_by_steps(const Vector& values, double eta, double steps) {
  return (1.0 - (1.0 - eta * values.array()).pow(steps)).sum();
}

TEST(TrainedGcv, OfAFixedOperatorIsThatOfItsSmoother) {
  const TrainingSet set = small_set(40, 6, 1, 0.5);
  const auto network = network_of("linear", 6);
  const ProjectedSpectrum M = spectrum_of(*network, set);
  TrainedGcvOptions options = descent_of(*network, set);
  options.twins = 400;
  const double eta = options.trainer.optimiser.learning_rate;

  const TrainedGcv found = trained_gcv(*network, set, options);

  EXPECT_EQ(found.freedom, 39);
  EXPECT_NEAR(found.dof.front(), 0.0, 1e-12);
  for (const std::size_t i : {1U, 5U, 10U, 20U}) {
    const double exact = used_by_steps(M.values, eta, found.points[i] / eta);
    EXPECT_NEAR(found.dof[i], exact, 4.0 * found.dof_standard_error[i]) << i;
    EXPECT_LT(found.dof_standard_error[i], 0.1 * exact) << i;
    const double left = 1.0 - found.dof[i] / 39.0;
    EXPECT_NEAR(found.gcv[i], found.mean_square[i] / (left * left), 1e-12 * found.gcv[i]) << i;
  }
}

// The law of the following stops: while the operator stays, the time is that of the one-shot rule.
TEST(TrainedGcv, OfAFixedOperatorEndsWhereRuleGcvDoes) {
  const TrainingSet set = small_set(120, 20, 3, 1.0);
  const auto network = network_of("linear", 20);
  const ProjectedSpectrum M = spectrum_of(*network, set);
  TrainedGcvOptions options = descent_of(*network, set, 0.05);
  options.twins = 200;

  const TrainedGcv found = trained_gcv(*network, set, options);

  Trainer trainer(*network, set, options.trainer);
  const SpectralData data{M.values, M.coordinates(trainer.residual()), Vector(), M.trace};
  const double expected = gcv_minimiser(data, StoppingOptions{});
  ASSERT_TRUE(std::isfinite(expected));
  EXPECT_NEAR(std::log(found.point() / expected), 0.0, 0.15);
  EXPECT_TRUE(found.settled);
}

// Every response moved by itself, up and down, and the network trained anew: sum_i dF_i/dY_i.
double trace_of_derivative(TrainableNetwork& network, const TrainingSet& set, const TrainerOptions& options,
                           double time) {
  constexpr double step = 1e-4;
  const Vector start = network.parameters();
  const auto fitted = [&](const Matrix& Y) {
    network.set_parameters(start);
    Trainer trainer(network, {set.X, Y, set.design}, options);
    run_training(trainer, {.stop_time = time});
    Matrix F = trainer.fitted();
    network.set_parameters(start);
    return F;
  };
  double trace = 0.0;
  for (Index i = 0; i < set.Y.rows(); ++i)
    for (Index k = 0; k < set.Y.cols(); ++k) {
      Matrix up = set.Y, down = set.Y;
      up(i, k) += step;
      down(i, k) -= step;
      trace += (fitted(up)(i, k) - fitted(down)(i, k)) / (2.0 * step);
    }
  return trace;
}

TEST(TrainedGcv, UsesTheTraceOfTheTrainingsDerivative) {
  for (const Index outputs : {1, 2}) {
    TrainingSet set = small_set(14, 3, 2, 0.2);
    if (outputs == 2) {
      set.Y.conservativeResize(14, 2);
      set.Y.col(1) = set.X.col(0).cwiseProduct(set.X.col(2));
    }
    const auto network = make_trainable(parse_architecture("tanh:12x2"), 3, outputs, 1);
    TrainedGcvOptions options;
    options.trainer.optimiser.learning_rate = 0.05;
    options.twins = 300;
    options.size = 0.003;
    options.max_steps = 120;
    const TrainedGcv found = trained_gcv(*network, set, options);
    const std::size_t last = found.points.size() - 1;

    const double trace = trace_of_derivative(*network, set, options.trainer, found.points[last]);

    // That of F + X beta, which has an intercept for each output.
    const double expected = trace - static_cast<double>(outputs);
    EXPECT_EQ(found.freedom, 13 * outputs);
    EXPECT_GT(expected, 2.0);
    EXPECT_NEAR(found.dof[last], expected, 4.0 * found.dof_standard_error[last]) << outputs;
    EXPECT_LT(found.dof_standard_error[last], 0.1 * expected) << outputs;
  }
}

TEST(TrainedGcv, TakesTheLeastOnceItHasRisen) {
  const TrainingSet set = small_set(60, 4, 2, 1.0);
  const auto network = network_of("relu:30", 4);
  const Vector start = network->parameters();

  const TrainedGcv found = trained_gcv(*network, set, descent_of(*network, set, 0.2));

  EXPECT_EQ(network->parameters(), start);
  ASSERT_TRUE(found.settled);
  EXPECT_TRUE(found.warnings.empty());
  EXPECT_EQ(found.twins, 3);
  EXPECT_EQ(found.at_best(found.gcv), *std::ranges::min_element(found.gcv));
  EXPECT_GE(found.points.back(), 2.0 * found.point());
  EXPECT_GT(found.gcv.back(), found.at_best(found.gcv));
  for (std::size_t i = 1; i < found.points.size(); ++i) EXPECT_GT(found.points[i], found.points[i - 1]);
}

TEST(TrainedGcv, CountsTheTimeOfMseTwice) {
  const TrainingSet set = small_set(40, 3, 1, 0.5);
  const auto network = network_of("tanh:10", 3);
  TrainedGcvOptions half = descent_of(*network, set), whole = half;
  whole.trainer.loss = TrainingLoss::mse;
  whole.trainer.optimiser.learning_rate *= 0.5;

  const TrainedGcv a = trained_gcv(*network, set, half), b = trained_gcv(*network, set, whole);

  EXPECT_EQ(a.points, b.points);
  EXPECT_EQ(a.best, b.best);
  EXPECT_NEAR(a.at_best(a.dof), b.at_best(b.dof), 1e-6 * a.at_best(a.dof));
}

TEST(TrainedGcv, SaysWhatCutItShort) {
  const TrainingSet set = small_set(40, 3);
  const auto network = network_of("tanh:10", 3);
  TrainedGcvOptions few;
  few.trainer.optimiser.kind = OptimiserKind::adam;
  few.trainer.optimiser.learning_rate = 0.01;
  TrainedGcvOptions wild = few;
  few.max_steps = 20;
  wild.trainer.optimiser.learning_rate = 20.0;
  wild.trainer.divergence = 3.0;

  const TrainedGcv limited = trained_gcv(*network, set, few), diverged = trained_gcv(*network, set, wild);

  EXPECT_FALSE(limited.in_time);
  EXPECT_FALSE(limited.settled);
  EXPECT_EQ(limited.points.back(), 20.0);
  ASSERT_EQ(limited.warnings.size(), 1U);
  EXPECT_EQ(limited.warnings[0],
            "20 steps were too few to see generalised cross-validation rise by more than its error");
  ASSERT_FALSE(diverged.warnings.empty());
  EXPECT_EQ(diverged.warnings[0].substr(0, 30), "training the network diverged:");
}

TEST(TrainedGcv, RefusesWhatItIsNotOf) {
  const TrainingSet set = small_set(10, 3);
  const auto network = network_of("tanh:4", 3);
  TrainedGcvOptions none = descent_of(*network, set), still = none, classes = none;
  none.twins = 0;
  still.size = 0.0;
  classes.trainer.loss = TrainingLoss::cross_entropy;

  EXPECT_THROW(trained_gcv(*network, set, none), InputError);
  EXPECT_THROW(trained_gcv(*network, set, still), InputError);
  EXPECT_THROW(trained_gcv(*network, set, classes), InputError);
  EXPECT_THROW(trained_gcv(*network, {set.X, set.Y, Matrix::Identity(10, 10)}, descent_of(*network, set)),
               InputError);
}

TEST(TrainedGcv, GoesOnFromItsCheckpointToTheSameBits) {
  const TrainingSet set = small_set(40, 3, 1, 0.5);
  const auto network = network_of("relu:12", 3);
  const std::string path = (std::filesystem::temp_directory_path() / "gradflow-twins.safetensors").string();
  TrainedGcvOptions options = descent_of(*network, set);
  options.follows_rate = true;
  options.max_steps = 100;
  const TrainedGcv whole = trained_gcv(*network, set, options);

  options.checkpoint = path;
  options.seconds_between_checkpoints = 0.0;
  options.fingerprint = "test";
  const auto resumed = interrupted([&](Progress& progress) {
    options.progress = &progress;
    return trained_gcv(*network_of("relu:12", 3), set, options);
  });

  EXPECT_GT(resumed.interruptions, 2);
  EXPECT_EQ(resumed.result.gcv, whole.gcv);
  EXPECT_EQ(resumed.result.dof, whole.dof);
  EXPECT_EQ(resumed.result.steps, whole.steps);
  EXPECT_FALSE(std::filesystem::exists(path + ".part"));
  options.fingerprint = "another";
  EXPECT_THROW(trained_gcv(*network, set, options), InputError);
  std::filesystem::remove(path);
}

TEST(TrainedGcv, IsTheSameForAnyNumberOfThreads) {
  const TrainingSet set = small_set(50, 3);
  TrainedGcvOptions options;
  options.trainer.optimiser.learning_rate = 0.1;
  options.follows_rate = true;
  options.max_steps = 200;
  std::vector<std::vector<double>> curves;
  for (const int threads : {1, 2}) {
    set_threads(threads);
    const auto network = network_of("relu:40x2", 3);
    curves.push_back(trained_gcv(*network, set, options).gcv);
  }
  set_threads(0);

  EXPECT_EQ(curves[0], curves[1]);
}

TEST(Train, GoesToTheTimeThatTheTwinsSay) {
  const TrainingSet set = small_set(80, 4, 1, 1.0);
  const auto network = network_of("tanh:20", 4);
  TrainRequest request;
  request.stop = TrainingStop::follow_gdf;

  const TrainReport report = train(*network, set, request);

  EXPECT_EQ(report.outcome, Outcome::converged);
  ASSERT_TRUE(report.trained_gcv.has_value());
  const TrainedGcv& gcv = *report.trained_gcv;
  EXPECT_NEAR(report.run.time, gcv.point(), 1e-9 * report.run.time);
  // The network is the one that the twins were trained beside, but for steps shortened to look at it.
  EXPECT_NEAR(2.0 * report.loss * 80.0 / 79.0, gcv.at_best(gcv.mean_square), 0.01 * report.loss);
}

TEST(Train, FollowsTheUsedFreedomBeyondTheRowsOfAMatrix) {
  const TrainingSet set = small_set(InitialFlow::most_rows + 1, 3, 1, 1.0);
  const auto network = network_of("relu:4", 3);
  TrainRequest request;
  request.stop = TrainingStop::follow_gdf;
  request.max_steps = 60;
  request.watch = false;

  const TrainReport report = train(*network, set, request);

  ASSERT_TRUE(report.trained_gcv.has_value());
  EXPECT_EQ(report.trained_gcv->freedom, InitialFlow::most_rows);
  EXPECT_EQ(report.outcome, Outcome::iteration_limit);
}

}  // namespace
}  // namespace gradflow
