#include "gradflow/model/repeated_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <optional>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/data/column_table.h"
#include "gradflow/model/fitted_model.h"

namespace gradflow {
namespace {

using testing::HasSubstr;

// y = sin 2 x1 + x2 + e, with ten more features that do nothing.
struct WideSample {
  Matrix X;
  Vector y;
  ColumnTable table;

  WideSample(Index n, std::uint64_t seed, Index useless = 10) {
    RandomStream random(seed, "repeated choice");
    X = random.normals(n, 2 + useless);
    y = (2.0 * X.col(0).array()).sin() + X.col(1).array() + 0.5 * random.normals(n).array();
    table.add(X.data(), n, X.cols(), 1, n);
    table.columns.push_back({.name = "y", .numbers = y.data()});
  }
  WideSample(const WideSample&) = delete;
  WideSample& operator=(const WideSample&) = delete;

  Job job() const {
    Job job;
    job.source.columns = &table;
    job.dataset.target = std::string("y");
    job.choice.select = true;
    job.choice.candidates = {"ntk:erf:1"};
    job.choice.guard_folds = 0;  // the likelihood alone: few rows choose much
    job.choice.average = 0;      // intervals of one fit
    return job;
  }
};

double coverage(const FittedModel& model, const WideSample& fresh, IntervalKind kind) {
  const Predictions p = predict(model, encode(model.recipe, fresh.table), {}, {.interval = kind});
  return ((p.lower.array() <= fresh.y.array()) && (fresh.y.array() <= p.upper.array())).cast<double>().mean();
}

// A choice among twelve relevances from 80 rows finds a fit that the noise helped with.
TEST(RepeatedChoice, MakesIntervalsHoldWhatTheyPromiseWhereFewRowsChoseMuch) {
  constexpr int repetitions = 6;
  double known = 0.0, repeated = 0.0;
  for (int r = 0; r < repetitions; ++r) {
    const WideSample sample(80, static_cast<std::uint64_t>(1 + r)),
        fresh(300, static_cast<std::uint64_t>(101 + r));
    const Job job = sample.job();
    const FittedModel model = make_model(job, run(job));
    known += coverage(model, fresh, IntervalKind::model) / repetitions;
    repeated += coverage(model, fresh, IntervalKind::cross_validated) / repetitions;
  }

  EXPECT_LT(known, 0.92);
  EXPECT_NEAR(repeated, 0.95, 0.02);
}

TEST(RepeatedChoice, GivesThePredictionsItsIntervalByDefault) {
  const WideSample sample(80, 1), fresh(20, 2);
  const Job job = sample.job();
  const FittedModel model = make_model(job, run(job));
  const NewRows rows = encode(model.recipe, fresh.table);

  const Predictions ours = predict(model, rows),
                    plain = predict(model, rows, {}, {.interval = IntervalKind::model});

  ASSERT_EQ(model.left_out.sizes.size(), 80);
  EXPECT_EQ(model.left_out.folds, 5);
  EXPECT_EQ(default_interval(model), IntervalKind::cross_validated);
  EXPECT_EQ(ours.interval, IntervalKind::cross_validated);
  const double q = model.left_out.sizes(76);  // k = ceil(0.95 * 81) = 77
  for (Index i = 0; i < 20; ++i) {
    EXPECT_NEAR(ours.upper(i) - ours.mean(i), q * plain.scale(i), 1e-12 * std::abs(ours.upper(i)));
    EXPECT_NEAR(ours.mean(i) - ours.lower(i), q * plain.scale(i), 1e-12 * std::abs(ours.upper(i)));
    EXPECT_DOUBLE_EQ(ours.sd(i), model.left_out.widening() * plain.sd(i));
    EXPECT_DOUBLE_EQ(ours.scale(i), model.left_out.widening() * plain.scale(i));
  }
  EXPECT_EQ(ours.widening, model.left_out.widening());
  EXPECT_EQ(plain.widening, 1.0);
  ASSERT_FALSE(ours.statements.empty());
  EXPECT_THAT(ours.statements.front(), HasSubstr("without each of 5 folds"));
}

// A kernel given beforehand, which the likelihood has nothing to choose of, and noise of variance 1/w.
TEST(RepeatedChoice, OfWhatWasGivenHasErrorsOfSizeOneAlsoWithWeights) {
  constexpr Index n = 300;
  RandomStream random(5, "weighted");
  const Matrix X = random.normals(n, 2);
  Vector y(n), w(n);
  for (Index i = 0; i < n; ++i) {
    w(i) = i % 2 == 0 ? 0.1 : 4.0;
    y(i) = std::sin(2.0 * X(i, 0)) + X(i, 1) + 0.3 * random.normal() / std::sqrt(w(i));
  }
  ColumnTable table;
  table.add(X.data(), n, 2, 1, n);
  table.columns.push_back({.name = "w", .numbers = w.data()});
  table.columns.push_back({.name = "y", .numbers = y.data()});
  DatasetOptions columns;
  columns.target = std::string("y");
  columns.row_weights = std::string("w");
  const Dataset data = make_dataset(table, columns);

  const RepeatedChoice repeated = repeat_choice(parse_kernel_sum("ntk:erf:2"), data, {}, {}, 5);

  ASSERT_EQ(repeated.errors.sizes.size(), n);
  EXPECT_TRUE(repeated.warnings.empty());
  // 4 standard errors of the mean of n chi-squares; without the weights of the rows left out it is near 5.
  EXPECT_NEAR(std::pow(repeated.errors.root_mean_square(), 2), 1.0, 4.0 * std::sqrt(2.0 / n));
  const double normal_95 = 1.96;
  EXPECT_NEAR((repeated.errors.sizes.array() > normal_95).cast<double>().mean(), 0.05,
              4.0 * std::sqrt(0.05 * 0.95 / n));
}

TEST(RepeatedChoice, KeepsReplicatesInOneFold) {
  RandomStream random(6, "replicates");
  const Matrix once = random.normals(41, 2);
  Matrix X(82, 2);
  X << once, once;
  const Vector y = X.col(0) + random.normals(82);
  const Dataset data = make_dataset(X, y, {}, "X", "y");

  const RepeatedChoice repeated = repeat_choice(parse_kernel_sum("linear"), data, {}, {}, 5);

  ASSERT_EQ(repeated.folds.size(), 5U);
  for (const FoldChoice& fold : repeated.folds) EXPECT_EQ(fold.rows % 2, 0);
  EXPECT_EQ(repeated.errors.sizes.size(), 82);
}

TEST(RepeatedChoice, IsMadeOnTheScaleOfTheTransformThatEachFoldChooses) {
  WideSample sample(80, 3, 0);
  sample.y = (sample.y.array()).exp();
  Job job = sample.job();
  job.choice.automatic_transform = true;

  const JobResult result = run(job);

  ASSERT_TRUE(result.prepared.repeated.has_value());
  for (const FoldChoice& fold : result.prepared.repeated->folds) EXPECT_EQ(fold.transform, "box-cox");
  EXPECT_LT(result.prepared.repeated->errors.root_mean_square(),
            1.6);  // of exp(y) itself they have heavy tails
}

TEST(RepeatedChoice, IsMadeWhereItIsAskedForOrFewRowsChooseAKernel) {
  const auto folds_of = [](std::optional<int> asked, bool select, Index n) {
    ChoiceOptions options;
    options.folds = asked;
    options.select = select;
    if (!select) options.transform = TransformKind::box_cox;
    options.average = 0;
    return options.folds_of(n);
  };

  EXPECT_EQ(folds_of({}, true, 100), 5);
  EXPECT_EQ(folds_of({}, true, ChoiceOptions::most_rows_of_default_folds + 1), 0);
  EXPECT_EQ(folds_of({}, false, 100), 0);
  EXPECT_EQ(folds_of(0, true, 100), 0);
  EXPECT_EQ(folds_of(7, true, 10000), 7);
  EXPECT_EQ(folds_of(7, false, 100), 7);
  EXPECT_EQ(ChoiceOptions{.folds = 5}.folds_of(100), 0);      // nothing is chosen
  EXPECT_EQ(ChoiceOptions{.select = true}.folds_of(100), 0);  // fits are averaged
}

TEST(RepeatedChoice, RefusesWhatItCannotDo) {
  const WideSample sample(40, 4, 0);
  Job noisy = sample.job();
  noisy.choice.folds = 5;
  noisy.noise.kind = NoiseModelKind::student;
  Job one = sample.job();
  one.choice.folds = 1;
  Job never = sample.job();
  never.choice.folds = 0;

  EXPECT_THROW(run(noisy), InputError);
  EXPECT_THROW(run(one), InputError);
  const FittedModel model = make_model(never, run(never));
  EXPECT_FALSE(model.left_out.known());
  EXPECT_EQ(default_interval(model), IntervalKind::calibrated);
  EXPECT_THROW(
      predict(model, encode(model.recipe, sample.table), {}, {.interval = IntervalKind::cross_validated}),
      InputError);
}

}  // namespace
}  // namespace gradflow
