// Intervals and densities calibrated by leave-one-out errors: normal errors, planted heavy tails, transforms,
// weights, and where there are none.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/special_values.h"
#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/data/column_table.h"
#include "gradflow/model/fitted_model.h"

namespace gradflow {
namespace {

using testing::HasSubstr;
using testing::Not;

enum class SampleErrors { normal, student };  // of variance 1, of 3 degrees of freedom

// y = 4 + sin 2 x1 + x2 + e / 2; `positive`: its exponential.
struct CalibrationSample {
  Matrix X;
  Vector y, w;
  ColumnTable table;

  CalibrationSample(Index n, std::uint64_t seed, SampleErrors errors, bool positive = false) {
    RandomStream random(seed, "calibrated predictions");
    X = random.normals(n, 3);
    y = 4.0 + (2.0 * X.col(0).array()).sin() + X.col(1).array();
    for (double& each : y) {
      const double heavy = std::sqrt(random.normals(3).squaredNorm() / 3.0);
      each += 0.5 * random.normal() / (errors == SampleErrors::student ? heavy : 1.0);
    }
    if (positive) y = y.array().exp();
    w = Vector::Constant(n, 3.0);
    table.add(X.data(), n, X.cols(), 1, n);
    table.columns.push_back({.name = "w", .numbers = w.data()});
    table.columns.push_back({.name = "y", .numbers = y.data()});
  }
  CalibrationSample(const CalibrationSample&) = delete;
  CalibrationSample& operator=(const CalibrationSample&) = delete;

