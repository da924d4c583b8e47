// The Krylov engine's settings and precisions, the same bits for any number of threads, and what it says in
// corners: nothing to learn, rank one, three rows, every path.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/operators/finite_ntk.h"
#include "gradflow/operators/jacobian_operator.h"
#include "gradflow/operators/kernel_operator.h"
#include "laws/problems.h"

namespace gradflow::laws {
namespace {

AnalysisOptions krylov_options(RuleKind rule = RuleKind::expected_loo, bool all_rules = true) {
  AnalysisOptions options;
  options.engine = Engine::krylov;
  options.rule = rule;
  options.krylov.all_rules = all_rules;
  return options;
}

AnalysisOptions dense_options() { return {}; }

bool same_bits(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

void expect_same_bits(const Analysis& one, const Analysis& two) {
  EXPECT_TRUE(same_bits(one.test.log10_p_value, two.test.log10_p_value));
  EXPECT_TRUE(same_bits(one.test.log10_standard_error, two.test.log10_standard_error));
  EXPECT_TRUE(same_bits(one.ridge.path.time, two.ridge.path.time));
  EXPECT_TRUE(same_bits(one.ridge.noise_variance, two.ridge.noise_variance));
  EXPECT_TRUE(same_bits(one.flow.path.time, two.flow.path.time));
  for (std::size_t i = 0; i < one.rules.size(); ++i) {
    EXPECT_TRUE(same_bits(one.rules[i].time, two.rules[i].time)) << one.rules[i].name;
    EXPECT_TRUE(same_bits(one.rules[i].loo_rmse, two.rules[i].loo_rmse)) << one.rules[i].name;
    EXPECT_TRUE(same_bits(one.rules[i].estimated_rmse, two.rules[i].estimated_rmse)) << one.rules[i].name;
    EXPECT_TRUE(same_bits(one.rules[i].log_time_standard_error, two.rules[i].log_time_standard_error))
        << one.rules[i].name;
  }
  EXPECT_EQ(one.fit.alpha, two.fit.alpha);
  EXPECT_EQ(one.fit.beta, two.fit.beta);
  EXPECT_EQ(one.fit.fitted, two.fit.fitted);
}

void expect_same_bits_on_one_and_two_threads(const TrainingOperator& H, const Observations& observations) {
  for (const bool all_rules : {true, false}) {
    const AnalysisOptions options =
        krylov_options(all_rules ? RuleKind::expected_loo : RuleKind::reml_path, all_rules);
    set_threads(1);
    const Analysis one = analyse(H, observations, options);
    set_threads(2);
    const Analysis two = analyse(H, observations, options);
    set_threads(0);
    expect_same_bits(one, two);
  }
}

DenseNetwork network_for(const Problem& p) {
  return DenseNetwork::initialise(parse_architecture("relu:64x2"), p.X.cols(), 1);
}

Observations at_initialisation(const Problem& p, const Vector& output) {
  Observations observations = p.observations;
  observations.f0 = output;
  return observations;
}

TEST(KrylovThreads, OneAndTwoGiveTheSameBitsWithOneColumnProducts) {
  const Problem p = make_problem(300, 4, 31);

  expect_same_bits_on_one_and_two_threads(SingleColumns(p.H().entries()), p.observations);
}

TEST(KrylovThreads, OneAndTwoGiveTheSameBitsWithAKernelInTiles) {
  const Problem p = make_problem(700, 4, 34);
  for (const KernelStorage storage : {KernelStorage::none, KernelStorage::float64})
    expect_same_bits_on_one_and_two_threads(KernelOperator(InfiniteArchitecture{}, p.X, {.storage = storage}),
                                            p.observations);
}

TEST(KrylovThreads, OneAndTwoGiveTheSameBitsWithAJacobianOperatorInBothPrecisions) {
  const Problem p = make_problem(300, 4, 32);
  for (const Precision precision : {Precision::float64, Precision::float32}) {
    const JacobianOperator H(network_for(p), p.X, {.precision = precision, .cache_bytes = 1e9});

    expect_same_bits_on_one_and_two_threads(H, at_initialisation(p, H.output()));
  }
}

TEST(KrylovPrecision, AFloat32BasisMovesTheFlowsTimeByLessThanRoundingAndItsFitByAMillionth) {
  double time = 0.0, alpha = 0.0;
  for (const Index n : {150, 400})
    for (const Index d : {2, 6}) {
      const Problem p = make_problem(n, d, 33);
      AnalysisOptions options = krylov_options(RuleKind::reml_path, false);
      const Analysis whole = analyse(p.H(), p.observations, options);
      options.krylov.basis = BasisPrecision::float32;
      const Analysis half = analyse(p.H(), p.observations, options);
      time = std::max(time, std::abs(half.flow.path.time / whole.flow.path.time - 1.0));
      alpha = std::max(alpha, (half.fit.alpha - whole.fit.alpha).norm() / whole.fit.alpha.norm());
    }
  fmt::print("float32 basis: time {:.2g}, alpha {:.2g}, relative\n", time, alpha);

  EXPECT_LT(time, 1e-10);
  EXPECT_LT(alpha, 1e-6);
}

TEST(KrylovPrecision, AFloat32JacobianMovesTheFlowsTimeAndPredictionsByLessThanOneInTenThousand) {
  double time = 0.0, prediction = 0.0;
  for (const Index n : {200, 500})
    for (const Index d : {2, 8}) {
      const Problem p = make_problem(n, d, 34, 50);
      const DenseNetwork network = network_for(p);
      const JacobianOperator H64(network, p.X, {.precision = Precision::float64}),
          H32(network, p.X, {.precision = Precision::float32});
      const AnalysisOptions options = krylov_options(RuleKind::reml_path, false);
      const Observations observations = at_initialisation(p, H64.output());
      const Analysis a = analyse(H64, observations, options), b = analyse(H32, observations, options);
      const Matrix cross = ntk_cross(network, p.X_new, p.X) / static_cast<double>(n);
      const double sd = std::sqrt((p.observations.y.array() - p.observations.y.mean()).square().mean());
      const Vector moved = cross * (b.fit.alpha - a.fit.alpha);
      ASSERT_EQ(a.flow.outcome, Outcome::converged);
      time = std::max(time, std::abs(b.flow.path.time / a.flow.path.time - 1.0));
      prediction =
          std::max(prediction, (moved.array() + b.fit.beta(0) - a.fit.beta(0)).abs().maxCoeff() / sd);
    }
  fmt::print("float32 Jacobian: time {:.2g} relative, predictions {:.2g} of the response's sd\n", time,
             prediction);

  EXPECT_LT(time, 1e-4);
  EXPECT_LT(prediction, 1e-4);
}

TEST(KrylovSettings, ProbesAskedForAreTheProbesDrawn) {
  const Problem p = make_problem(300, 4, 35);
  for (const Index probes : {2, 5})
    for (const bool all_rules : {true, false}) {
      AnalysisOptions options = krylov_options(RuleKind::reml_path, all_rules);
      options.krylov.probes = probes;
      const Analysis a = analyse(p.H(), p.observations, options);

      EXPECT_EQ(a.krylov->probes, probes);
      EXPECT_TRUE(std::isfinite(a.test.log10_p_value));
      EXPECT_TRUE(std::isfinite(a.test.log10_standard_error));
    }
}

TEST(KrylovSettings, WithoutKeptProbesRuleLooIsNotComputedAndSaysSo) {
  const Problem p = make_problem(300, 4, 35);
  AnalysisOptions options = krylov_options();
  options.krylov.loo_probes = 0;
  const Analysis a = analyse(p.H(), p.observations, options);

  EXPECT_EQ(a.rule(RuleKind::loo).outcome, Outcome::not_run);
  EXPECT_THAT(a.rule(RuleKind::loo).reason, testing::HasSubstr("no probes were kept"));
  EXPECT_TRUE(a.is_usable());
}

TEST(KrylovSettings, RulesNotAskedForAreNotRun) {
  const Problem p = make_problem(200, 4, 36);
  for (std::size_t i = 0; i < all_rules.size(); ++i) {
    const Analysis a = analyse(p.H(), p.observations, krylov_options(all_rules[i], false));
    for (std::size_t j = 0; j < all_rules.size(); ++j)
      EXPECT_EQ(a.rules[j].outcome == Outcome::not_run, i != j)
          << a.rules[j].name << " beside " << a.rule().name;
  }
}

TEST(KrylovSettings, OutOfRangeAreRefusedByTheirInequality) {
  const Problem p = make_problem(20, 2, 37);
  const auto message = [&](const std::function<void(KrylovOptions&)>& set) {
    AnalysisOptions options = krylov_options();
    set(options.krylov);
    try {
      analyse(p.H(), p.observations, options);
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };

  EXPECT_EQ(message([](KrylovOptions& k) { k.max_steps = 1; }), "Krylov steps = 1: must be >= 2");
  EXPECT_EQ(message([](KrylovOptions& k) { k.time_tolerance = 0.0; }), "time tolerance = 0: must be > 0");
  EXPECT_EQ(message([](KrylovOptions& k) { k.fit_tolerance = -1.0; }), "fit tolerance = -1: must be > 0");
  EXPECT_EQ(message([](KrylovOptions& k) { k.probes = 1; }),
            "probes = 1: must be >= 2 (a standard error needs two), or 0");
  EXPECT_EQ(message([](KrylovOptions& k) { k.probes = -3; }),
            "probes = -3: must be >= 2 (a standard error needs two), or 0");
  EXPECT_EQ(message([](KrylovOptions& k) { k.max_probes = 1; }),
            "largest number of probes = 1: must be >= 2");
}

TEST(KrylovCorners, AResponseThatTheFixedEffectsExplainIsUnidentified) {
  const Problem p = make_problem(80, 3, 38);
  Observations constant = p.observations;
  constant.y.setConstant(4.0);
  for (const bool all_rules : {true, false}) {
    const Analysis a = analyse(p.H(), constant, krylov_options(RuleKind::reml_path, all_rules));

    EXPECT_EQ(a.flow.outcome, Outcome::unidentified);
    EXPECT_FALSE(a.is_usable());
    EXPECT_THAT(a.flow.reason, testing::HasSubstr("fixed effects explain the response"));
  }
}

TEST(KrylovCorners, AnOperatorOfRankOneAgreesWithTheDenseEngine) {
  const Problem p = make_problem(60, 3, 39);
  const Vector direction = p.X.col(0);
  const DenseOperator H(direction * direction.transpose() / 60.0);
  Observations along = p.observations;
  along.y += 3.0 * direction;
  const Analysis dense = analyse(H, along, dense_options()), krylov = analyse(H, along, krylov_options());

  EXPECT_EQ(krylov.flow.outcome, dense.flow.outcome);
  EXPECT_NEAR(krylov.flow.path.time / dense.flow.path.time, 1.0, 1e-8);
  EXPECT_NEAR(krylov.ridge.path.time / dense.ridge.path.time, 1.0, 1e-5);
  EXPECT_NEAR(krylov.test.log10_p_value, dense.test.log10_p_value, 1e-8);
}

TEST(KrylovCorners, ThreeRowsGiveTheDenseAnswer) {
  const Problem p = make_problem(3, 2, 40);
  const Analysis dense = analyse(p.H(), p.observations, dense_options());
  const Analysis krylov = analyse(p.H(), p.observations, krylov_options());

  EXPECT_EQ(krylov.flow.outcome, dense.flow.outcome);
  EXPECT_EQ(krylov.ridge.outcome, dense.ridge.outcome);
  if (dense.flow.path.time > 0.0 && std::isfinite(dense.flow.path.time)) {
    EXPECT_NEAR(krylov.flow.path.time / dense.flow.path.time, 1.0, 1e-8);
  }
}

TEST(KrylovCorners, CovariatesAreProjectedOutAsInTheDenseEngine) {
  Problem p = make_problem(150, 4, 41);
  p.observations.covariates = p.X.leftCols(2);
  p.observations.y += 10.0 * p.X.col(0);
  const Analysis dense = analyse(p.H(), p.observations, dense_options());
  const Analysis krylov = analyse(p.H(), p.observations, krylov_options());

  ASSERT_EQ(krylov.fixed.count(), 3);
  EXPECT_EQ(krylov.flow.outcome, dense.flow.outcome);
  EXPECT_NEAR(krylov.flow.path.time / dense.flow.path.time, 1.0, 1e-8);
  EXPECT_NEAR(krylov.test.log10_p_value, dense.test.log10_p_value,
              std::max(0.01, 1e-3 * std::abs(dense.test.log10_p_value)));
}

TEST(KrylovCorners, PaperModeAgreesWithTheDenseEngine) {
  const Problem p = make_problem(200, 4, 42);
  const DenseNetwork network = network_for(p);
  const DenseOperator H(ntk_gram(network, p.X) / 200.0);
  const Observations observations = at_initialisation(p, network.output(p.X));
  AnalysisOptions dense = dense_options(), krylov = krylov_options(RuleKind::reml_path);
  dense.paper = krylov.paper = true;
  const Analysis a = analyse(H, observations, dense), b = analyse(H, observations, krylov);

  EXPECT_EQ(a.flow.outcome, b.flow.outcome);
  EXPECT_NEAR(b.flow.path.time / a.flow.path.time, 1.0, 1e-8);
  EXPECT_NEAR(b.test.log10_p_value, a.test.log10_p_value,
              std::max(0.01, 1e-3 * std::abs(a.test.log10_p_value)));
}

TEST(KrylovCorners, EveryPathStopsWhereTheDenseEngineDoes) {
  const Problem p = make_problem(200, 4, 43);
  for (const Path& path : all_paths())
    for (const RuleKind rule : {RuleKind::expected_loo, RuleKind::reml_risk, RuleKind::reml_path}) {
      AnalysisOptions dense = dense_options(), krylov = krylov_options(rule);
      dense.path = krylov.path = path;
      dense.rule = rule;
      const Analysis a = analyse(p.H(), p.observations, dense), b = analyse(p.H(), p.observations, krylov);

      const std::string name = b.rule().name + " on " + std::string(to_string(path.kind));
      ASSERT_TRUE(b.is_usable()) << name;
      EXPECT_EQ(b.rule().outcome, a.rule().outcome) << name;
      // A whole number of steps may round to either side.
      const double rounding = path.kind == PathKind::descent ? 1.0 / a.rule().time : 1e-3;
      EXPECT_LE(std::abs(std::log(b.rule().time / a.rule().time)),
                std::max(4.0 * b.rule().log_time_standard_error, rounding))
          << name;
      EXPECT_TRUE(b.fit.fitted.allFinite()) << name;
    }
}

TEST(KrylovCorners, PureNoiseIsAtZeroInBothEnginesAlike) {
  int at_zero = 0;
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    Problem p = make_problem(120, 3, 44);
    p.observations.y = RandomStream(seed, "pure noise").normals(120);
    const Analysis dense = analyse(p.H(), p.observations, dense_options());
    const Analysis krylov = analyse(p.H(), p.observations, krylov_options(RuleKind::reml_path));

    EXPECT_EQ(krylov.flow.outcome, dense.flow.outcome) << seed;
    EXPECT_TRUE(krylov.is_usable());
    at_zero += krylov.flow.outcome == Outcome::at_zero ? 1 : 0;
    if (krylov.flow.outcome == Outcome::at_zero) {
      EXPECT_EQ(krylov.rule().time, 0.0);
      EXPECT_LT(krylov.fit.alpha.norm(), 1e-300);
    }
  }
  EXPECT_GE(at_zero, 2);
  EXPECT_LE(at_zero, 7);
}

TEST(KrylovCorners, TheTestAloneAgreesWithTheFullRun) {
  const Problem p = make_problem(300, 4, 45);
  const double whole = analyse(p.H(), p.observations, krylov_options()).test.log10_p_value;

  EXPECT_NEAR(analyse_test(p.H(), p.observations, krylov_options()).log10_p_value, whole,
              2.0 * std::max(0.01, 1e-3 * std::abs(whole)));
}

}  // namespace
}  // namespace gradflow::laws
