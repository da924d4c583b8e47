// Replicates and weights: groups of equal rows as one row of summed weight, with their within-group sum of
// squares, say what all rows say.
#include <gtest/gtest.h>

#include <cmath>

#include "laws/problems.h"

namespace gradflow::laws {
namespace {

// 40 distinct rows, the i-th of them 1 + i % 4 times with responses of its own.
struct Replicated {
  Problem groups = make_problem(40, 3, 5);
  std::vector<Index> group;  // of every row
  Observations all, merged;
  DenseOperator H_all() const {
    return DenseOperator(groups.Theta(group, group) / static_cast<double>(group.size()));
  }
};

Replicated replicated() {
  Replicated r;
  for (Index i = 0; i < 40; ++i)
    for (Index copy = 0; copy < 1 + i % 4; ++copy) r.group.push_back(i);
  const auto n = static_cast<Index>(r.group.size());
  RandomStream random(6, "replicates");
  r.all.y = r.groups.observations.y(r.group) + 0.3 * random.normals(n);
  r.all.f0 = Vector::Zero(n);
  r.all.covariates = r.groups.X(r.group, {1});
  r.merged = r.groups.observations;
  r.merged.covariates = r.groups.X.col(1);
  r.merged.weights = Vector::Zero(40);
  r.merged.y.setZero();
  for (Index i = 0; i < n; ++i) {
    const Index g = r.group[static_cast<std::size_t>(i)];
    r.merged.weights(g) += 1.0;
    r.merged.y(g) += r.all.y(i);
  }
  r.merged.y.array() /= r.merged.weights.array();
  for (Index i = 0; i < n; ++i)
    r.merged.pure.squares += std::pow(r.all.y(i) - r.merged.y(r.group[static_cast<std::size_t>(i)]), 2);
  r.merged.pure.dof = n - 40;
  return r;
}

TEST(Weights, MergedReplicatesSayWhatAllRowsSay) {
  const Replicated r = replicated();
  const DenseOperator H_all = r.H_all(), H_groups = r.groups.H();
  const Analysis all = analyse(H_all, r.all), merged = analyse(H_groups, r.merged);

  EXPECT_NEAR(merged.test.log10_p_value, all.test.log10_p_value, 1e-6 * std::abs(all.test.log10_p_value));
  EXPECT_NEAR(merged.flow.path.time, all.flow.path.time, 1e-8 * all.flow.path.time);
  EXPECT_NEAR(merged.flow.interval.upper, all.flow.interval.upper, 1e-5 * all.flow.interval.upper);
  EXPECT_NEAR(merged.ridge.noise_variance, all.ridge.noise_variance, 1e-6 * all.ridge.noise_variance);
  EXPECT_NEAR(merged.rule().time, all.rule().time, 1e-5 * all.rule().time);
  EXPECT_NEAR(merged.effective_dof, all.effective_dof, 1e-5 * all.effective_dof);
  EXPECT_NEAR(merged.rule(RuleKind::gcv).time, all.rule(RuleKind::gcv).time,
              1e-3 * all.rule(RuleKind::gcv).time)
      << "gcv";
  EXPECT_LT((merged.fit.fitted(r.group) - all.fit.fitted).norm(), 1e-5 * all.fit.fitted.norm());
  EXPECT_LT((merged.fit.beta - all.fit.beta).norm(), 1e-5 * all.fit.beta.norm());
  // At new rows: Theta(x, groups)/40 against Theta(x, all)/n.
  const Vector by_groups = r.groups.Theta_cross * merged.fit.alpha / 40.0,
               by_all = r.groups.Theta_cross(Eigen::all, r.group) * all.fit.alpha /
                        static_cast<double>(r.group.size());
  EXPECT_LT((by_groups - by_all).norm(), 1e-5 * by_all.norm());
}

// The rules that need random probes are known to their standard errors only.
TEST(Weights, KrylovAgreesWithAllRows) {
  const Replicated r = replicated();
  const DenseOperator H_all = r.H_all(), H_groups = r.groups.H();
  AnalysisOptions options;
  options.rule = RuleKind::reml_path;
  const Analysis all = analyse(H_all, r.all, options);
  options.engine = Engine::krylov;
  const Analysis merged = analyse(H_groups, r.merged, options);

  ASSERT_TRUE(merged.krylov.has_value());
  EXPECT_LE(merged.krylov->bracket.lower, all.flow.path.time * (1.0 + 1e-12));
  EXPECT_GE(merged.krylov->bracket.upper, all.flow.path.time * (1.0 - 1e-12));
  EXPECT_LT(merged.krylov->bracket.relative_width(), 1e-8);
  EXPECT_NEAR(merged.test.log10_p_value, all.test.log10_p_value,
              4.0 * merged.test.log10_standard_error + 1e-6);
  EXPECT_LT((merged.fit.fitted(r.group) - all.fit.fitted).norm(), 1e-7 * all.fit.fitted.norm());
  const StoppingRule &risk = merged.rule(), &exact = all.rule();
  EXPECT_NEAR(std::log(risk.time), std::log(exact.time), 4.0 * risk.log_time_standard_error + 1e-6);
}

class WeightsOn : public ::testing::TestWithParam<Engine> {};

TEST_P(WeightsOn, EqualWeightsOfOneChangeNothing) {
  Problem p = make_problem(50, 4, 8);
  const DenseOperator H = p.H();
  AnalysisOptions options;
  options.engine = GetParam();
  const Analysis without = analyse(H, p.observations, options);
  p.observations.weights = Vector::Ones(50);
  const Analysis with = analyse(H, p.observations, options);

  for (std::size_t i = 0; i < with.rules.size(); ++i)
    EXPECT_NEAR(with.rules[i].time, without.rules[i].time, 1e-5 * without.rules[i].time)
        << with.rules[i].name;
  EXPECT_LT((with.fit.alpha - without.fit.alpha).norm(), 1e-5 * without.fit.alpha.norm());
}

// Multiplying all weights by a constant is another unit of the noise variance, nothing else.
TEST_P(WeightsOn, AConstantFactorRescalesTheNoiseOnly) {
  Problem p = make_problem(50, 4, 9);
  const DenseOperator H = p.H();
  AnalysisOptions options;
  options.engine = GetParam();
  p.observations.weights = RandomStream(3, "weights").normals(50).array().exp();
  const Analysis one = analyse(H, p.observations, options);
  p.observations.weights *= 9.0;
  const Analysis nine = analyse(H, p.observations, options);

  EXPECT_NEAR(nine.ridge.noise_variance, 9.0 * one.ridge.noise_variance, 1e-6 * nine.ridge.noise_variance);
  EXPECT_NEAR(nine.rule().time, one.rule().time, 1e-6 * one.rule().time);
  if (GetParam() == Engine::dense) {  // at this size the probes do not know the divisors: NaN
    EXPECT_NEAR(nine.rule().loo_rmse, one.rule().loo_rmse, 1e-6 * one.rule().loo_rmse);
  }
  EXPECT_LT((nine.fit.fitted - one.fit.fitted).norm(), 1e-6 * one.fit.fitted.norm());
}

INSTANTIATE_TEST_SUITE_P(Engines, WeightsOn, ::testing::Values(Engine::dense, Engine::krylov),
                         [](const auto& tested) { return std::string(to_string(tested.param)); });

}  // namespace
}  // namespace gradflow::laws
