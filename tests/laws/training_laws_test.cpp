// What training along each path does, against the definition of the path and against the random-effects
// model.
#include <gtest/gtest.h>

#include "gradflow/base/parallel.h"
#include "laws/problems.h"
#include "support/reference.h"

namespace gradflow::laws {
namespace {

FixedEffects intercept_and_slope(const Problem& p) {
  Matrix design(p.n(), 2);
  design << Vector::Ones(p.n()), p.X.col(1);
  return {design, {"(intercept)", "x2"}};
}

Matrix phi_of(const Matrix& H, const Path& path) {
  const auto [values, vectors] = reference::symmetric_spectrum(H);
  return vectors * path.phi(values.cwiseMax(0.0)).asDiagonal() * vectors.transpose();
}

TEST(Training, FitIsTheBestLinearUnbiasedPredictorOnEveryPath) {
  const Problem p = make_problem(40, 3, 1);
  const DenseOperator H = p.H();
  const FixedEffects fixed = FixedEffects::none(p.n());
  const ProjectedSpectrum spectrum = project(H, fixed);
  for (const Path& path : all_paths()) {
    // y = g + e, Var g = s2 (phi^-1 - I), Var e = s2 I: BLUP of g is Var(g) Var(y)^-1 y.
    const Matrix Var_y = reference::inverse(phi_of(H.entries(), path));
    const Matrix Var_g = Var_y - Matrix::Identity(p.n(), p.n());
    const Vector blup = Var_g * reference::solve(Var_y, p.observations.y);

    const DualFit fit = dual_fit(H, fixed, spectrum, p.observations.y, path);

    EXPECT_LT((fit.fitted - blup).norm(), 1e-9 * blup.norm()) << to_string(path.kind);
  }
}

TEST(Training, FlowSolvesItsDifferentialEquationWithFixedEffectsTrainedInfinitelyFast) {
  const Problem p = make_problem(40, 3, 2);
  const DenseOperator H = p.H();
  const FixedEffects fixed = intercept_and_slope(p);
  const Matrix& X = fixed.design();
  const Matrix P = Matrix::Identity(p.n(), p.n()) - X * reference::inverse(X.transpose() * X) * X.transpose();
  const double t = 5.0;
  // Residual r = P r, dr/dt = -P H P r.
  const Vector residual = reference::exponential(-t * (P * H.entries() * P)) * (P * p.observations.y);

  const DualFit fit =
      dual_fit(H, fixed, project(H, fixed), p.observations.y, Path{.kind = PathKind::flow, .time = t});

  EXPECT_LT((p.observations.y - fit.fitted - residual).norm(), 1e-10 * residual.norm());
}

TEST(Training, DescentIsThatManyExplicitStepsOfFullBatchGradientDescent) {
  const Problem p = make_problem(40, 3, 3);
  const DenseOperator H = p.H();
  const FixedEffects fixed = FixedEffects::none(p.n());
  const Path path{.kind = PathKind::descent, .time = 25.0, .learning_rate = 0.2};
  // Function values and dual weights under f <- f - eta H (f - y), alpha <- alpha - eta (f - y).
  Vector f = Vector::Zero(p.n()), alpha = f;
  for (int k = 0; k < 25; ++k) {
    alpha -= path.learning_rate * (f - p.observations.y);
    f = H.entries() * alpha;
  }

  const DualFit fit = dual_fit(H, fixed, project(H, fixed), p.observations.y, path);

  EXPECT_LT((fit.fitted - f).norm(), 1e-11 * f.norm());
  EXPECT_LT((fit.alpha - alpha).norm(), 1e-11 * alpha.norm());
}

TEST(Training, ImplicitIsThatManyProximalSteps) {
  const Problem p = make_problem(40, 3, 4);
  const DenseOperator H = p.H();
  const Path path{.kind = PathKind::implicit, .time = 3.0, .iterations = 4};
  // f <- argmin |f - y|^2/2 + (f - f_old)'H^-1(f - f_old)/(2 tau): residual r <- (I + tau H)^-1 r
  Vector residual = p.observations.y;
  for (int k = 0; k < 4; ++k)
    residual = reference::solve(Matrix::Identity(p.n(), p.n()) + path.time * H.entries(), residual);

  const FixedEffects fixed = FixedEffects::none(p.n());
  const DualFit fit = dual_fit(H, fixed, project(H, fixed), p.observations.y, path);

  EXPECT_LT((p.observations.y - fit.fitted - residual).norm(), 1e-11 * residual.norm());
}

TEST(Training, DecayIsGradientFlowPulledBackToTheInitialWeights) {
  const Problem p = make_problem(30, 3, 5);
  const DenseOperator H = p.H();
  const Path path{.kind = PathKind::decay, .time = 4.0, .decay = 0.3};
  // alpha' = -(f - y) - d alpha, f = H alpha: linear, exact solution by the exponential of the augmented
  // system.
  const Index n = p.n();
  Matrix system = Matrix::Zero(n + 1, n + 1);
  system.topLeftCorner(n, n) = -H.entries() - path.decay * Matrix::Identity(n, n);
  system.topRightCorner(n, 1) = p.observations.y;
  Vector start = Vector::Zero(n + 1);
  start(n) = 1.0;
  const Vector alpha = (reference::exponential(path.time * system) * start).head(n);

  const FixedEffects fixed = FixedEffects::none(n);
  const DualFit fit = dual_fit(H, fixed, project(H, fixed), p.observations.y, path);

  EXPECT_LT((fit.alpha - alpha).norm(), 1e-10 * alpha.norm());
}

TEST(Training, DuplicatedDataTrainToTheSameFunctionInTheSameTime) {
  const Problem p = make_problem(30, 3, 6);
  const Matrix twice = p.Theta.replicate(2, 2) / 60.0;
  const DenseOperator H = p.H(), H2(twice);
  const FixedEffects one = FixedEffects::intercept(30), two = FixedEffects::intercept(60);
  for (const Path& path : all_paths()) {
    const DualFit a = dual_fit(H, one, project(H, one), p.observations.y, path);
    const DualFit b = dual_fit(H2, two, project(H2, two), p.observations.y.replicate(2, 1), path);

    EXPECT_LT((b.fitted.head(30) - a.fitted).norm(), 1e-9 * a.fitted.norm()) << to_string(path.kind);
    EXPECT_LT((b.fitted.tail(30) - a.fitted).norm(), 1e-9 * a.fitted.norm()) << to_string(path.kind);
  }
}

void expect_same_answers(const Analysis& a, const Analysis& b, double time_factor,
                         const std::vector<RuleKind>& rules) {
  EXPECT_NEAR(a.test.log10_p_value, b.test.log10_p_value, 1e-8);
  EXPECT_NEAR(a.ridge.noise_variance / b.ridge.noise_variance, 1.0, 1e-6);
  for (std::size_t i = 0; i < a.rules.size(); ++i) {
    if (std::find(rules.begin(), rules.end(), a.rules[i].kind) == rules.end()) continue;
    EXPECT_NEAR(a.rules[i].time / b.rules[i].time, time_factor, 1e-5 * time_factor) << a.rules[i].name;
    EXPECT_NEAR(a.rules[i].estimated_rmse / b.rules[i].estimated_rmse, 1.0, 1e-6) << a.rules[i].name;
    EXPECT_NEAR(a.rules[i].effective_dof, b.rules[i].effective_dof, 1e-4) << a.rules[i].name;
  }
}

const std::vector<RuleKind> without_split{RuleKind::expected_loo, RuleKind::reml_risk, RuleKind::reml_path,
                                          RuleKind::gcv, RuleKind::loo};

TEST(Analysis, PermutedRowsChangeNothingButTheOrder) {
  const Problem p = make_problem(60, 3, 7);
  Eigen::PermutationMatrix<Eigen::Dynamic> order(60);
  for (Index i = 0; i < 60; ++i) order.indices()(i) = static_cast<int>((17 * i + 5) % 60);
  Observations shuffled = p.observations;
  shuffled.y = order * p.observations.y;

  const Analysis a = analyse(p.H(), p.observations);
  const Analysis b = analyse(DenseOperator(order * p.H().entries() * order.transpose()), shuffled);

  expect_same_answers(a, b, 1.0, without_split);
  EXPECT_LT((b.fit.fitted - order * a.fit.fitted).norm(), 1e-5 * a.fit.fitted.norm());
}

TEST(Analysis, RescaledOperatorRescalesEveryTimeAndKeepsEveryFit) {
  const Problem p = make_problem(60, 3, 8);
  const Analysis a = analyse(p.H(), p.observations);
  const Analysis b = analyse(DenseOperator(10.0 * p.H().entries()), p.observations);

  expect_same_answers(a, b, 10.0, {all_rules.begin(), all_rules.end()});
  EXPECT_LT((b.fit.fitted - a.fit.fitted).norm(), 1e-5 * a.fit.fitted.norm());
}

TEST(Analysis, ShiftedResponseMovesOnlyTheIntercept) {
  const Problem p = make_problem(60, 3, 9);
  Observations shifted = p.observations;
  shifted.y.array() += 100.0;

  const Analysis a = analyse(p.H(), p.observations), b = analyse(p.H(), shifted);

  expect_same_answers(a, b, 1.0, {all_rules.begin(), all_rules.end()});
  EXPECT_NEAR(b.fit.beta(0) - a.fit.beta(0), 100.0, 1e-4);
}

TEST(Analysis, RescaledResponseRescalesVariancesAndErrorsOnly) {
  const Problem p = make_problem(60, 3, 10);
  Observations scaled = p.observations;
  scaled.y *= 50.0;

  const Analysis a = analyse(p.H(), p.observations), b = analyse(p.H(), scaled);

  EXPECT_NEAR(b.noise_variance / a.noise_variance, 2500.0, 1e-3);
  EXPECT_NEAR(b.rule().time / a.rule().time, 1.0, 1e-6);
  EXPECT_NEAR(b.rule().estimated_rmse / a.rule().estimated_rmse, 50.0, 1e-4);
}

TEST(Analysis, SpectralLossesAreUncorrelatedWithTheEigenvaluesAtTheRoot) {
  const Analysis a = analyse(make_problem(80, 3, 11).H(), make_problem(80, 3, 11).observations);

  ASSERT_EQ(a.flow.outcome, Outcome::converged);
  EXPECT_NEAR(a.decorrelation.correlation, 0.0, 1e-9);
}

TEST(Analysis, SameSeedSameBitsOnTheKrylovPathAndInTheSplit) {
  const Problem p = make_problem(60, 3, 12);
  const Analysis a = analyse(p.H(), p.observations, {.seed = 5}),
                 b = analyse(p.H(), p.observations, {.seed = 5});
  const Analysis other = analyse(p.H(), p.observations, {.seed = 6});

  EXPECT_EQ(a.rule(RuleKind::validation).time, b.rule(RuleKind::validation).time);
  EXPECT_NE(a.rule(RuleKind::validation).estimated_rmse, other.rule(RuleKind::validation).estimated_rmse);
}

TEST(Analysis, OneAndTwoThreadsGiveTheSameBitsByValidationAndTheSameAnswersOtherwise) {
  const Problem p = make_problem(300, 3, 14);
  set_threads(1);
  const Analysis one = analyse(p.H(), p.observations);
  set_threads(2);
  const Analysis two = analyse(p.H(), p.observations);
  set_threads(0);

  EXPECT_EQ(one.rule(RuleKind::validation).time, two.rule(RuleKind::validation).time);
  EXPECT_EQ(one.rule(RuleKind::validation).estimated_rmse, two.rule(RuleKind::validation).estimated_rmse);
  // LAPACK's sums depend on the number of threads: to 1e-7 relative.
  expect_same_answers(one, two, 1.0, {all_rules.begin(), all_rules.end()});
  EXPECT_LT((one.fit.fitted - two.fit.fitted).norm(), 1e-7 * one.fit.fitted.norm());
}

TEST(Analysis, TestAloneEqualsTheTestOfTheFullRun) {
  const Problem p = make_problem(60, 3, 13);

  EXPECT_NEAR(analyse_test(p.H(), p.observations).log10_p_value,
              analyse(p.H(), p.observations).test.log10_p_value, 1e-8);
}

}  // namespace
}  // namespace gradflow::laws
