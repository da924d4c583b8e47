#include "gradflow/training/following_stop.h"

#include <gtest/gtest.h>

#include "gradflow/base/error.h"
#include "gradflow/inference/stopping.h"
#include "training/test_problems.h"

namespace gradflow {
namespace {

using namespace training_tests;

TrainerOptions descent_at(double rate) {
  TrainerOptions options;
  options.optimiser.learning_rate = rate;
  return options;
}

SpectralData data_of(const ProjectedSpectrum& M, const Vector& w) {
  return {M.values, M.coordinates(w), Vector(), M.trace};
}

/// The one-shot time of either rule at a fixed operator.
double one_shot(FollowKind kind, const SpectralData& data) {
  if (kind == FollowKind::flow) return flow_time(data);
  if (kind == FollowKind::gcv) return gcv_minimiser(data, StoppingOptions{});
  return risk_time(data, fit_reml(data, Path{.kind = PathKind::ridge}), StoppingOptions{});
}

TEST(FollowingStop, ElapsedAndRemainingAreTheOneShotTimeWhileTheOperatorStays) {
  const TrainingSet set = small_set(60, 4);
  for (const FollowKind kind : {FollowKind::flow, FollowKind::risk, FollowKind::gcv})
    for (const ComponentsAt components : {ComponentsAt::present, ComponentsAt::initial}) {
      const auto network = network_of("linear,ntk", 4);  // its kernel does not move
      const ProjectedSpectrum M = spectrum_of(*network, set);
      Trainer trainer(*network, set, descent_at(1e-4 / M.values(0)));
      const double time = one_shot(kind, data_of(M, trainer.residual()));
      FollowingStop stop(trainer, {.kind = kind, .components = components, .growth = 1.7});

      const TrainingRun run = run_training(trainer, {.max_steps = 1000000, .monitors = {&stop}});

      ASSERT_GT(time, 0.0);
      EXPECT_GT(stop.records().size(), 4U);
      // Explicit steps of eta lambda_1 = 1e-4 leave r that much from the flow.
      for (const FollowRecord& record : stop.records())
        EXPECT_NEAR(record.time + record.remaining, time, 1e-3 * time) << static_cast<int>(kind);
      EXPECT_EQ(run.end, TrainingEnd::monitor);
      EXPECT_NEAR(run.time, time, 0.021 * time);
    }
}

TEST(FollowingStop, RestartingTheLikelihoodFromTheResidualAloneStopsAtHalf) {
  const TrainingSet set = small_set(60, 4);
  const auto network = network_of("linear,ntk", 4);
  const ProjectedSpectrum M = spectrum_of(*network, set);
  const SpectralData data = data_of(M, set.Y.array() - set.Y.mean());
  const double time = flow_time(data);
  const Vector r = (-0.5 * time * M.values.array()).exp() * data.z.array();

  EXPECT_NEAR(flow_time({M.values, r, Vector(), M.trace}), 0.0, 1e-9 * time);
  EXPECT_NEAR(remaining_flow_time(M.values, data.z, r, M.trace).time, 0.5 * time, 1e-9 * time);
}

TEST(FollowingStop, RemainsNothingWhenTheFitAccountsForAllOfTheStart) {
  const Vector values{{3.0, 1.0, 0.1}}, w = Vector::Ones(3);

  const Remaining overshot = remaining_flow_time(values, w, -w, values.sum());
  EXPECT_EQ(overshot.outcome, Outcome::at_zero);
  EXPECT_EQ(overshot.time, 0.0);
}

TEST(FollowingStop, EndsBeforeTheNoiseVarianceFallsToZero) {
  // w'exp(-uM)r = 2 exp(-3u) - exp(-u/10) is zero at u = log(2)/2.9, and the criterion falls all the way.
  const Vector values{{3.0, 0.1}}, w{{1.0, 1.0}}, r{{2.0, -1.0}};

  const Remaining left = remaining_flow_time(values, w, r, 3.1);

  EXPECT_EQ(left.outcome, Outcome::on_boundary);
  EXPECT_NEAR(left.time, std::log(2.0) / 2.9, 1e-10);
}

TEST(FollowingStop, MatchesTheTimeOfOptimisersWithoutOne) {
  // Adam on a linear network with tiny steps and epsilon so large that it is gradient descent scaled by
  // 1/epsilon: the flow at time k eta / epsilon, once the first moments have filled.
  const TrainingSet set = small_set(60, 4);
  const auto network = network_of("linear,ntk", 4);
  const ProjectedSpectrum M = spectrum_of(*network, set);
  TrainerOptions options;
  options.optimiser.kind = OptimiserKind::adam;
  options.optimiser.epsilon = 1e6;
  options.optimiser.beta1 = 0.0;
  options.optimiser.learning_rate = 1e6 * 1e-3 / M.values(0);
  Trainer trainer(*network, set, options);
  const double time = one_shot(FollowKind::risk, data_of(M, trainer.residual()));
  FollowingStop stop(trainer, {.growth = 1.2});

  run_training(trainer, {.max_steps = 100000, .monitors = {&stop}});

  const FollowRecord& last = stop.records().back();
  EXPECT_NEAR(last.time, static_cast<double>(last.step) * 1e-3 / M.values(0), 3e-3 * last.time);
  EXPECT_NEAR(last.time + last.remaining, time, 0.2 * time);
  EXPECT_GT(trainer.steps(), 0);
}

TEST(FollowingStop, GoesOnFromACheckpointWithTheSameBits) {
  const TrainingSet set = small_set(40, 4);
  const auto run = [&](const std::string& interrupted_at) {
    const auto network = network_of("tanh:30", 4, Centring::copies);
    Trainer trainer(*network, set, descent_at(0.05));
    FollowingStop stop(trainer, {.least_steps = 60});
    if (!interrupted_at.empty()) {
      TensorFile file;
      const auto first_network = network_of("tanh:30", 4, Centring::copies);
      Trainer first(*first_network, set, descent_at(0.05));
      FollowingStop first_stop(first, {.least_steps = 60});
      run_training(first, {.max_steps = std::stol(interrupted_at), .monitors = {&first_stop}});
      first.save(file);
      first_stop.save(file);
      trainer.restore(file);
      stop.restore(file);
    }
    run_training(trainer, {.max_steps = 200, .monitors = {&stop}});
    return std::make_pair(Vector(network->parameters()), stop.records().back().remaining);
  };

  EXPECT_EQ(run(""), run("37"));
}

TEST(FollowingStop, IsForSquaredLossAndOneOutput) {
  TrainingSet set = small_set(20, 4);
  set.design.resize(20, 0);
  set.Y = Matrix::Constant(20, 2, 0.5);
  const auto network = make_trainable(parse_architecture("tanh:3"), 4, 2, 1);
  TrainerOptions options;
  options.loss = TrainingLoss::cross_entropy;
  Trainer trainer(*network, set, options);

  EXPECT_THROW(FollowingStop(trainer, {}), InputError);
}

}  // namespace
}  // namespace gradflow
