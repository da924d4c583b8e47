#include "gradflow/training/planned_time.h"

#include <gtest/gtest.h>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/training/initial_flow.h"
#include "gradflow/training/train.h"
#include "training/test_problems.h"

namespace gradflow {
namespace {

using namespace training_tests;

std::unique_ptr<TrainableNetwork> layers(Index inputs) {
  return make_trainable(
      LayeredNetwork::initialise(parse_layered_architecture("dense:12 tanh res(dense:12 relu) dense:1"),
                                 inputs, 3),
      Centring::copies);
}

TEST(PlannedTime, IsThatOfTheSpectrumAtTheStart) {
  const TrainingSet set = small_set(150, 4);
  std::vector<std::unique_ptr<TrainableNetwork>> networks;
  networks.push_back(network_of("tanh:20", 4));
  networks.push_back(network_of("relu:20x2,ntk", 4, Centring::copies));
  networks.push_back(layers(4));
  for (const auto& network : networks) {
    const Trainer trainer(*network, set, {.optimiser = {.learning_rate = 1e-3}});
    const InitialFlow flow(trainer);
    const RemlFit ridge = fit_reml(flow.data(), Path{.kind = PathKind::ridge});
    const double by_flow = flow_time(flow.data()), by_risk = risk_time(flow.data(), ridge, StoppingOptions{});

    const StoppingRule path = planned_time(trainer, RuleKind::reml_path);
    const StoppingRule risk = planned_time(trainer, RuleKind::reml_risk);

    EXPECT_NEAR(path.time, by_flow, 1e-8 * by_flow) << network->description();
    EXPECT_EQ(path.log_time_standard_error, 0.0);
    ASSERT_TRUE(usable(risk.outcome)) << risk.reason;
    EXPECT_NEAR(std::log(risk.time / by_risk), 0.0, 1e-3 + 4.0 * risk.log_time_standard_error)
        << network->description();
  }
}

TEST(PlannedTime, OfTwoCopiesTakesTheMeanOfTheirOperators) {
  const TrainingSet set = small_set(30, 4);
  const auto network = network_of("tanh:6", 4, Centring::copies);
  RandomStream random(1, "moved copies");
  network->set_parameters(network->parameters() + 0.1 * random.normals(network->parameters().size()));
  const Matrix H = network->kernel(set.X) / 30.0, V = random.normals(30, 3);
  const auto products = network->products(set.X);
  Matrix HV(30, 3);

  products->apply(V, HV);

  EXPECT_LT((HV - H * V).norm(), 1e-12 * HV.norm());
  EXPECT_LT((products->diagonal() - H.diagonal()).norm(), 1e-12 * H.diagonal().norm());
}

TEST(PlannedTime, IsTheTrainingsBeyondTheRowsOfTheSpectrum) {
  const TrainingSet set = small_set(InitialFlow::most_rows + 1, 3, 1, 1.0);
  TrainRequest request;
  request.stop = TrainingStop::reml_flow;
  request.max_steps = 3;
  request.watch = false;
  const auto network = network_of("relu:6", 3);
  const Trainer trainer(*network, set, {.optimiser = {.learning_rate = 1e-3}});
  const double expected = planned_time(trainer, RuleKind::reml_path).time;

  const TrainReport report = train(*network, set, request);

  EXPECT_EQ(report.planned_time, expected);
  EXPECT_EQ(report.outcome, Outcome::iteration_limit);
  set_threads(1);
  const auto again = network_of("relu:6", 3);
  EXPECT_EQ(train(*again, set, request).planned_time, expected);
  set_threads(0);
  EXPECT_EQ(again->parameters(), network->parameters());
  request.stop = TrainingStop::follow;
  EXPECT_THROW(train(*again, set, request), InputError);
  request.stop = TrainingStop::reml_risk;
  request.trainer.optimiser.kind = OptimiserKind::adam;
  EXPECT_THROW(train(*again, set, request), InputError);
}

TEST(PlannedTime, IsForSquaredLoss) {
  TrainingSet set = small_set(20, 3);
  set.design.resize(20, 0);
  set.Y = Matrix::Ones(20, 1);
  const auto network = network_of("relu:4", 3);
  const Trainer trainer(*network, set,
                        {.optimiser = {.learning_rate = 0.1}, .loss = TrainingLoss::cross_entropy});

  EXPECT_THROW(planned_time(trainer, RuleKind::reml_risk), InputError);
}

}  // namespace
}  // namespace gradflow
