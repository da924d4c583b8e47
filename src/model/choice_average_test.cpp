#include "gradflow/model/choice_average.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/math/distributions/students_t.hpp>
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
  Matrix means(15, 5), sds(15, 5), densities(15, 5);
  Index k = 0;
  for (const FittedModel& fit : fits_of(model)) {
    const Predictions alone = predict(fit, rows);
    means.col(k) = alone.mean;
    sds.col(k) = alone.sd;
    densities.col(k++) = log_densities(fit, alone, fresh.y).array().exp();
  }
  EXPECT_GT((means.col(0) - means.col(1)).norm(), 1e-3 * means.norm());  // they differ
  for (Index i = 0; i < 15; ++i) {
    const double mean = means.row(i).mean();
    const double variance = sds.row(i).squaredNorm() / 5.0 + (means.row(i).array() - mean).square().mean();
    EXPECT_NEAR(ours.mean(i), mean, 1e-12);
    EXPECT_NEAR(ours.sd(i), std::sqrt(variance), 1e-12);
  }
  EXPECT_LT((log_densities(model, ours, fresh.y).array() - densities.rowwise().mean().array().log())
                .abs()
                .maxCoeff(),
            1e-12);
  EXPECT_THAT(ours.statements.back(), HasSubstr("the mixture of the fits' distributions"));
  EXPECT_THAT(ours.statements.front(), HasSubstr("the mean of 5 fits"));
}

TEST(ChoiceAverage, EndsItsIntervalsAtQuantilesOfTheMixture) {
  const AveragedSample sample(60, 3), fresh(10, 4);
  FittedModel model = sample.model();
  model.level = 0.8;
  const NewRows rows = encode(model.recipe, fresh.table);

  const Predictions ours = predict(model, rows, {}, {.interval = IntervalKind::model});

  for (const auto& [end, probability] : {std::pair{&ours.lower, 0.1}, std::pair{&ours.upper, 0.9}})
    for (Index i = 0; i < 10; ++i) {
      double sum = 0.0;
      for (const FittedModel& fit : fits_of(model)) {
        const Predictions alone = predict(fit, rows, {}, {.interval = IntervalKind::model});
        sum += boost::math::cdf(boost::math::students_t(alone.dof),
                                ((*end)(i)-alone.location(i)) / alone.scale(i));
      }
      EXPECT_NEAR(sum / 5.0, probability, 1e-9);
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

  const Predictions ours = predict(model, rows);

  EXPECT_NE(model.transform.lambda, model.others[0].transform.lambda);
  Vector mean = Vector::Zero(10), density = Vector::Zero(10);
  for (const FittedModel& fit : fits_of(model)) {
    const Predictions alone = predict(fit, rows);
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
  TensorFile file = parse_safetensors(model.bytes(), "model");
  EXPECT_THAT(file.metadata.at("gradflow_model"), HasSubstr("\"format_version\":7"));
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

// The errors of the kernel that all rows chose, as one fit alone has them.
double own_factor(const AveragedSample& sample) { return sample.model(0).calibration.factor; }

TEST(ChoiceAverage, CalibratesTheMeanOfFitsByErrorsOfRowsThatHadNoPartInTheChoice) {
  const AveragedSample sample(60, 22), fresh(5, 122);
  const FittedModel model = sample.model();

  const ErrorCalibration& ours = model.calibration;
  EXPECT_EQ(ours.folds, 4);
  EXPECT_EQ(ours.own_factor, own_factor(sample));
  double scale = 1.0;
  for (const FittedModel& fit : fits_of(model)) scale *= std::pow(fit.calibration.own_factor, 0.2);
  for (const FittedModel& fit : fits_of(model)) {
    const ErrorCalibration& theirs = fit.calibration;
    EXPECT_EQ(theirs.left_out_factor, ours.left_out_factor);
    EXPECT_EQ(theirs.average_factor, ours.average_factor);
    EXPECT_NEAR(theirs.factor, ours.average_factor * ours.left_out_factor / scale * theirs.own_factor, 1e-12);
  }
  EXPECT_GT(ours.average_factor, 0.8);
  EXPECT_LT(ours.average_factor, 1.05);
  EXPECT_EQ(FittedModel::parse(model.bytes(), "model").calibration.sentence(), ours.sentence());
  const Predictions predicted = predict(model, encode(model.recipe, fresh.table));
  EXPECT_THAT(predicted.statements[1], HasSubstr("times by those chosen without their fold of 4"));
}

// Each row by the kernel that was chosen without its fold, and by all other rows: what is left out must be
// that row's, so that a response no kernel foresees shows in the errors.
TEST(ChoiceAverage, HasLargerErrorsOfRowsThatHadNoPartInTheChoice) {
  double mean = 0.0;
  for (std::uint64_t seed = 31; seed < 41; ++seed) {
    const AveragedSample sample(40, seed);
    mean += std::log(sample.model().calibration.left_out_factor / own_factor(sample)) / 10.0;
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
  EXPECT_EQ(model.calibration.folds, 4);
  EXPECT_GT(model.calibration.left_out_factor, 0.5);
  EXPECT_LT(model.calibration.left_out_factor, 2.0);
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
