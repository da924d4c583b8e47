// Networks with an output for each class: trained, watched, stopped and written.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "gradflow/base/error.h"
#include "gradflow/inference/stopping.h"
#include "gradflow/training/export.h"
#include "gradflow/training/train.h"
#include "training/test_problems.h"
#include "training/validation_stop.h"

namespace gradflow {
namespace {

using namespace training_tests;

/// Three classes whose centres are 2 sqrt(3) `distance` apart in the plane, with normal noise cut to a length
/// of at most 1; the classes are separable by lines where distance > 2 / sqrt(3).
TrainingSet three_classes(Index n, double distance, std::uint64_t seed = 1) {
  RandomStream random(seed, "three classes");
  TrainingSet set{Matrix(n, 2), {}, Matrix(n, 0)};
  Labels labels;
  for (Index i = 0; i < n; ++i) {
    const double angle = 2.0 * 3.14159265358979 / 3.0 * static_cast<double>(i % 3);
    Vector noise = random.normals(2);
    if (noise.norm() > 1.0) noise.normalize();
    set.X.row(i) << distance * std::cos(angle) + noise(0), distance * std::sin(angle) + noise(1);
    labels.push_back(i % 3);
  }
  set.Y = indicators(labels, 3);
  return set;
}

TrainRequest cross_entropy(Index steps) {
  TrainRequest request;
  request.trainer.loss = TrainingLoss::cross_entropy;
  request.trainer.optimiser.kind = OptimiserKind::adam;
  request.learning_rate = 0.02;
  request.stop = TrainingStop::steps;
  request.steps = steps;
  return request;
}

// Each row at a distance of its own from the origin: the classes stay apart, their features are spread.
TrainingSet sectors(Index n, std::uint64_t seed) {
  TrainingSet set = three_classes(n, 1.6, seed);
  RandomStream random(seed, "distances");
  for (Index i = 0; i < n; ++i) set.X.row(i) *= random.uniform(0.2, 3.0);
  return set;
}

TEST(Classes, ThatAreSeparableAreLearnedAndCollapse) {
  const TrainingSet set = sectors(60, 1);
  const auto network = make_trainable(parse_architecture("tanh:20x2"), 2, 3, 1);
  TrainRequest request = cross_entropy(1500);
  request.held_out = sectors(90, 2);

  const TrainReport report = train(*network, set, request);

  EXPECT_EQ(report.accuracy, 1.0);
  EXPECT_LT(report.loss, 1e-3);
  const ClassLook &first = *report.watch.front().classes, &last = *report.watch.back().classes;
  EXPECT_EQ(last.training_accuracy, 1.0);
  EXPECT_EQ(last.collapse.nearest, 0.0);
  EXPECT_GT(last.held_out_accuracy, 0.95);
  EXPECT_GT(last.margins.least, 0.0);
  EXPECT_LT(last.collapse.spread, 0.1 * first.collapse.spread);
  for (std::size_t k = 1; k < report.watch.size(); ++k)
    EXPECT_LT(report.watch[k].classes->collapse.spread, 1.1 * report.watch[k - 1].classes->collapse.spread);
  EXPECT_NE(report.verdict->collapse.find("(NC1)"), std::string::npos);
}

TEST(Classes, OfOneOutputOrOfNumbersAreNone) {
  const TrainingSet set = small_set(40, 3);
  const auto network = network_of("tanh:8", 3);
  TrainRequest request;
  request.stop = TrainingStop::steps;
  request.steps = 3;

  const TrainReport report = train(*network, set, request);

  EXPECT_TRUE(std::isnan(report.accuracy));
  EXPECT_FALSE(report.watch.back().classes);
  EXPECT_EQ(report.verdict->collapse, "");
}

// A linear network's outputs have parameters of their own, so that one operator for all is exact.
TEST(Classes, OfANetworkLinearInItsWeightsFollowTheSharedFlow) {
  TrainingSet set = three_classes(45, 1.0);
  set.design = Matrix::Ones(45, 1);
  const auto network = make_trainable(parse_architecture("linear,ntk"), 2, 3, 1);
  TrainerOptions options;
  options.optimiser.learning_rate = 1e-3 / largest_eigenvalue(*network, set);
  Trainer trainer(*network, set, options);
  const InitialFlow flow(trainer);
  Watch watch(trainer, &flow, {}, {});

  run_training(trainer, {.max_steps = 2000, .monitors = {&watch}});

  EXPECT_NEAR(flow.largest_eigenvalue() / largest_eigenvalue(*network, set), 1.0, 1e-3);
  for (const WatchRecord& r : watch.records()) EXPECT_LT(r.distance, 1e-3);
  EXPECT_NEAR(flow.matched_time(flow.residual(3.0)), 3.0, 1e-5);
}

// The rules see the K columns as one response of K n entries, under an operator that has H in K blocks.
TEST(Classes, OfSquaredLossStopWhereTheFlowOfTheIndicatorsDoes) {
  TrainingSet set = three_classes(60, 0.7);
  set.design = Matrix::Ones(60, 1);
  const auto network = make_trainable(parse_architecture("relu:60,ntk"), 2, 3, 1, Centring::copies);
  const ProjectedSpectrum one = spectrum_of(*network, set);
  SpectralData all{.values = one.values.replicate(3, 1), .z = one.coordinates(set.Y).reshaped()};
  all.trace = 3.0 * one.trace;
  const double expected = risk_time(all, fit_reml(all, {.kind = PathKind::ridge}), {});
  TrainRequest request;

  const TrainReport report = train(*network, set, request);

  EXPECT_NEAR(report.planned_time, expected, 1e-6 * expected);
  EXPECT_NEAR(report.run.time, report.planned_time, 1e-9 * expected);
  EXPECT_GT(report.accuracy, 0.6);
  request.stop = TrainingStop::reml_flow;
  const auto other = make_trainable(parse_architecture("relu:60,ntk"), 2, 3, 1, Centring::copies);
  EXPECT_NEAR(train(*other, set, request).planned_time / flow_time(all), 1.0, 1e-6);
  request.stop = TrainingStop::follow;
  EXPECT_THROW(train(*network, set, request), InputError);
}

TEST(Classes, EachGivesItsPartOfTheRowsHeldOutAndKeepsOne) {
  Matrix Y = Matrix::Zero(112, 4);  // 100, 8, 3 and 1 rows
  for (Index i = 0; i < 112; ++i) Y(i, i < 100 ? 0 : i < 108 ? 1 : i < 111 ? 2 : 3) = 1.0;
  for (const auto& [fraction, expected] :
       {std::pair{0.2, Vector{{20, 2, 1, 0}}}, std::pair{0.9, Vector{{90, 7, 2, 0}}}}) {
    const RowSplit split = validation_split(Y, fraction, 5);
    EXPECT_EQ(Vector(Y(split.held, Eigen::all).colwise().sum()), expected);
    EXPECT_EQ(split.held.size() + split.kept.size(), 112u);
    std::vector<Index> all = split.held;
    all.insert(all.end(), split.kept.begin(), split.kept.end());
    std::ranges::sort(all);
    for (Index i = 0; i < 112; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)], i);
    EXPECT_EQ(validation_split(Y, fraction, 5).held, split.held);
    EXPECT_NE(validation_split(Y, fraction, 6).held, split.held);
  }
  // Numbers are one class, and some row is held out of however few.
  EXPECT_EQ(validation_split(Vector::LinSpaced(10, 0.1, 0.9), 0.2, 1).held.size(), 2u);
  EXPECT_EQ(validation_split(Vector::LinSpaced(3, 0.1, 0.9), 0.01, 1).held.size(), 1u);
}

