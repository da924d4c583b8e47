#include "gradflow/model/choice_average.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "gradflow/data/safetensors.h"
#include "gradflow/model/fitted_model.h"

namespace gradflow {
namespace {

using testing::HasSubstr;

// Two features that matter and some that do not.
struct AveragedSample {
  Matrix X;
  Vector y;
  ColumnTable table;

  explicit AveragedSample(Index n, std::uint64_t seed, double shift = 0.0) {
    RandomStream random(seed, "choice average");
    X = random.normals(n, 7);
    y = (2.0 * X.col(0).array()).sin() + X.col(1).array() + 0.5 * random.normals(n).array() + shift;
    table.add(X.data(), n, X.cols(), 1, n);
    table.columns.push_back({.name = "y", .numbers = y.data()});
  }
  AveragedSample(const AveragedSample&) = delete;
  AveragedSample& operator=(const AveragedSample&) = delete;

  Job job(int folds = 4) const {
    Job job;
    job.source.columns = &table;
    job.dataset.target = std::string("y");
    job.choice.select = true;
    job.choice.candidates = {"ntk:erf:1"};
    job.choice.guard_folds = 0;
    job.choice.folds = 0;
    job.choice.average = folds;
    return job;
  }
  FittedModel model(int folds = 4) const {
    const Job asked = job(folds);
    return make_model(asked, run(asked));
  }
};

// Each fit as a model of its own.
std::vector<FittedModel> fits_of(const FittedModel& model) {
  std::vector<FittedModel> fits{model};
  fits.front().others.clear();
  fits.insert(fits.end(), model.others.begin(), model.others.end());
  return fits;
}

TEST(ChoiceAverage, PredictsTheMeanOfItsFits) {
  const AveragedSample sample(60, 1), fresh(15, 2);
  const FittedModel model = sample.model();
  const NewRows rows = encode(model.recipe, fresh.table);

  const Predictions ours = predict(model, rows);

  ASSERT_EQ(model.others.size(), 4U);
  const MixtureCalibration& calibration = model.mixture_calibration;
  ASSERT_TRUE(calibration.known());
  Matrix means(15, 5), sds(15, 5), densities(15, 5), shares(15, 5);
  Index k = 0;
  for (const FittedModel& fit : fits_of(model)) {
    const Predictions alone = predict(fit, rows);
    means.col(k) = alone.mean;
    sds.col(k) = alone.sd;
    densities.col(k) = log_densities(fit, alone, fresh.y).array().exp();
    for (Index i = 0; i < 15; ++i)
      shares(i, k) = alone.shape.cdf((fresh.y(i) - alone.location(i)) / alone.scale(i), alone.dof);
    ++k;
  }
  const Vector log_density = log_densities(model, ours, fresh.y);
  EXPECT_GT((means.col(0) - means.col(1)).norm(), 1e-3 * means.norm());  // they differ
  for (Index i = 0; i < 15; ++i) {
    const double mean = means.row(i).mean();
    const double variance = sds.row(i).squaredNorm() / 5.0 + (means.row(i).array() - mean).square().mean();
    EXPECT_NEAR(ours.mean(i), mean, 1e-12);
    EXPECT_NEAR(ours.sd(i), calibration.factor() * std::sqrt(variance), 1e-12);
    const double share = shares.row(i).mean();
    EXPECT_NEAR(
        log_density(i),
        std::log(densities.row(i).mean()) + calibration.log_density_ratio(normal_score(share, 1.0 - share)),
        1e-5);  // shares are interpolated
  }
  EXPECT_THAT(ours.statements.back(), HasSubstr("the mixture of the fits' distributions"));
  EXPECT_THAT(ours.statements.front(), HasSubstr("the mean of 5 fits"));
}

TEST(ChoiceAverage, EndsItsIntervalsAtQuantilesOfTheMixture) {
  const AveragedSample sample(60, 3), fresh(10, 4);
  FittedModel model = sample.model();
  model.level = 0.8;
  const NewRows rows = encode(model.recipe, fresh.table);
  const double tail = model.mixture_calibration.mixture_share(0.1);
  ASSERT_GT(std::abs(tail - 0.1), 1e-6);  // far beyond what the ends are known to

  for (const auto& [interval, share] :
       {std::pair{IntervalKind::model, 0.1}, std::pair{IntervalKind::calibrated, tail}}) {
    const Predictions ours = predict(model, rows, {}, {.interval = interval});
    for (const auto& [end, probability] :
         {std::pair{&ours.lower, share}, std::pair{&ours.upper, 1.0 - share}})
      for (Index i = 0; i < 10; ++i) {
        double sum = 0.0;
        for (const FittedModel& fit : fits_of(model)) {
          const Predictions alone = predict(fit, rows, {}, {.interval = interval});
          sum += alone.shape.cdf(((*end)(i)-alone.location(i)) / alone.scale(i), alone.dof);
        }
        EXPECT_NEAR(sum / 5.0, probability, 1e-8);
      }
  }
}

// Between the ends of its interval of 90 % there is 0.9 of it, under a transform as without one: by the
// trapezoidal rule on copies of one row.
TEST(ChoiceAverage, HasADensityThatAgreesWithItsIntervals) {
  constexpr Index nodes = 2001;
  for (const double offset : {0.0, 6.0}) {
    const AveragedSample sample(60, 25, offset);
    AveragedSample fresh(nodes, 26, offset);
    fresh.X = fresh.X.row(0).replicate(nodes, 1).eval();  // the table reads X
    Job job = sample.job(3);
    if (offset > 0.0) job.choice.transform = TransformKind::box_cox;
    FittedModel model = make_model(job, run(job));
    model.level = 0.9;
    const Predictions ours = predict(model, encode(model.recipe, fresh.table));
    ASSERT_TRUE(ours.mixture_calibration.known());

    const Vector y = Vector::LinSpaced(nodes, ours.lower(0), ours.upper(0));
    const Vector density = log_densities(model, ours, y).array().exp();

    const double step = y(1) - y(0);
    EXPECT_NEAR(step * (density.sum() - 0.5 * (density(0) + density(nodes - 1))), 0.9, 1e-5) << offset;
  }
}

// Left-out errors know what choosing costs: the fits' spread is not added to them.
TEST(ChoiceAverage, TakesTheMeanEndsOfIntervalsFromRowsLeftOut) {
  const AveragedSample sample(60, 5), fresh(10, 6);
  Job job = sample.job();
  job.choice.folds = 3;
  const FittedModel model = make_model(job, run(job));
  const NewRows rows = encode(model.recipe, fresh.table);

  const Predictions ours = predict(model, rows);

  EXPECT_EQ(ours.interval, IntervalKind::cross_validated);
  EXPECT_THAT(ours.statements[1], HasSubstr("without each of 3 folds"));
  const double q = model.left_out.quantile(0.95);
  Vector half = Vector::Zero(10);
  for (const FittedModel& fit : fits_of(model))
    half += predict(fit, rows, {}, {.interval = IntervalKind::model}).scale * q / 5.0;
  EXPECT_LT((ours.upper - ours.mean - half).cwiseAbs().maxCoeff(), 1e-12);
  EXPECT_LT((ours.mean - ours.lower - half).cwiseAbs().maxCoeff(), 1e-12);
}

TEST(ChoiceAverage, AveragesFitsOfOtherTransformsInUnitsOfTheResponse) {
  const AveragedSample sample(60, 7, 6.0), fresh(10, 8, 6.0);
  Job job = sample.job(3);
  job.choice.transform = TransformKind::box_cox;
  const FittedModel model = make_model(job, run(job));
  const NewRows rows = encode(model.recipe, fresh.table);

  const Predictions ours = predict(model, rows, {}, {.interval = IntervalKind::model});

  EXPECT_NE(model.transform.lambda, model.others[0].transform.lambda);
  Vector mean = Vector::Zero(10), density = Vector::Zero(10);
  for (const FittedModel& fit : fits_of(model)) {
    const Predictions alone = predict(fit, rows, {}, {.interval = IntervalKind::model});
    mean += alone.mean / 4.0;
    density += log_densities(fit, alone, fresh.y).array().exp().matrix() / 4.0;
  }
  EXPECT_LT((ours.mean - mean).cwiseAbs().maxCoeff(), 1e-12);
  EXPECT_LT((log_densities(model, ours, fresh.y).array() - density.array().log()).abs().maxCoeff(), 1e-12);
  EXPECT_TRUE((ours.lower.array() < ours.mean.array()).all());
  EXPECT_TRUE((ours.mean.array() < ours.upper.array()).all());
}

TEST(ChoiceAverage, LeavesDistributionFreeIntervalsToTheModelsOwnFit) {
  const AveragedSample sample(60, 9), fresh(5, 10);
  const FittedModel model = sample.model();
  const NewRows rows = encode(model.recipe, fresh.table);

  const Predictions ours = predict(model, rows, {}, {.interval = IntervalKind::jackknife_plus}),
                    alone = predict(fits_of(model)[0], rows, {}, {.interval = IntervalKind::jackknife_plus});

  EXPECT_EQ(ours.mean, alone.mean);
  EXPECT_EQ(ours.lower, alone.lower);
  EXPECT_THAT(ours.statements.back(), HasSubstr("alone, not of the mean of fits"));
}

TEST(ChoiceAverage, IsTheSameFromItsFile) {
  const AveragedSample sample(40, 11), fresh(6, 12);
  const FittedModel model = sample.model(3);
  const NewRows rows = encode(model.recipe, fresh.table);

  const FittedModel read = FittedModel::parse(model.bytes(), "model");

  ASSERT_EQ(read.others.size(), 3U);
  const Predictions before = predict(model, rows), after = predict(read, rows);
  EXPECT_EQ(before.mean, after.mean);
  EXPECT_EQ(before.upper, after.upper);
  EXPECT_EQ(log_densities(model, before, fresh.y), log_densities(read, after, fresh.y));
  const auto description = [](const FittedModel& fitted) {
    return parse_safetensors(fitted.bytes(), "model").metadata.at("gradflow_model");
  };
  FittedModel uncalibrated = model;
  uncalibrated.mixture_calibration = {};
  EXPECT_THAT(description(model), HasSubstr("\"format_version\":9"));
  EXPECT_THAT(description(uncalibrated), HasSubstr("\"format_version\":7"));
  TensorFile file = parse_safetensors(model.bytes(), "model");
  EXPECT_FALSE(file.tensors.contains("others.0.X_train"));  // once in the file
  file.tensors.erase("others.1.alpha");
  EXPECT_THROW(FittedModel::parse(safetensors_bytes(file, "model"), "model"), InputError);
}

FittedModel model_with(int count, const AveragedSample& sample) {
  set_threads(count);
  FittedModel model = sample.model();
  set_threads(0);
  return model;
}

TEST(ChoiceAverage, ChoosesTheSameForAnyNumberOfThreads) {
  const AveragedSample sample(50, 13);

  const FittedModel one = model_with(1, sample), two = model_with(2, sample);

  for (std::size_t k = 0; k < 4; ++k) EXPECT_EQ(one.others[k].operator_text, two.others[k].operator_text);
}

TEST(ChoiceAverage, ChoosesWithoutTheRowsOfAFold) {
  const AveragedSample sample(40, 14);
  const Job job = sample.job();
  const PreparedJob prepared = prepare(job, Question::every_rule);

  ASSERT_TRUE(prepared.average.has_value());
  EXPECT_EQ(prepared.average->data.y.size(), 40);
  std::vector<double> first;
  for (const ChosenWithout& without : prepared.average->choices) {
    EXPECT_EQ(without.problem, "");
    first.push_back(without.kernel.terms[0].relevance(0));
  }
  std::sort(first.begin(), first.end());
  EXPECT_LT(first.front(), first.back());  // other rows, other parameters
  EXPECT_TRUE(prepared.average->warnings.empty());
}

// The square of the mean's error is the mean square of the fits' less their spread (Krogh and Vedelsby 1995).
TEST(ChoiceAverage, HasTheMeanErrorOfItsFitsLessTheirSpread) {
  const AveragedSample sample(60, 21), fresh(100, 121);
  const FittedModel model = sample.model(5);
  const NewRows rows = encode(model.recipe, fresh.table);
  const auto mean_of = [&](const FittedModel& fit) {
    return predict(fit, rows, {}, {.interval = IntervalKind::none}).mean;
  };
  const Vector mean = mean_of(model);
  double errors = 0.0, spread = 0.0;
  for (const FittedModel& fit : fits_of(model)) {
    errors += (mean_of(fit) - fresh.y).squaredNorm() / 6.0;
    spread += (mean_of(fit) - mean).squaredNorm() / 6.0;
  }

  EXPECT_GT(spread, 1e-3 * errors);
  EXPECT_NEAR((mean - fresh.y).squaredNorm(), errors - spread, 1e-10 * errors);
}

TEST(ChoiceAverage, CalibratesTheMeanOfFitsByErrorsOfRowsThatHadNoPartInTheChoice) {
  const AveragedSample sample(60, 22), fresh(5, 122);
  const FittedModel model = sample.model();

  const MixtureCalibration& ours = model.mixture_calibration;
  EXPECT_EQ(ours.folds, 4);
  EXPECT_EQ(ours.scores.rows, 60);
  double scale = 1.0;
  for (const FittedModel& fit : fits_of(model)) scale *= std::pow(fit.calibration.factor, 0.2);
  EXPECT_NEAR(ours.own_factor, scale, 1e-12);
  EXPECT_EQ(model.calibration.factor, sample.model(0).calibration.factor);  // as one fit alone has them
  EXPECT_GT(ours.scores.factor, 0.8);
  EXPECT_LT(ours.scores.factor, 1.05);
  EXPECT_EQ(FittedModel::parse(model.bytes(), "model").mixture_calibration.sentence(), ours.sentence());
  const Predictions predicted = predict(model, encode(model.recipe, fresh.table));
  EXPECT_EQ(predicted.statements[1], ours.sentence());
}

// Each row by the kernel that was chosen without its fold, and by all other rows: what is left out must be
// that row's, so that a response no kernel foresees shows in the errors.
TEST(ChoiceAverage, HasLargerErrorsOfRowsThatHadNoPartInTheChoice) {
  double mean = 0.0;
  for (std::uint64_t seed = 31; seed < 41; ++seed) {
    const MixtureCalibration found = AveragedSample(40, seed).model().mixture_calibration;
    mean += std::log(found.left_out_factor / found.own_factor) / 10.0;
  }
  EXPECT_GT(mean, 0.01);
  EXPECT_LT(mean, 0.5);
}

TEST(ChoiceAverage, HasTheErrorsOfReplicatesByTheFoldOfTheirGroup) {
  AveragedSample sample(80, 23);
  sample.X.bottomRows(20) = sample.X.topRows(20);  // the table reads X
  const FittedModel model = sample.model();

  EXPECT_EQ(model.rows(), 60);
  EXPECT_EQ(model.calibration.rows, 60);
  EXPECT_EQ(model.mixture_calibration.folds, 4);
  EXPECT_GT(model.mixture_calibration.left_out_factor, 0.5);
  EXPECT_LT(model.mixture_calibration.left_out_factor, 2.0);
}

TEST(ChoiceAverage, IsNotMadeWithoutAChoiceAndNotOfTooManyRows) {
  const AveragedSample sample(40, 15);
  Job job = sample.job();
  job.choice.select = false;
  EXPECT_EQ(job.choice.average_of(40), 0);
  job.choice.select = true;
  job.choice.average.reset();
  EXPECT_EQ(job.choice.average_of(2000), ChoiceOptions::default_average);
  EXPECT_EQ(job.choice.average_of(2001), 0);
  job.choice.average = 1;
  EXPECT_THROW(job.choice.check(), InputError);
  job.choice.average = 3;
  job.noise.kind = NoiseModelKind::student;
  EXPECT_THROW(run(job), InputError);
}

}  // namespace
}  // namespace gradflow
