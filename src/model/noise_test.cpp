#include "gradflow/model/noise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/data/column_table.h"
#include "gradflow/data/safetensors.h"
#include "gradflow/model/fitted_model.h"

namespace gradflow {
namespace {

constexpr Index sample_rows = 60;

// Features x1, x2 and a category; the noise is Student's or grows with x2.
struct NoisySample {
  Matrix X;
  Vector y;
  ColumnTable table;

  explicit NoisySample(bool heavy) {
    RandomStream random(3, "noise model");
    X = random.normals(sample_rows, 2);
    y = X.col(0).array().sin();
    for (Index i = 0; i < sample_rows; ++i) {
      const double z = random.normal();
      y(i) += heavy ? 0.3 * z / std::sqrt(random.normals(3).squaredNorm() / 3.0)
                    : 0.3 * std::exp(0.7 * X(i, 1)) * z;
    }
    table.add(X.data(), sample_rows, 2, 1, sample_rows, {"x1", "x2"});
    std::vector<std::optional<std::string>> cities;
    for (Index i = 0; i < sample_rows; ++i)
      cities.emplace_back(i % 3 == 0 ? "Bonn" : i % 3 == 1 ? "Rome" : "Ulm");
    table.add("city", std::move(cities));
    table.columns.push_back({.name = "y", .numbers = y.data()});
  }
  NoisySample(const NoisySample&) = delete;
  NoisySample& operator=(const NoisySample&) = delete;