TEST(Classes, AreValidatedOnTheRowsHeldOut) {
  const TrainingSet set = three_classes(90, 1.0);
  TrainRequest request = cross_entropy(0);
  request.stop = TrainingStop::validation;
  request.max_steps = 400;
  const auto one = make_trainable(parse_architecture("relu:20"), 2, 3, 1),
             two = make_trainable(parse_architecture("relu:20"), 2, 3, 1);

  const TrainReport refit = train(*one, set, request);
  request.refit = false;
  const TrainReport kept = train(*two, set, request);

  EXPECT_EQ(refit.validation_accuracy, kept.validation_accuracy);
  EXPECT_GT(kept.validation_accuracy, 0.5);
  EXPECT_EQ(refit.run.steps, kept.run.steps);
  EXPECT_EQ(refit.accuracy, accuracy(one->output(set.X), labels_of_indicators(set.Y)));
  ASSERT_FALSE(kept.watch.empty());
  EXPECT_LE(kept.watch.back().step, kept.run.steps);
  EXPECT_LE(kept.validation_loss, kept.watch.back().held_out_loss);
}

TEST(Classes, GoOnFromACheckpointWithTheSameBits) {
  const TrainingSet set = three_classes(60, 0.9);
  for (const TrainingLoss loss : {TrainingLoss::cross_entropy, TrainingLoss::half_mse}) {
    const auto network = make_trainable(parse_architecture("tanh:7"), 2, 3, 1),
               other = make_trainable(parse_architecture("tanh:7"), 2, 3, 1);
    TrainerOptions options;
    options.loss = loss;
    options.batch = 20;
    options.optimiser.kind = OptimiserKind::adam;
    options.optimiser.learning_rate = 0.01;
    Trainer trainer(*network, set, options), resumed(*other, set, options);
    Watch watch(trainer, nullptr, set, {}), after(resumed, nullptr, set, {});
    run_training(trainer, {.max_steps = 31, .monitors = {&watch}});
    TensorFile file;
    trainer.save(file);
    watch.save(file);

    resumed.restore(file);
    after.restore(file);
    run_training(trainer, {.max_steps = 100, .monitors = {&watch}});
    run_training(resumed, {.max_steps = 100, .monitors = {&after}});

    EXPECT_EQ(network->parameters(), other->parameters());
    ASSERT_EQ(watch.records().size(), after.records().size());
    for (std::size_t k = 0; k < watch.records().size(); ++k) {
      const ClassLook &a = *watch.records()[k].classes, &b = *after.records()[k].classes;
      EXPECT_EQ(a.collapse.spread, b.collapse.spread);
      EXPECT_EQ(a.collapse.duality, b.collapse.duality);
      EXPECT_EQ(a.margins.median, b.margins.median);
      EXPECT_EQ(a.margins.scale, b.margins.scale);
      EXPECT_EQ(a.held_out_accuracy, b.held_out_accuracy);
      EXPECT_EQ(watch.records()[k].feature_movement, after.records()[k].feature_movement);
      EXPECT_EQ(watch.records()[k].stable_rank, after.records()[k].stable_rank);
    }
    EXPECT_EQ(watch.verdict().collapse, after.verdict().collapse);
  }
}