  Job job() const {
    Job job;
    job.source.columns = &table;
    job.dataset.target = std::string("y");
    job.dataset.exclude = {"w"};
    return job;
  }
  FittedModel model() const {
    const Job ours = job();
    return make_model(ours, run(ours));
  }
};

Predictions predicted(FittedModel& model, const CalibrationSample& fresh, double level, IntervalKind kind) {
  model.level = level;
  return predict(model, encode(model.recipe, fresh.table), {}, {.interval = kind});
}

double coverage(FittedModel& model, const CalibrationSample& fresh, double level, IntervalKind kind) {
  const Predictions p = predicted(model, fresh, level, kind);
  return ((p.lower.array() <= fresh.y.array()) && (fresh.y.array() <= p.upper.array())).cast<double>().mean();
}

double mean_log_density(FittedModel& model, const CalibrationSample& fresh, IntervalKind kind) {
  return log_densities(model, predicted(model, fresh, 0.95, kind), fresh.y).mean();
}

// Of responses without noise s2 goes to 0, and the flow, stopped before it interpolates, misses its own rows
// by many of the deviations that `ridge` promises.
TEST(CalibratedPredictions, OfCopiesOfTrainingRowsAreHonestWhereNoiseIsNotIdentified) {
  CalibrationSample noiseless(120, 4, SampleErrors::normal);
  noiseless.y = noiseless.X.col(0).array().abs();
  FittedModel model = noiseless.model();
  for (const IntervalKind kind : {IntervalKind::model, IntervalKind::calibrated}) {
    const Predictions own = predicted(model, noiseless, 0.95, kind);
    const Vector z = (noiseless.y - own.location).array() / own.scale.array();

    EXPECT_GT(own.misfit, 4.0 * model.ridge_variance);
    EXPECT_LT(std::sqrt(z.squaredNorm() / 120.0), 2.0);  // by the formula
    EXPECT_THAT(own.warnings, testing::Contains(HasSubstr("misses its own rows")));
  }
}

TEST(CalibratedPredictions, AllowForNoMisfitWhereNoiseIsIdentified) {
  const CalibrationSample noisy(120, 4, SampleErrors::normal);
  FittedModel model = noisy.model();

  const Predictions own = predicted(model, noisy, 0.95, IntervalKind::model);
  EXPECT_EQ(own.misfit, 0.0);
  EXPECT_THAT(own.warnings, Not(testing::Contains(HasSubstr("misses its own rows"))));
}

TEST(CalibratedPredictions, AreTheModelsTimesWhatItsLeftOutErrorsSay) {
  const CalibrationSample sample(80, 1, SampleErrors::normal), fresh(10, 2, SampleErrors::normal);
  FittedModel model = sample.model();

  const Predictions ours = predict(model, encode(model.recipe, fresh.table)),
                    plain = predicted(model, fresh, 0.95, IntervalKind::model);

  ASSERT_EQ(default_interval(model), IntervalKind::calibrated);
  EXPECT_EQ(ours.interval, IntervalKind::calibrated);
  const double factor = model.calibration.factor;
  for (Index i = 0; i < 10; ++i) {
    EXPECT_DOUBLE_EQ(ours.mean(i), plain.mean(i));
    EXPECT_DOUBLE_EQ(ours.sd(i), factor * plain.sd(i));
    EXPECT_NEAR(ours.upper(i) - ours.lower(i),
                2.0 * model.calibration.half_width(0.95, ours.dof) * plain.scale(i), 1e-10);
  }
  EXPECT_EQ(ours.widening, factor);
  EXPECT_THAT(ours.statements.front(), HasSubstr("Errors of 80 rows, each predicted from the others"));
}

// Six data sets of 120 rows, 400 new ones each: the standard error of a coverage is below 1.4 points (from
// the shared fits, 50 new rows' worth of independence each), so 4.5 points are beyond 3 of them.
TEST(CalibratedPredictions, CoverAsPromisedWithNormalErrors) {
  double factor = 0.0;
  std::array<double, 3> covered{};
  const std::array levels{0.5, 0.8, 0.95};
  for (std::uint64_t r = 1; r <= 6; ++r) {
    const CalibrationSample sample(120, r, SampleErrors::normal), fresh(400, 100 + r, SampleErrors::normal);
    FittedModel model = sample.model();
    factor += model.calibration.factor / 6.0;
    for (std::size_t i = 0; i < levels.size(); ++i)
      covered[i] += coverage(model, fresh, levels[i], IntervalKind::calibrated) / 6.0;
  }

  EXPECT_NEAR(factor, 1.0, 0.05);
  for (std::size_t i = 0; i < levels.size(); ++i) EXPECT_NEAR(covered[i], levels[i], 0.045) << levels[i];
}

TEST(CalibratedPredictions, FindPlantedHeavyTails) {
  const CalibrationSample sample(400, 1, SampleErrors::student), fresh(1500, 2, SampleErrors::student);
  FittedModel model = sample.model();

  const double half = coverage(model, fresh, 0.5, IntervalKind::calibrated),
               most = coverage(model, fresh, 0.95, IntervalKind::calibrated),
               too_many = coverage(model, fresh, 0.5, IntervalKind::model);

  EXPECT_FALSE(model.calibration.nearly_normal());
  EXPECT_NEAR(half, 0.5, 0.05);
  EXPECT_NEAR(most, 0.95, 0.025);
  EXPECT_GT(too_many, 0.55);
  EXPECT_GT(mean_log_density(model, fresh, IntervalKind::calibrated),
            mean_log_density(model, fresh, IntervalKind::model) + 0.03);
}

// The trapezoidal rule over 300 standard deviations, beyond which Student's t of 397 degrees of freedom has
// nothing.
TEST(CalibratedPredictions, HaveADensityOfIntegralOneThatGivesTheIntervalItsLevel) {
  const CalibrationSample sample(400, 1, SampleErrors::student), fresh(1, 2, SampleErrors::student);
  FittedModel model = sample.model();
  const Predictions p = predicted(model, fresh, 0.8, IntervalKind::calibrated);
  constexpr Index nodes = 60001;
  const Vector y = Vector::LinSpaced(nodes, p.mean(0) - 150.0 * p.scale(0), p.mean(0) + 150.0 * p.scale(0));
  Predictions same = p;
  for (Vector* part : {&same.mean, &same.location, &same.scale})
    *part = Vector::Constant(nodes, (part == &same.scale ? p.scale : p.location)(0));

  const Vector density = log_densities(model, same, y).array().exp();

  const double step = y(1) - y(0);
  double inside = 0.0;
  for (Index i = 0; i < nodes; ++i)
    inside += y(i) >= p.lower(0) && y(i) <= p.upper(0) ? step * density(i) : 0.0;
  EXPECT_NEAR(step * density.sum(), 1.0, 1e-6);
  EXPECT_NEAR(inside, 0.8, 2.0 * step * density.maxCoeff());
}

TEST(CalibratedPredictions, AreTransformedBack) {
  const CalibrationSample sample(150, 3, SampleErrors::student, true),
      fresh(20, 4, SampleErrors::student, true);
  Job job = sample.job();
  job.choice.transform = TransformKind::box_cox;
  job.choice.lambda = 0.0;
  FittedModel model = make_model(job, run(job));

  const Predictions p = predicted(model, fresh, 0.8, IntervalKind::calibrated),
                    plain = predicted(model, fresh, 0.8, IntervalKind::model);

  const double q = model.calibration.half_width(0.8, p.dof);
  for (Index i = 0; i < 20; ++i) {
    EXPECT_NEAR(model.transform.forward(p.upper(i)), p.location(i) + q * plain.scale(i), 1e-9);
    EXPECT_NEAR(model.transform.forward(p.lower(i)), p.location(i) - q * plain.scale(i), 1e-9);
  }
}

TEST(CalibratedPredictions, DoNotChangeWithTheUnitOfTheWeights) {
  const CalibrationSample sample(100, 5, SampleErrors::student);
  Job job = sample.job();
  job.dataset.exclude.clear();
  job.dataset.row_weights = std::string("w");

  const FittedModel weighted = make_model(job, run(job)), plain = sample.model();

  EXPECT_NEAR(weighted.calibration.factor, plain.calibration.factor, 1e-6);
  EXPECT_NEAR(weighted.calibration.gain, plain.calibration.gain, 1e-3);
}

// The same errors without eigenvectors, by tau and s2 that agree to what the Krylov engine promises of them.
TEST(CalibratedPredictions, OfAKrylovFitAreThoseOfTheDenseOne) {
  CalibrationSample sample(300, 8, SampleErrors::student);
  sample.w = RandomStream(8, "weights").normals(300).array().exp();  // the table reads it
  for (const char* weights : {"", "w"}) {
    Job job = sample.job();
    if (*weights != 0) job.dataset.exclude.clear();
    job.dataset.covariates = {"x3"};
    job.dataset.row_weights = weights;
    const ErrorCalibration dense = run(job).calibration;
    job.compute.engine = EngineChoice::krylov;

    const JobResult result = run(job);

    ASSERT_TRUE(result.analysis.krylov);
    ASSERT_TRUE(result.calibration.known()) << result.calibration.reason;
    EXPECT_EQ(result.calibration.rows, 300);
    EXPECT_EQ(result.calibration.sampled_from, 0);
    EXPECT_NEAR(result.calibration.factor, dense.factor, 1e-3 * dense.factor);
    EXPECT_NEAR(result.calibration.half_width(0.95, infinity), dense.half_width(0.95, infinity), 5e-3);
    EXPECT_NEAR(result.calibration.gain, dense.gain, 0.05 * dense.gain);
  }
}

// A sample's errors have the distribution of all, and the result says that it is one.
TEST(CalibratedPredictions, OfAKrylovFitAreOfASampleWhereThePlanSaysSo) {
  const CalibrationSample sample(900, 9, SampleErrors::student);
  Job job = sample.job();
  job.compute.engine = EngineChoice::krylov;
  PreparedJob prepared = prepare(job, question_of(job));
  ASSERT_EQ(prepared.plan.calibration_rows, 900);
  prepared.plan.calibration_rows = 450;

  const FittedModel model = make_model(job, run_prepared(job, std::move(prepared)));

  EXPECT_EQ(model.calibration.rows, 450);
  EXPECT_EQ(model.calibration.sampled_from, 900);
  EXPECT_NEAR(model.calibration.factor, 1.0, 0.1);
  EXPECT_FALSE(model.calibration.nearly_normal());
  EXPECT_THAT(model.calibration.sentence(),
              HasSubstr("Errors of 450 of 900 rows, each predicted from the others of this sample"));
  EXPECT_EQ(FittedModel::parse(model.bytes(), "a.model").calibration.sentence(),
            model.calibration.sentence());
  EXPECT_EQ(default_interval(model), IntervalKind::calibrated);
}

TEST(CalibratedPredictions, OfAKrylovFitAreNotMadeWithoutRowsForItAndSayWhy) {
  const CalibrationSample sample(80, 10, SampleErrors::normal);
  Job job = sample.job();
  job.compute.engine = EngineChoice::krylov;
  PreparedJob prepared = prepare(job, question_of(job));
  prepared.plan.calibration_rows = 0;

  const JobResult result = run_prepared(job, std::move(prepared));

  EXPECT_THAT(result.calibration.sentence(), HasSubstr("were not calibrated: the plan has no rows for it"));
}

TEST(CalibratedPredictions, AreNotMadeWithANoiseModelAndSayWhy) {
  const CalibrationSample sample(80, 6, SampleErrors::student);
  Job job = sample.job();
  job.noise.kind = NoiseModelKind::student;
  job.noise.dof = 4.0;
  FittedModel model = make_model(job, run(job));

  EXPECT_FALSE(model.calibration.known());
  EXPECT_EQ(default_interval(model), IntervalKind::model);
  EXPECT_THAT([&] { predicted(model, sample, 0.95, IntervalKind::calibrated); },
              testing::ThrowsMessage<InputError>(HasSubstr(
                  "the model's errors were not calibrated (the weights of the noise model have seen")));
}

TEST(CalibratedPredictions, AreTheSameFromAFile) {
  const CalibrationSample sample(400, 1, SampleErrors::student), fresh(5, 8, SampleErrors::student);
  FittedModel model = sample.model();
  ASSERT_FALSE(model.calibration.nearly_normal());

  FittedModel loaded = FittedModel::parse(model.bytes(), "a.model");

  EXPECT_EQ(loaded.calibration.rows, 400);
  EXPECT_EQ(predicted(loaded, fresh, 0.9, IntervalKind::calibrated).upper,
            predicted(model, fresh, 0.9, IntervalKind::calibrated).upper);
  EXPECT_EQ(loaded.calibration.sentence(), model.calibration.sentence());
}

}  // namespace
}  // namespace gradflow
