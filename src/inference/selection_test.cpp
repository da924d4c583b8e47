#include "gradflow/inference/selection.h"

#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <cmath>
#include <stdexcept>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "inference/box_minimum.h"
#include "inference/test_families.h"

namespace gradflow {
namespace {

using testing_families::RelevanceRbf;
using testing_families::WeightedSum;

// y = sin(2 x_1) + 0.7 x_2^2 + noise with sd 0.3; the other features are irrelevant.
struct Sparse {
  Sparse(Index n, Index d, std::uint64_t seed) {
    RandomStream random(seed, "sparse");
    X = random.normals(n, d);
    y = (2.0 * X.col(0)).array().sin() + 0.7 * X.col(1).array().square() + 0.3 * random.normals(n).array();
  }
  Candidate candidate() const { return {"rbf", std::make_shared<RelevanceRbf>(X)}; }
  Matrix X;
  Vector y;
};

struct Select : testing::Test {
  SerialBlas serial;  // the matrices are small
};

SelectionOptions one_start() { return {.starts = 1, .max_evaluations = 100}; }

TEST_F(Select, FindsTheRelevantFeatures) {
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    const Sparse data(150, 6, seed);
    const Selection selection = select({data.candidate()}, {.y = data.y}, FixedEffects::intercept(150));
    const CandidateFit& fit = selection.candidates.front();
    const Vector relevance = fit.parameters.array().exp();

    EXPECT_GT(relevance.head(2).minCoeff(), 10.0 * relevance.tail(4).maxCoeff());
    // 150 rows: the standard error of the noise variance is about 0.12 of it.
    EXPECT_NEAR(fit.value.noise_variance / 0.09, 1.0, 0.5);
    EXPECT_EQ(selection.best, 0);
  }
}

TEST_F(Select, BeginsWhereTheCandidateSaysAndEndsThereAtAnOptimum) {
  const Sparse data(80, 3, 4);
  SelectionOptions options = one_start();
  options.tolerance = 1e-9;
  const FixedEffects fixed = FixedEffects::intercept(80);
  const CandidateFit found = select({data.candidate()}, {.y = data.y}, fixed, options).candidates.front();
  Candidate again = data.candidate();
  again.start = found.parameters;

  const CandidateFit fit = select({again}, {.y = data.y}, fixed, options).candidates.front();

  EXPECT_EQ(fit.searches.front().start.head(3), found.parameters);
  EXPECT_LT(fit.evaluations, found.evaluations);
  EXPECT_NEAR(fit.penalised_criterion, found.penalised_criterion, 1e-6);
  again.start = Vector::Zero(2);
  EXPECT_THROW(select({again}, {.y = data.y}, fixed, options), InputError);
}

TEST_F(Select, EndsWhereThePenalisedCriterionHasNoDescentInsideTheBounds) {
  const Sparse data(80, 3, 4);
  SelectionOptions options = one_start();
  options.tolerance = 1e-9;
  const FixedEffects fixed = FixedEffects::intercept(80);
  const CandidateFit fit = select({data.candidate()}, {.y = data.y}, fixed, options).candidates.front();
  const RelevanceRbf family(data.X);
  const RestrictedLikelihood likelihood(family, {.y = data.y}, fixed);
  Vector x(4);
  x << fit.parameters, std::log(fit.tau);
  const LikelihoodValue value = likelihood.at(x);

  ASSERT_EQ(fit.outcome, Outcome::converged);
  EXPECT_DOUBLE_EQ(value.criterion, fit.criterion);
  // H has a diagonal of 1/n: tau = n at a signal as large as the noise.
  const Prior relevances(std::vector<ParameterPrior>(3, ParameterPrior::exchangeable(-1.0, relevance_scale)));
  const double penalty = std::pow((x(3) - std::log(80.0)) / 3.0, 2) + relevances.at(x.head(3)).penalty;
  const Vector slopes = value.gradient.head(3) + relevances.at(x.head(3)).slope;
  for (Index k = 0; k < 3; ++k) {
    const double slope = slopes(k);
    if (x(k) == family.lower()(k))
      EXPECT_GT(slope, 0.0);  // the feature is switched off: its bound holds it
    else
      EXPECT_NEAR(slope, 0.0, 1e-4);
  }
  EXPECT_NEAR(value.gradient(3) + 2.0 * (x(3) - std::log(80.0)) / 9.0, 0.0, 1e-4);
  EXPECT_NEAR(fit.penalised_criterion, fit.criterion + penalty, 1e-9);
}

TEST_F(Select, EstimatesALogarithmWithinItsProfileInterval) {
  for (const TransformKind kind : {TransformKind::box_cox, TransformKind::yeo_johnson}) {
    Sparse data(150, 2, 5);
    data.y = data.y.array().exp();
    SelectionOptions options = one_start();
    options.transform = kind;
    const FixedEffects fixed = FixedEffects::intercept(150);
    const CandidateFit fit = select({data.candidate()}, {.y = data.y}, fixed, options).candidates.front();
    if (kind ==
        TransformKind::yeo_johnson) {  // not the logarithm of y: far below the identity is all that is known
      EXPECT_LT(fit.transform.lambda, 0.5);
      continue;
    }
    // The unpenalised criterion at lambda = 0, its other parameters those of the fit: above the profile.
    const RelevanceRbf family(data.X);
    const RestrictedLikelihood likelihood(family, {.y = data.y}, fixed, kind);
    Vector x(4);
    x << fit.parameters, std::log(fit.tau), 0.0;

    EXPECT_LT(likelihood.at(x, false).criterion - fit.criterion, 3.841);
    EXPECT_NEAR(fit.transform.lambda, 0.0, 0.15);
    EXPECT_EQ(fit.transform.kind, kind);
  }
}

TEST_F(Select, PrefersTheCandidateThatMadeTheData) {
  RandomStream random(6, "sums");
  const Index n = 100;
  const Matrix A = random.normals(n, 6), B = random.normals(n, 6);
  const Vector y = A * random.normals(6) + random.normals(n);
  const Candidate right{"A", std::make_shared<WeightedSum>(std::vector<Matrix>{A * A.transpose()})};
  const Candidate wrong{"B", std::make_shared<WeightedSum>(std::vector<Matrix>{B * B.transpose()})};
  const Selection selection = select({wrong, right}, {.y = y}, FixedEffects::intercept(n));

  EXPECT_EQ(selection.best, 1);
  EXPECT_TRUE(selection.candidates[0].pruned);
  EXPECT_EQ(selection.candidates[0].searches.size(), 1U);
  EXPECT_EQ(selection.candidates[1].searches.size(), 2U);
  EXPECT_GT(selection.candidates[1].value.leave_one_out_log_density,
            selection.candidates[0].value.leave_one_out_log_density);
}

TEST_F(Select, SaysWhichParameterIsAtItsBound) {
  // The signal is thousands of times the noise; weight and tau together allow exp(5).
  RandomStream random(7, "sums");
  const Index n = 60;
  const Matrix A = random.normals(n, 4);
  const Vector y = 30.0 * A * random.normals(4) + 0.1 * random.normals(n);
  const Candidate candidate{"sum", std::make_shared<WeightedSum>(std::vector<Matrix>{A * A.transpose()}),
                            Prior({ParameterPrior{}})};
  SelectionOptions options = one_start();
  options.highest_signal = 1.0;
  const Selection selection = select({candidate}, {.y = y}, FixedEffects::intercept(n), options);
  const CandidateFit& fit = selection.candidates.front();

  ASSERT_EQ(fit.outcome, Outcome::on_boundary);
  ASSERT_EQ(fit.at_bound.size(), 2U);
  EXPECT_EQ(fit.at_bound.front(), "log weight 0 = its upper bound 5");
  EXPECT_NE(fit.reason.find("log weight 0"), std::string::npos);
  EXPECT_EQ(selection.warnings.size(), 1U);
}

TEST_F(Select, FindsNoSignalInNoise) {
  RandomStream random(8, "noise");
  const Index n = 100;
  const Matrix X = random.normals(n, 10);
  const Vector y = random.normals(n);
  const CandidateFit fit =
      select({{"rbf", std::make_shared<RelevanceRbf>(X)}}, {.y = y}, FixedEffects::intercept(n))
          .candidates.front();

  EXPECT_LT(fit.value.effective_dof, 5.0);
  EXPECT_NEAR(fit.value.noise_variance, 1.0, 0.4);
}

TEST_F(Select, GivesTheSameBitsForTheSameSeed) {
  const Sparse data(60, 3, 9);
  SelectionOptions options{.starts = 3, .seed = 7};
  const auto searches = [&] {
    return select({data.candidate()}, {.y = data.y}, FixedEffects::intercept(60), options)
        .candidates.front()
        .searches;
  };
  const std::vector<SearchRecord> first = searches(), again = searches();
  options.seed = 8;
  const std::vector<SearchRecord> other = searches();

  for (std::size_t k = 0; k < 3; ++k) {
    EXPECT_EQ(first[k].start, again[k].start);
    EXPECT_EQ(first[k].penalised_criterion, again[k].penalised_criterion);
  }
  EXPECT_EQ(first[0].start, other[0].start);
  EXPECT_NE(first[1].start, other[1].start);
}

TEST_F(Select, ReportsWhatCannotBeEstimatedAsData) {
  const Index n = 20;
  const Candidate empty{"zero", std::make_shared<WeightedSum>(std::vector<Matrix>{Matrix::Zero(n, n)})};
  const Candidate rbf{"rbf", std::make_shared<RelevanceRbf>(RandomStream(10, "x").normals(n, 2))};
  const Selection selection =
      select({empty, rbf}, {.y = RandomStream(11, "y").normals(n)}, FixedEffects::intercept(n));

  EXPECT_EQ(selection.candidates[0].outcome, Outcome::unidentified);
  EXPECT_EQ(selection.best, 1);
  EXPECT_EQ(select({rbf}, {.y = Vector::Ones(n)}, FixedEffects::intercept(n)).best, -1);
  EXPECT_THROW(select({}, {.y = Vector::Ones(n)}, FixedEffects::intercept(n)), InputError);
  EXPECT_THROW(select({rbf}, {.y = Vector::Ones(n)}, FixedEffects::intercept(n), {.starts = 0}), InputError);
}

TEST_F(Select, SaysThatTheLimitOfEvaluationsWasReached) {
  const Sparse data(60, 5, 12);
  const CandidateFit fit = select({data.candidate()}, {.y = data.y}, FixedEffects::intercept(60),
                                  {.starts = 1, .max_evaluations = 4})
                               .candidates.front();

  EXPECT_EQ(fit.outcome, Outcome::iteration_limit);
  EXPECT_EQ(fit.evaluations, 4);
  EXPECT_EQ(fit.searches.front().reason, "limit of evaluations");
  EXPECT_LT(fit.criterion, fit.criterion_at_zero);
}

TEST(BoxMinimum, KeepsTheBestPointWhereTheFunctionIsNotDefinedBeyond) {
  // (x - 1)^2 + (y + 2)^2 for x < 1.5, not defined from there on; the first step overshoots.
  BoxProblem problem{
      .start = Vector{{-3.0, 4.0}}, .lower = Vector{{-9.0, -9.0}}, .upper = Vector{{9.0, 9.0}}};
  problem.objective = [](const Vector& x, Vector& gradient) {
    gradient = Vector{{4.0 * (x(0) - 1.0), 4.0 * (x(1) + 2.0)}};
    if (x(0) >= 1.5) return std::numeric_limits<double>::quiet_NaN();
    return 2.0 * std::pow(x(0) - 1.0, 2) + 2.0 * std::pow(x(1) + 2.0, 2);
  };
  problem.scale = 0.1;
  for (const Optimiser optimiser : {Optimiser::lbfgs, Optimiser::slsqp, Optimiser::variable_metric}) {
    const BoxMinimum minimum = minimise_in_box(problem, optimiser, 60, 1e-9);

    EXPECT_NEAR(minimum.x(0), 1.0, 1e-3);
    EXPECT_NEAR(minimum.x(1), -2.0, 1e-3);
    EXPECT_EQ(minimum.best_after.size(), static_cast<std::size_t>(minimum.evaluations));
  }
}

TEST(BoxMinimum, PassesOnWhatTheObjectiveThrows) {
  BoxProblem problem{.start = Vector{{1.0}}, .lower = Vector{{-9.0}}, .upper = Vector{{9.0}}};
  problem.objective = [](const Vector&, Vector&) -> double { throw std::runtime_error("cancelled"); };

  EXPECT_THROW(minimise_in_box(problem, Optimiser::lbfgs, 10, 1e-3), std::runtime_error);
}

}  // namespace
}  // namespace gradflow