/// Networks of four classes on 12 features or arrays of as many entries.
std::unique_ptr<TrainableNetwork> of_four_classes(const std::string& text, Centring centring) {
  if (!is_layered_text(text)) return make_trainable(parse_architecture(text), 12, 4, 7, centring);
  return make_trainable(LayeredNetwork::initialise(parse_layered_architecture(text, 4), 12, 7), centring);
}
const char* const class_networks[] = {
    "linear,ntk",
    "relu:6x2",
    "gelu:5,ntk",
    "tanh:4-3,no-bias",
    "input:2x6 conv1d:3:3 relu res(conv1d:3:3) avgpool dense:5 tanh dense:4",
    "res(dense:12 relu dense:12) layernorm dense:4,ntk"};

TEST(ClassNetwork, IsTheTrainedFunctionWhoseLastLayerIsLinearInTheFeatures) {
  const Matrix X = RandomStream(3, "outputs").normals(11, 12);
  for (const std::string text : class_networks)
    for (const Centring centring : {Centring::none, Centring::copies}) {
      const auto network = of_four_classes(text, centring);
      RandomStream random(4, text);
      network->set_parameters(network->parameters() + 0.1 * random.normals(network->parameters().size()));
      const Matrix f = network->output(X);
      const std::vector<Matrix> features = network->features(X);

      const Matrix rest = f - (features.empty() ? X : features.back()) * network->last_weights().transpose();

      EXPECT_LT((rest.rowwise() - rest.row(0)).norm(), 1e-12) << text;  // the bias
      if (text.starts_with("res") && centring == Centring::copies)
        EXPECT_THROW(network->layered(), InputError) << text;
      else
        EXPECT_LT((network->layered().scores(X) - f).norm(), 1e-12) << text;
    }
}

TEST(ClassNetwork, IsTheSameFunctionInRawUnitsAndInItsFile) {
  RandomStream random(1, "export");
  const std::string path =
      (std::filesystem::temp_directory_path() / "gradflow-class-export.safetensors").string();
  for (const std::string text : class_networks) {
    const auto network = of_four_classes(text, Centring::none);
    network->set_parameters(network->parameters() + 0.1 * random.normals(network->parameters().size()));
    const Matrix X = random.normals(10, 12);
    Vector center = random.normals(12), scale = random.normals(12).cwiseAbs().array() + 0.5;
    const Vector intercept = random.normals(4);
    if (text.starts_with("input")) {
      center = Vector::Constant(12, 0.7);
      scale = Vector::Constant(12, 1.5);
    }
    const Matrix encoded = (X.rowwise() - center.transpose()).array().rowwise() / scale.transpose().array();
    const Matrix expected = network->output(encoded).rowwise() + intercept.transpose();

    const LayeredNetwork raw = in_raw_units(network->layered(), center, scale, 0.0, 1.0, intercept);
    write_state_dict(path, raw, {});
    const LayeredNetwork read =
        LayeredNetwork::from_file(path, parse_layered_architecture(raw.text(), 4), 12);

    EXPECT_LT((raw.scores(X) - expected).norm(), 1e-12 * expected.norm()) << text;
    EXPECT_EQ(read.scores(X), raw.scores(X)) << text;
    EXPECT_THROW(in_raw_units(network->layered(), center, scale, 0.0, 1.0, Vector::Zero(3)), InputError);
  }
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace gradflow
