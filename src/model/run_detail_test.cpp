#include "gradflow/model/run_detail.h"

#include <gtest/gtest.h>

#include <cmath>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/model/reanalyse.h"
#include "gradflow/operators/dense_operator.h"
#include "support/reference.h"

namespace gradflow {
namespace {

constexpr Index detail_rows = 40;

struct Made {
  Job job;
  JobResult result;
};

/// A smooth signal on a Gaussian kernel's matrix over n, with noise; `signal` 0: noise alone.
Made made(double signal, bool weighted, PathKind path = PathKind::flow) {
  RandomStream random(5, "run detail");
  const Vector x = Vector::LinSpaced(detail_rows, -2.0, 2.0);
  Matrix H(detail_rows, detail_rows);
  for (Index i = 0; i < detail_rows; ++i)
    for (Index j = 0; j < detail_rows; ++j)
      H(i, j) = std::exp(-2.0 * (x(i) - x(j)) * (x(i) - x(j))) / detail_rows;
  Made made;
  made.job.operator_spec.kind = OperatorKind::matrix;
  made.job.analysis.path.kind = path;
  PreparedJob& prepared = made.result.prepared;
  prepared.H = std::make_unique<DenseOperator>(H, "test");
  Observations& observations = prepared.observations;
  observations.y = 3.0 + signal * (2.0 * x.array()).sin() + 0.5 * random.normals(detail_rows).array();
  observations.f0 = Vector::Zero(detail_rows);
  observations.covariates = Matrix(detail_rows, 0);
  if (weighted) observations.weights = (1.0 + Vector::LinSpaced(detail_rows, 0.0, 2.0).array()).matrix();
  for (Index i = 0; i < detail_rows; ++i) prepared.dataset.ids.push_back(std::to_string(i + 1));
  made.result.analysis = analyse(*prepared.H, observations, made.job.analysis);
  return made;
}

Index nearest(const Vector& times, double time) {
  Index place = 0;
  (times.array().log() - std::log(time)).abs().minCoeff(&place);
  return place;
}

// Generalised least squares with an intercept on all rows but one, V = diag(1/w) + tau (n/W) H.
struct WithoutRow {
  double prediction, scale;  // of a new response at the row
};

WithoutRow fitted_without(const Made& made, Index left_out) {
  const Observations& observations = made.result.prepared.observations;
  const double tau = made.result.analysis.ridge.path.time;
  const Vector w = observations.weights.size() > 0 ? observations.weights : Vector(Vector::Ones(detail_rows));
  Matrix V = tau * static_cast<double>(detail_rows) / w.sum() * made.result.prepared.H->matrix();
  V.diagonal() += w.cwiseInverse();
  std::vector<Index> kept;
  for (Index i = 0; i < detail_rows; ++i)
    if (i != left_out) kept.push_back(i);
  const Matrix inverse = reference::inverse(V(kept, kept));
  const Vector y = observations.y(kept), ones = Vector::Ones(detail_rows - 1),
               c = V(kept, std::vector<Index>{left_out});
  const double information = ones.dot(inverse * ones), b = ones.dot(inverse * y) / information;
  const Vector residual = y.array() - b;
  const double s2 = residual.dot(inverse * residual) / static_cast<double>(detail_rows - 2);
  const double gap = 1.0 - ones.dot(inverse * c);
  const double variance = V(left_out, left_out) - c.dot(inverse * c) + gap * gap / information;
  return {b + c.dot(inverse * residual), std::sqrt(s2 * variance)};
}

TEST(RunDetail, RowsLeftOutArePredictedByTheFitWithoutThem) {
  for (const bool weighted : {false, true}) {
    const Made run = made(1.0, weighted);

    const RowFits rows = run_detail(run.job, run.result).rows;

    ASSERT_EQ(rows.reason, "");
    for (const Index i : {0, 7, 20, 39}) {
      const WithoutRow expected = fitted_without(run, i);
      EXPECT_NEAR(rows.left_out(i), expected.prediction, 1e-9) << weighted << i;
      EXPECT_NEAR(rows.standardised(i), (rows.observed(i) - expected.prediction) / expected.scale, 1e-8);
    }
  }
}

TEST(RunDetail, CurvesPassThroughWhatTheRulesSayOfTheirTimes) {
  const Made run = made(1.0, true);

  const TrainingCurves curves = run_detail(run.job, run.result).curves;

  for (const StoppingRule& rule : run.result.analysis.rules) {
    ASSERT_TRUE(usable(rule.outcome)) << rule.name;
    const Index at = nearest(curves.time, rule.time);
    ASSERT_EQ(curves.time(at), rule.time) << rule.name;
    EXPECT_NEAR(curves.effective_dof(at), rule.effective_dof, 1e-10) << rule.name;
    EXPECT_NEAR(curves.loo_rmse(at), rule.loo_rmse, 1e-10) << rule.name;
    if (rule.kind == RuleKind::expected_loo) {
      EXPECT_NEAR(curves.expected_rmse(at), rule.estimated_rmse, 1e-10);
    }
  }
}

TEST(RunDetail, CurvesFallAndRiseAsTrainingMust) {
  const Made run = made(1.0, false);

  const TrainingCurves curves = run_detail(run.job, run.result).curves;

  Index best = 0;
  curves.expected_rmse.minCoeff(&best);
  EXPECT_EQ(curves.time(best), run.result.analysis.rule().time);
  for (Index i = 1; i < curves.time.size(); ++i) {
    EXPECT_LT(curves.training_rmse(i), curves.training_rmse(i - 1));
    EXPECT_GT(curves.effective_dof(i), curves.effective_dof(i - 1));
  }
}

TEST(RunDetail, ProfilesCrossTheirThresholdAtTheEndsOfTheInterval) {
  const Made run = made(1.0, false);

  const RunDetail detail = run_detail(run.job, run.result);

  EXPECT_NEAR(detail.profile_threshold, 3.841458820694124, 1e-12);  // chi2_1, 95 %
  ASSERT_EQ(detail.profiles.size(), 2u);
  const LikelihoodProfile& flow = detail.profiles[1];
  const StoppingRule& rule = run.result.analysis.rule(RuleKind::reml_path);
  ASSERT_EQ(flow.name, rule.name);
  for (const double end : {rule.interval.lower, rule.interval.upper})
    EXPECT_NEAR(flow.excess(nearest(flow.time, end)), detail.profile_threshold, 1e-5);
  const LikelihoodProfile& risk = detail.profiles[0];
  const Interval interval = run.result.analysis.rule(RuleKind::reml_risk).interval;
  ASSERT_EQ(risk.name, run.result.analysis.rule(RuleKind::reml_risk).name);
  for (Index i = 0; i < risk.time.size(); ++i)
    EXPECT_EQ(risk.excess(i) <= detail.profile_threshold,
              risk.time(i) >= interval.lower && risk.time(i) <= interval.upper)
        << risk.time(i);
}

TEST(RunDetail, CoverageCountsTheResponsesInsideTheirIntervals) {
  const Made run = made(1.0, true);

  const RunDetail detail = run_detail(run.job, run.result);

  const RowFits& rows = detail.rows;
  const Index inside = ((rows.observed.array() >= rows.left_out_lower.array()) &&
                        (rows.observed.array() <= rows.left_out_upper.array()))
                           .count();
  bool found = false;
  for (const CoverageCount& count : detail.coverage)
    if (count.nominal == run.job.analysis.level) {
      found = true;
      EXPECT_EQ(count.inside, inside);
      EXPECT_EQ(count.rows, detail_rows);
    }
  EXPECT_TRUE(found);
  const Vector size = rows.standardised.cwiseAbs();
  Index largest = 0;
  size.maxCoeff(&largest);
  EXPECT_EQ(detail.largest_residuals.front(), largest);
}

TEST(RunDetail, DirectionsSumToTheResponse) {
  const Made run = made(1.0, false);

  const Directions directions = run_detail(run.job, run.result).directions;

  const Vector& y = run.result.prepared.observations.y;
  const double total = (y.array() - y.mean()).square().sum();
  EXPECT_NEAR(directions.signal.sum(), total, 1e-9 * total);
  const Vector residual = y - run.result.analysis.fit.fitted;
  EXPECT_NEAR(directions.residual.sum(), residual.squaredNorm(), 1e-9 * total);
}

TEST(RunDetail, NoSignalAndEveryPathHaveCurves) {
  for (const PathKind path : {PathKind::flow, PathKind::ridge, PathKind::implicit}) {
    const Made run = made(0.0, false, path);

    const RunDetail detail = run_detail(run.job, run.result);

    EXPECT_GT(detail.curves.time.size(), 10);
    EXPECT_TRUE(detail.curves.training_rmse.allFinite());
    EXPECT_EQ(detail.rows.observed.size(), detail_rows);
    for (const LikelihoodProfile& profile : detail.profiles) EXPECT_GE(profile.excess.minCoeff(), 0.0);
  }
}

TEST(Reanalyse, AModelIsAnalysedAgainToTheSameNumbers) {
  for (const bool weighted : {false, true}) {
    Made run = made(1.0, weighted);
    const Analysis first = run.result.analysis;
    const FittedModel model = make_model(run.job, std::move(run.result));

    const auto [job, again] = reanalyse(model, "m.model");

    EXPECT_NEAR(again.analysis.rule().time, first.rule().time, 1e-9 * first.rule().time);
    EXPECT_NEAR(again.analysis.noise_variance, first.noise_variance, 1e-9 * first.noise_variance);
    EXPECT_NEAR(again.analysis.test.log10_p_value, first.test.log10_p_value, 1e-6);
  }
}

TEST(Reanalyse, AModelWithoutResponsesIsRefused) {
  Made run = made(1.0, false);
  FittedModel model = make_model(run.job, std::move(run.result));
  model.response.resize(0);

  try {
    reanalyse(model, "m.model");
    FAIL() << "it was taken";
  } catch (const InputError& error) {
    EXPECT_STREQ(
        error.what(),
        "'m.model' does not keep the run that fitted it, and holds no responses to repeat the analysis "
        "with: fit it again");
  }
}

}  // namespace
}  // namespace gradflow