  Job job(const NoiseOptions& noise) const {
    Job job;
    job.source.columns = &table;
    job.dataset.target = std::string("y");
    job.noise = noise;
    return job;
  }
  FittedModel model(const NoiseOptions& noise) const {
    const Job asked = job(noise);
    return make_model(asked, run(asked));
  }
};

const NoiseOptions student{.kind = NoiseModelKind::student, .dof = 3.0};
const NoiseOptions by_x2{.kind = NoiseModelKind::variance, .on_fitted_mean = true, .columns = {"x2"}};

TEST(NoiseColumns, AreInUnitsOfTheDataAndLeaveOneIndicatorOfACategoryOut) {
  const NoisySample sample(true);
  Job job = sample.job({});
  const Dataset data = make_dataset(sample.table, job.dataset);

  const NoiseColumns columns = noise_columns(data, {"x2", "city", "#1"});

  EXPECT_EQ(columns.names, (std::vector<std::string>{"x2", "city=Rome", "city=Ulm", "x1"}));
  EXPECT_LT((columns.values.col(0) - sample.X.col(1)).cwiseAbs().maxCoeff(), 1e-12);
  EXPECT_LT((columns.values.col(3) - sample.X.col(0)).cwiseAbs().maxCoeff(), 1e-12);
  for (Index i = 0; i < sample_rows; ++i) EXPECT_NEAR(columns.values(i, 1), i % 3 == 1 ? 1.0 : 0.0, 1e-12);
  EXPECT_THROW(noise_columns(data, {"y"}), InputError);
  EXPECT_THROW(noise_columns(data, {"#9"}), InputError);
}

TEST(NoiseModel, OfASavedModelGivesTheSameBits) {
  for (const bool heavy : {true, false}) {
    const NoisySample sample(heavy);
    const FittedModel model = sample.model(heavy ? student : by_x2);
    const FittedModel again = FittedModel::parse(model.bytes(), "again");
    const NewRows rows = encode(model.recipe, sample.table);

    const Predictions first = predict(model, rows), second = predict(again, rows);

    EXPECT_EQ(again.noise.kind, heavy ? NoiseModelKind::student : NoiseModelKind::variance);
    EXPECT_EQ(again.noise.terms.size(), heavy ? 0U : 2U);
    EXPECT_EQ(first.lower, second.lower);
    EXPECT_EQ(first.upper, second.upper);
    EXPECT_EQ(log_densities(model, first, sample.y), log_densities(again, second, sample.y));
    EXPECT_EQ(again.bytes(), model.bytes());
  }
}

TEST(NoiseModel, NeedsANewerFormatAndNormalNoiseDoesNot) {
  const NoisySample sample(true);
  const auto format = [](const FittedModel& model) {
    const TensorFile file = parse_safetensors(model.bytes(), "a model");
    const nlohmann::json header = nlohmann::json::parse(file.metadata.at("gradflow_model"));
    return std::pair{header["format_version"].get<int>(), header.contains("noise")};
  };

  EXPECT_EQ(format(sample.model(student)), std::pair(4, true));
  FittedModel normal = sample.model({});
  normal.calibration = {};
  EXPECT_EQ(format(normal), std::pair(1, false));

  std::string bytes = sample.model(student).bytes();
  bytes.replace(bytes.find("\\\"dof\\\":3.0"), 11, "\\\"dof\\\":1.0");
  EXPECT_THROW(FittedModel::parse(bytes, "damaged"), InputError);
}

// Mass of the density of a new response between its interval's ends, and over the line.
TEST(NoiseModel, HasIntervalsThatHoldTheirShareOfTheDensity) {
  for (const bool heavy : {true, false}) {
    const NoisySample sample(heavy);
    FittedModel model = sample.model(heavy ? student : by_x2);
    model.level = 0.8;
    Predictions predictions = predict(model, encode(model.recipe, sample.table));
    const Index row = 7;
    const double lower = predictions.lower(row), upper = predictions.upper(row), width = upper - lower;
    predictions.location.setConstant(predictions.location(row));
    predictions.scale.setConstant(predictions.scale(row));

    double inside = 0.0;
    constexpr int steps = 40;  // of n points each; midpoints
    const double h = width / static_cast<double>(steps * sample_rows);
    for (int k = 0; k < steps; ++k) {
      const Vector y = lower + h * (0.5 + static_cast<double>(k * sample_rows) +
                                    Eigen::ArrayXd::LinSpaced(sample_rows, 0.0, sample_rows - 1));
      inside += h * log_densities(model, predictions, y).array().exp().sum();
    }

    EXPECT_NEAR(inside, 0.8, 1e-6) << heavy;
  }
}

TEST(NoiseModel, MakesTheNoiseOfARowWhatItsColumnsSay) {
  const NoisySample sample(false);
  const FittedModel model = sample.model({.kind = NoiseModelKind::variance, .columns = {"x2"}});
  const NewRows rows = encode(model.recipe, sample.table);
  ASSERT_EQ(model.noise.terms.size(), 1U);
  const NoiseModel::Term& term = model.noise.terms.front();

  const Predictions predictions = predict(model, rows);
  Index outside = 0;
  Matrix far = rows.X;
  far.col(1).head(3).setConstant(1e3);
  const Vector factors = model.noise.factors(model.recipe, far, rows.Z, predictions.mean, outside);

  EXPECT_EQ(outside, 3);
  EXPECT_NEAR(factors(5), std::exp(term.coefficient * (sample.X(5, 1) - sample.X.col(1).mean())), 1e-12);
  for (Index i = 0; i < sample_rows; ++i) {
    const double noise =
        model.ridge_variance * std::exp(term.coefficient * (sample.X(i, 1) - sample.X.col(1).mean()));
    EXPECT_NEAR(std::pow(predictions.scale(i), 2), std::pow(predictions.sd(i), 2) + noise, 1e-12);
  }
}

TEST(NoiseEstimate, LeavesTheTestThatOfNormalNoiseAndTheWeightsInTheObservations) {
  const NoisySample sample(true);

  const JobResult plain = run(sample.job({})), noisy = run(sample.job(student));

  ASSERT_TRUE(noisy.noise && noisy.noise->applied);
  EXPECT_EQ(noisy.prepared.observations.weights, noisy.noise->weights);
  EXPECT_EQ(noisy.analysis.test.p_value, plain.analysis.test.p_value);
  EXPECT_EQ(noisy.analysis.residuals.normality, plain.analysis.residuals.normality);
  EXPECT_NE(noisy.analysis.ridge.path.time, plain.analysis.ridge.path.time);
  EXPECT_FALSE(plain.noise);
  // At the weights that EM has settled on, REML's tau is the refit's, in units of the given operator.
  const double W = noisy.noise->weights.sum() / static_cast<double>(sample_rows);
  const Observations& observations = plain.prepared.observations;
  const WeightedFit fit = ridge_refit(*plain.prepared.H, FixedEffects::intercept(sample_rows),
                                      observations.y - observations.f0)(noisy.noise->weights);
  EXPECT_NEAR(noisy.analysis.ridge.path.time / W, fit.time, 1e-6 * fit.time);
  EXPECT_NEAR(noisy.analysis.ridge.noise_variance, fit.noise_variance, 1e-6 * fit.noise_variance);
}

TEST(NoiseEstimate, ThatIsNotUsableLeavesTheAnalysisOfNormalNoise) {
  const NoisySample sample(false);
  Job job = sample.job({.kind = NoiseModelKind::variance, .columns = {"x2"}});
  Vector halves(sample_rows), y = sample.X.col(0);  // half of the rows without noise
  RandomStream random(4, "halves");
  for (Index i = 0; i < sample_rows; ++i) {
    halves(i) = static_cast<double>(i % 2);
    y(i) += i % 2 == 1 ? 0.0 : random.normal();
  }
  ColumnTable table;
  table.add(sample.X.data(), sample_rows, 2, 1, sample_rows, {"x1", "x2"});
  table.columns.push_back({.name = "half", .numbers = halves.data()});
  table.columns.push_back({.name = "y", .numbers = y.data()});
  job.source.columns = &table;
  job.dataset.covariates = {"x1"};
  job.dataset.features = {"x1", "half"};
  job.operator_spec.kernel = parse_kernel_sum("linear");
  job.noise.columns = {"half"};

  const JobResult result = run(job);
  job.noise = {};
  const JobResult plain = run(job);

  ASSERT_TRUE(result.noise.has_value());
  EXPECT_FALSE(result.noise->is_usable()) << result.noise->reason;
  EXPECT_FALSE(result.noise->applied);
  EXPECT_EQ(result.prepared.observations.weights.size(), 0);
  EXPECT_EQ(result.analysis.ridge.path.time, plain.analysis.ridge.path.time);
}

TEST(NoiseEstimate, RefusesTheKrylovEngineAndImpossibleDegreesOfFreedom) {
  const NoisySample sample(true);
  Job job = sample.job(student);
  job.compute.engine = EngineChoice::krylov;
  EXPECT_THROW(run(job), InputError);
  EXPECT_NO_THROW(run_test(job));  // the noise model has no part in the test
  EXPECT_THROW(run(sample.job({.kind = NoiseModelKind::student, .dof = 2.0})), InputError);
  EXPECT_THROW(run(sample.job({.kind = NoiseModelKind::variance})), InputError);
}

TEST(NoiseModel, HasNoDistributionFreeIntervals) {
  const NoisySample sample(true);
  const FittedModel model = sample.model(student);
  EXPECT_THROW(
      predict(model, encode(model.recipe, sample.table), {}, {.interval = IntervalKind::jackknife_plus}),
      InputError);
}

}  // namespace
}  // namespace gradflow
