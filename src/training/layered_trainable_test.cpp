// Networks of layers as what is trained; the inputs have 24 entries.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/special_values.h"
#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/network/layered_pass.h"
#include "gradflow/training/run.h"
#include "gradflow/training/train.h"
#include "training/test_problems.h"

namespace gradflow {
namespace {

using namespace training_tests;

const char* const every_layer =
    "input:2x3x4 conv2d:4:3 layernorm:affine gelu res(conv2d:4:3 tanh layernorm) avgpool dense:6 sin "
    "res(dense:6 relu layernorm:affine) dense:1";
const std::vector<std::string> layered_architectures{
    every_layer,
    std::string(every_layer) + ",ntk,sb2=0.3",
    std::string(every_layer) + ",no-bias",
    "input:2x12 conv1d:3:5:2 erf layernorm flatten dense:1",
    "input:24 dense:7 layernorm leaky-relu@0.2 res(dense:4 abs dense:7) cos dense:1",
    "input:24 dense:1"};

std::unique_ptr<TrainableNetwork> layers_of(const std::string& text, Centring centring = Centring::none,
                                            Index inputs = 24) {
  return make_trainable(LayeredNetwork::initialise(
                            parse_layered_architecture(text, LayeredArchitecture::any_outputs), inputs, 5),
                        centring);
}

/// The network with K outputs instead of one.
std::string with_outputs(std::string text, Index K) {
  const std::size_t last = text.rfind("dense:1");
  return text.replace(last, 7, fmt::format("dense:{}", K));
}

TEST(LayeredTrainable, PullsBackWhatCentralDifferencesSay) {
  std::vector<std::string> all = layered_architectures;
  for (const std::string& text : layered_architectures) all.push_back(with_outputs(text, 3));
  for (const std::string& text : all)
    for (const Centring centring : all_centrings) {
      RandomStream random(3, text);
      const auto network = layers_of(text, centring);
      const Matrix X = random.normals(9, 24), U = random.normals(9, network->outputs());
      const Vector start = network->parameters(), v = random.normals(start.size());
      const auto pass = network->make_pass();
      pass->forward(X);
      const double slope = pass->pull_back(U).dot(v);
      constexpr double h = 1e-6;

      network->set_parameters(start + h * v);
      const Matrix up = network->output(X);
      network->set_parameters(start - h * v);
      const double difference = ((up - network->output(X)).array() * U.array()).sum() / (2.0 * h);

      EXPECT_NEAR(slope, difference, 1e-6 * std::max(1.0, std::abs(slope))) << text << to_string(centring);
    }
}

TEST(LayeredTrainable, TheGradientOfTheLossIsThatOfCentralDifferencesInEveryParameter) {
  const TrainingSet set = small_set(12, 24);
  const auto network = layers_of(every_layer);
  const Trainer trainer(*network, set, {.optimiser = {.learning_rate = 0.1}});
  const auto pass = network->make_pass();
  pass->forward(set.X);
  const Vector gradient = -pass->pull_back(trainer.residual()) / 12.0;
  const Vector start = network->parameters();
  constexpr double h = 1e-5;
  Vector differences(start.size());

  for (Index k = 0; k < start.size(); ++k) {
    const auto loss = [&](double step) {
      network->set_parameters(start + step * Vector::Unit(start.size(), k));
      return Trainer(*network, set, {.optimiser = {.learning_rate = 0.1}}).loss();
    };
    differences(k) = (loss(h) - loss(-h)) / (2.0 * h);
  }

  EXPECT_LT((gradient - differences).norm(), 1e-6 * gradient.norm());
}

TEST(LayeredTrainable, AStepOfGradientDescentIsEtaTimesTheResidualPulledBack) {
  const TrainingSet set = small_set(40, 24);
  const LayeredNetwork start = LayeredNetwork::initialise(parse_layered_architecture(every_layer), 24, 5);
  const auto network = make_trainable(start);
  Trainer trainer(*network, set, {.optimiser = {.learning_rate = 0.1}});
  const Vector r = trainer.residual().col(0), theta = network->parameters();

  trainer.step();

  const Vector expected = theta + 0.1 / 40.0 * start.vjp(set.X, r).flatten();
  EXPECT_LT((network->parameters() - expected).norm(), 1e-14 * expected.norm());
}

// The two round differently, and training may amplify rounding: by how much, the same training from weights
// that differ in their last place says.
TEST(LayeredTrainable, ADenseDescriptionTrainsToTheDenseNetworksWeights) {
  const TrainingSet set = small_set(50, 4);
  for (const char* text : {"tanh:8x2", "gelu:6,ntk", "sin:5,no-bias"})
    for (const Centring centring : all_centrings) {
      const Architecture architecture = parse_architecture(text);
      const auto dense = network_of(text, 4, centring);
      const auto network = layers_of(to_string(layered(architecture)), centring, 4);
      ASSERT_EQ(network->parameters(), dense->parameters()) << text;
      for (const TrainingStop stop : {TrainingStop::reml_risk, TrainingStop::follow}) {
        TrainRequest request;
        request.stop = stop;
        request.max_steps = 200;
        const Vector start = dense->parameters();
        const Vector last_place = machine_epsilon * RandomStream(8, text).normals(start.size());
        dense->set_parameters(start + start.cwiseProduct(last_place));
        train(*dense, set, request);
        const Vector twin = dense->parameters();
        dense->set_parameters(start);
        const TrainReport of_dense = train(*dense, set, request), of_layers = train(*network, set, request);

        const double amplified = (twin - dense->parameters()).norm() / dense->parameters().norm();
        const double tolerance = 1e-9 + 100.0 * amplified;
        EXPECT_LT(amplified, 1e-6) << text;
        EXPECT_EQ(of_layers.run.steps, of_dense.run.steps) << text;
        EXPECT_LT((network->parameters() - dense->parameters()).norm(),
                  tolerance * dense->parameters().norm())
            << text;
        ASSERT_EQ(of_layers.watch.size(), of_dense.watch.size());
        const WatchRecord &last = of_layers.watch.back(), &expected = of_dense.watch.back();
        EXPECT_NEAR(last.drift, expected.drift, 10.0 * tolerance * (1.0 + expected.drift)) << text;
        ASSERT_EQ(last.feature_movement.size(), expected.feature_movement.size());
        for (std::size_t l = 0; l < expected.feature_movement.size(); ++l)
          EXPECT_NEAR(last.feature_movement[l], expected.feature_movement[l], 10.0 * tolerance) << text;
        ASSERT_EQ(last.stable_rank.size(), expected.stable_rank.size());
        for (std::size_t l = 0; l < expected.stable_rank.size(); ++l)
          EXPECT_NEAR(last.stable_rank[l], expected.stable_rank[l],
                      100.0 * tolerance * expected.stable_rank[l])
              << text;
        dense->set_parameters(start);
        network->set_parameters(start);
      }
    }
}

TEST(LayeredTrainable, CopiesAndAZeroLastLayerStartAtZero) {
  const Matrix X = RandomStream(4, "x").normals(20, 24);
  const auto one = layers_of(every_layer), two = layers_of(every_layer, Centring::copies),
             zero = layers_of(every_layer, Centring::zero_last_layer);

  EXPECT_EQ(two->output(X).norm(), 0.0);
  EXPECT_EQ(zero->output(X).norm(), 0.0);
  EXPECT_LT((two->kernel(X) - one->kernel(X)).norm(), 1e-13 * one->kernel(X).norm());
  EXPECT_GT(zero->kernel(X).norm(), 0.0);
}

TEST(LayeredTrainable, OfSeveralOutputsIsEachOneWithTheMeanOfTheirKernels) {
  RandomStream random(6, "test");
  const Matrix X = random.normals(8, 24), X_new = random.normals(3, 24);
  for (const std::string& text : layered_architectures) {
    const auto network = layers_of(with_outputs(text, 3));
    const LayeredNetwork all = network->layered();
    Matrix kernel = Matrix::Zero(8, 8), cross = Matrix::Zero(3, 8);
    for (Index k = 0; k < 3; ++k) {
      const auto one = make_trainable(all.one_output(k));
      EXPECT_LT((network->output(X).col(k) - one->output(X)).norm(), 1e-14 * one->output(X).norm()) << text;
      kernel += one->kernel(X) / 3.0;
      cross += one->kernel_cross(X_new, X) / 3.0;
    }

    EXPECT_LT((network->kernel(X) - kernel).norm(), 1e-13 * kernel.norm()) << text;
    EXPECT_LT((network->kernel_cross(X_new, X) - cross).norm(), 1e-13 * cross.norm()) << text;
    EXPECT_THROW(all.one_output(3), InputError);
    EXPECT_THROW(all.output(X), InputError);
    EXPECT_THROW(all.vjp(X, Vector::Zero(8)), InputError);
    EXPECT_THROW(network->products(X), InputError);
  }
}

TEST(LayeredTrainable, TwoCopiesSideBySideAreTheSameFunction) {
  RandomStream random(7, "test");
  const Matrix X = random.normals(20, 24);
  for (const char* text :
       {"input:2x3x4 conv2d:3:3:2 relu res(conv2d:3:3 relu) flatten dense:4 tanh dense:1,ntk",
        "input:2x3x4 layernorm avgpool dense:5 erf res(dense:4 relu dense:5) dense:1",
        "input:2x12 res(tanh) conv1d:2:3 gelu avgpool dense:1,no-bias", "input:24 dense:1"}) {
    for (const Index K : {1, 3}) {
      const auto pair = layers_of(with_outputs(text, K), Centring::copies);
      pair->set_parameters(pair->parameters() + 0.3 * random.normals(pair->parameters().size()));

      EXPECT_LT((pair->layered().scores(X) - pair->output(X)).norm(), 1e-13 * pair->output(X).norm())
          << text << K;
    }
  }
  for (const char* text : {"input:24 dense:6 layernorm dense:1", "input:24 res(dense:24) dense:1"})
    EXPECT_THROW(layers_of(text, Centring::copies)->layered(), InputError) << text;
}

TEST(LayeredTrainable, ADenseNetworkIsOneOfLayersToo) {
  RandomStream random(8, "test");
  const Matrix X = random.normals(20, 4);
  for (const char* text : {"tanh:8x2,ntk", "linear", "relu:5-3,no-bias"})
    for (const Centring centring : all_centrings) {
      const auto network = network_of(text, 4, centring);
      network->set_parameters(network->parameters() + random.normals(network->parameters().size()));

      EXPECT_LT((network->layered().output(X) - network->output(X)).norm(), 1e-13 * network->output(X).norm())
          << text;
    }
  EXPECT_THROW(layers_of(every_layer)->dense(), InputError);
}

TEST(LayeredTrainable, KeptAndRepeatedForwardPassesAndAnyNumberOfThreadsGiveTheSameBits) {
  RandomStream random(9, "test");
  const Matrix X = random.normals(1500, 24);
  const Vector u = random.normals(1500);
  const LayeredNetwork network = LayeredNetwork::initialise(parse_layered_architecture(every_layer), 24, 5);
  const Vector output = network.output(X), gradient = network.vjp(X, u).flatten();
  for (const double most_kept : {0.0, LayeredPass::usual_most_kept})
    for (const int count : {1, 3}) {
      set_threads(count);
      LayeredPass pass(network, most_kept);

      EXPECT_EQ(pass.forward(X), output);
      EXPECT_EQ(pass.pull_back(u).flatten(), gradient);
      EXPECT_EQ(pass.pull_back(u).flatten(), gradient);
      EXPECT_THROW(pass.pull_back(u.head(3)), InputError);
    }
  set_threads(0);
}

TEST(LayeredTrainable, ResumedAtAnyStepItGoesOnWithTheSameBits) {
  const TrainingSet set = small_set(60, 24);
  TrainerOptions options;
  options.optimiser.kind = OptimiserKind::adam;
  options.batch = 16;
  const auto whole = layers_of(every_layer, Centring::copies);
  Trainer reference(*whole, set, options);
  run_training(reference, {.max_steps = 12});
  for (const Index until : {1, 5, 11}) {
    const auto first = layers_of(every_layer, Centring::copies);
    Trainer part(*first, set, options);
    run_training(part, {.max_steps = until});
    TensorFile file;
    part.save(file);

    const auto second = layers_of(every_layer, Centring::copies);
    Trainer rest(*second, set, options);
    rest.restore(file);
    run_training(rest, {.max_steps = 12});

    EXPECT_EQ(second->parameters(), whole->parameters()) << until;
  }
}

TEST(LayeredTrainable, EveryStopAndOptimiserLowersTheLoss) {
  TrainingSet set = small_set(60, 4, 2);
  set.Y += 3.0 * set.X.col(0);
  for (const TrainingStop stop : {TrainingStop::steps, TrainingStop::reml_risk, TrainingStop::reml_flow,
                                  TrainingStop::follow, TrainingStop::follow_gcv, TrainingStop::validation})
    for (const OptimiserKind kind : {OptimiserKind::gd, OptimiserKind::adam}) {
      const auto network = layers_of("dense:8 layernorm tanh res(dense:8 relu) dense:1", Centring::none, 4);
      TrainRequest request;
      request.trainer.optimiser.kind = kind;
      request.stop = stop;
      request.steps = 60;
      request.max_steps = 60;
      const TrainReport report = train(*network, set, request);

      EXPECT_LT(report.loss, report.start_loss) << to_string(stop) << to_string(kind);
    }
}

TEST(LayeredTrainable, RefusesWrongShapes) {
  const auto network = layers_of(every_layer);

  EXPECT_THROW(network->set_parameters(Vector::Zero(3)), InputError);
  EXPECT_THROW(network->output(Matrix::Zero(2, 5)), InputError);
}

}  // namespace
}  // namespace gradflow
