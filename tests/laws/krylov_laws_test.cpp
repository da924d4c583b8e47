// What the Krylov engine says against the dense one, on made problems, on the reference cases and on real
// data, for infinite and finite width. Real data are read from the shared folder and skipped where it is
// absent.
#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "../../bench/stopping_study.h"
#include "gradflow/data/array_file.h"
#include "gradflow/operators/finite_ntk.h"
#include "laws/problems.h"

namespace gradflow::laws {
namespace {

struct Case {
  std::string name;
  Matrix H, H_cross;  // H_cross: new rows x n, Theta(x, X)/n
  Observations observations;
};

AnalysisOptions with(Engine engine, RuleKind rule = RuleKind::expected_loo, bool all_rules = true) {
  AnalysisOptions options;
  options.engine = engine;
  options.rule = rule;
  options.krylov.all_rules = all_rules;
  return options;
}

std::vector<Case> made_cases() {
  struct Size {
    Index n, d;
  };
  std::vector<Case> cases;
  for (const Size size :
       {Size{150, 3}, Size{200, 10}, Size{300, 2}, Size{300, 5}, Size{500, 4}, Size{800, 8}})
    for (const std::uint64_t seed : {21u, 22u}) {
      if (size.n == 800 && seed == 22u) continue;
      const Problem p = make_problem(size.n, size.d, seed, 20);
      cases.push_back({fmt::format("made, n = {}, d = {}, seed {}", size.n, size.d, seed), p.H().entries(),
                       p.Theta_cross / static_cast<double>(size.n), p.observations});
    }
  return cases;
}

std::vector<Case> reference_cases() {
  std::vector<Case> cases;
  for (const std::string name : {"simple", "deep", "highdim", "nonlinear", "null", "null-root"}) {
    const auto array = [&](const std::string& file) {
      return read_npy(fmt::format("{}/tests/oracle/{}/{}.npy", GRADFLOW_SOURCE_DIR, name, file));
    };
    cases.push_back(
        {"reference " + name,
         array("H").as_matrix("H"),
         array("C").as_matrix("C"),
         {array("y_train").as_vector("y"), array("f0_train").as_vector("f0"), Matrix(200, 0), {}, {}}});
  }
  return cases;
}

// At most `rows` rows of the table for training and 50 more as new ones, infinite and finite width.
std::vector<Case> real_cases(const std::string& folder, Index rows) {
  const study::RealData data = study::load(folder);
  std::vector<Index> order = RandomStream(1, "rows of the Krylov laws").permutation(data.y.size());
  const Index n = std::min<Index>(rows, data.y.size() - 50);
  const std::vector<Index> train(order.begin(), order.begin() + n),
      fresh(order.begin() + n, order.begin() + n + 50);
  const Dataset dataset =
      make_dataset(Matrix(data.X(train, Eigen::all)), Vector(data.y(train)), {}, "X", "y");
  const Matrix X_new = encode(dataset.recipe, Matrix(data.X(fresh, Eigen::all)), "X").X;
  const Index used = dataset.y.size();  // copies are kept once
  const auto scale = static_cast<double>(used);
  const InfiniteArchitecture infinite = parse_infinite_architecture("ntk:relu:2");
  const NtkPair finite = ntk_gram_and_cross(
      DenseNetwork::initialise(parse_architecture("relu:64x2"), dataset.X.cols(), 1), dataset.X, X_new);
  return {{folder + ", infinite width",
           kernel_gram(infinite, dataset.X) / scale,
           kernel_cross(infinite, X_new, dataset.X) / scale,
           {dataset.y, Vector::Zero(used), Matrix(used, 0), {}, {}}},
          {folder + ", relu:64x2",
           finite.gram / scale,
           finite.cross / scale,
           {dataset.y, finite.output, Matrix(used, 0), {}, {}}}};
}

/// Largest deviations over all cases of a test, for print.
struct Deviations {
  std::map<std::string, double> largest;
  std::vector<double> scores;  // of log times, in standard errors
  int cases = 0;

  void note(const std::string& what, double deviation) {
    double& value = largest[what];
    value = std::max(value, deviation);
  }
  void print() const {
    fmt::print("{} cases, {} scores:", cases, scores.size());
    for (const auto& [what, value] : largest) fmt::print("  {} {:.2g}", what, value);
    fmt::print("\n");
  }
};

const StoppingRule& rule_of(const Analysis& analysis, RuleKind kind) {
  return analysis.rules[static_cast<std::size_t>(std::find(all_rules.begin(), all_rules.end(), kind) -
                                                 all_rules.begin())];
}

// The dense engine sets eigenvalues within rounding of zero to zero, up to N eps lambda_1 each, and sums the
// rest: the trace from the diagonal is the sharper one.
double exact_flow_time(const Analysis& dense) {
  SpectralData data = dense.data;
  data.trace = dense.spectrum.trace;
  return flow_time(data);
}

void compare_flow(const Case& c, const Analysis& dense, const Analysis& krylov, Deviations& deviations) {
  ASSERT_EQ(dense.flow.outcome, krylov.flow.outcome);
  ASSERT_EQ(rule_of(krylov, RuleKind::reml_path).outcome, krylov.flow.outcome);
  const double time = exact_flow_time(dense);
  if (std::isinf(time)) return;
  if (time > 0.0) {
    deviations.note("flow time", std::abs(krylov.flow.path.time / time - 1.0));
    EXPECT_NEAR(krylov.flow.path.time / time, 1.0, 1e-8);
  } else {
    EXPECT_EQ(krylov.flow.path.time, 0.0);
  }
  ASSERT_TRUE(krylov.is_usable());
  const Vector response = c.observations.y - c.observations.f0;
  const DualFit fit = dual_fit(DenseOperator(c.H), dense.fixed, dense.spectrum, response, dense.flow.path);
  const double sd = std::sqrt((c.observations.y.array() - c.observations.y.mean()).square().mean());
  const Vector fresh = c.H_cross * (krylov.fit.alpha - fit.alpha);
  const Vector shift = krylov.fit.beta - fit.beta;  // the only fixed effect is the intercept
  const double in_sample = (krylov.fit.fitted - fit.fitted).cwiseAbs().maxCoeff() / sd,
               off_sample = (fresh.array() + shift(0)).abs().maxCoeff() / sd;
  deviations.note("fit", in_sample);
  deviations.note("prediction", off_sample);
  EXPECT_LT(in_sample, 1e-7);
  EXPECT_LT(off_sample, 1e-7);
}

void compare_test(const Analysis& dense, const Analysis& krylov, Deviations& deviations) {
  const double log10_p = dense.test.log10_p_value;
  const double tolerance = std::max(0.01, 1e-3 * std::abs(log10_p));
  const double deviation = std::abs(krylov.test.log10_p_value - log10_p);
  deviations.note("log10 p in tolerances", deviation / tolerance);
  EXPECT_EQ(krylov.test.outcome, dense.test.outcome);
  EXPECT_LE(deviation, tolerance) << log10_p << ", standard error " << krylov.test.log10_standard_error;
}

void compare_random_rules(const Analysis& dense, const Analysis& krylov, Deviations& deviations) {
  for (const RuleKind kind : {RuleKind::expected_loo, RuleKind::reml_risk, RuleKind::gcv}) {
    const StoppingRule &a = rule_of(dense, kind), &b = rule_of(krylov, kind);
    if (a.outcome != Outcome::converged || b.outcome != Outcome::converged) continue;
    const double moved = std::log(b.time / a.time), error = b.log_time_standard_error;
    if (error > 0.0) deviations.scores.push_back(moved / error);
    deviations.note(b.name + " log time", std::abs(moved));
    EXPECT_LE(std::abs(moved), std::max(4.0 * error, 1e-3)) << b.name << ", standard error " << error;
  }
  const StoppingRule &a = rule_of(dense, RuleKind::loo), &b = rule_of(krylov, RuleKind::loo);
  if (a.outcome == Outcome::converged && b.outcome == Outcome::converged &&
      std::isfinite(b.log_time_standard_error)) {
    const double moved = std::log(b.time / a.time);
    deviations.note("loo log time", std::abs(moved));
    EXPECT_LE(std::abs(moved), 4.0 * b.log_time_standard_error + 0.3);
  }
  for (std::size_t i = 0; i < all_rules.size(); ++i) {
    const double exact = dense.rules[i].loo_rmse, estimate = krylov.rules[i].loo_rmse;
    if (std::isnan(exact) || std::isnan(estimate)) continue;
    // Each engine's error is at its own time of the rule.
    if (std::abs(std::log(krylov.rules[i].time / dense.rules[i].time)) > 0.05) continue;
    deviations.note("loo_rmse", std::abs(estimate / exact - 1.0));
    EXPECT_NEAR(estimate / exact, 1.0, 0.1) << krylov.rules[i].name;
  }
}

void compare_validation(const Analysis& dense, const Analysis& krylov, Deviations& deviations) {
  const StoppingRule &a = rule_of(dense, RuleKind::validation), &b = rule_of(krylov, RuleKind::validation);
  // The Krylov engine searches no further than its space resolves the likelihood of ridge.
  const double bound = krylov.krylov->resolved_shrinkage / krylov.data.values.maxCoeff();
  if (b.outcome != Outcome::on_boundary || a.time < 0.9 * bound) {
    EXPECT_EQ(a.outcome, b.outcome);
  }
  if (a.outcome != Outcome::converged || b.outcome != Outcome::converged) return;
  deviations.note("validation", std::abs(b.estimated_rmse / a.estimated_rmse - 1.0));
  EXPECT_NEAR(b.time / a.time, 1.0, 1e-5);
  EXPECT_NEAR(b.estimated_rmse / a.estimated_rmse, 1.0, 1e-5);
}

void compare(const Case& c, Deviations& deviations) {
  SCOPED_TRACE(c.name);
  const DenseOperator H(c.H);
  const Analysis dense = analyse(H, c.observations, with(Engine::dense));
  const Analysis krylov = analyse(H, c.observations, with(Engine::krylov));
  const Analysis alone = analyse(SingleColumns(c.H), c.observations, with(Engine::krylov));
  const Analysis chosen = analyse(H, c.observations, with(Engine::krylov, RuleKind::reml_path, false));
  ++deviations.cases;
  ASSERT_TRUE(krylov.krylov.has_value());
  EXPECT_GT(krylov.krylov->deflation_vectors, 0);
  EXPECT_EQ(alone.krylov->deflation_vectors, 0);

  compare_test(dense, krylov, deviations);
  compare_test(dense, alone, deviations);
  compare_test(dense, chosen, deviations);
  compare_flow(c, dense, chosen, deviations);
  compare_random_rules(dense, krylov, deviations);
  compare_random_rules(dense, alone, deviations);
  compare_validation(dense, krylov, deviations);
  EXPECT_EQ(chosen.flow.outcome, krylov.flow.outcome);
  if (chosen.flow.path.time > 0.0 && std::isfinite(chosen.flow.path.time)) {
    EXPECT_NEAR(chosen.flow.path.time / krylov.flow.path.time, 1.0, 1e-8);
    EXPECT_LE(krylov.krylov->bracket.lower, exact_flow_time(dense));
    EXPECT_GE(krylov.krylov->bracket.upper, exact_flow_time(dense));
  }
}

void expect_sane_scores(const std::vector<double>& scores) {
  if (scores.empty()) return;
  const auto beyond = std::count_if(scores.begin(), scores.end(), [](double z) { return std::abs(z) > 3.0; });
  double square = 0.0, largest = 0.0;
  for (const double z : scores) {
    square += z * z / static_cast<double>(scores.size());
    largest = std::max(largest, std::abs(z));
  }
  fmt::print("scores: root mean square {:.2f}, largest {:.2f}, {} of {} beyond 3\n", std::sqrt(square),
             largest, beyond, scores.size());
  EXPECT_LE(static_cast<double>(beyond), std::max(1.0, 0.05 * static_cast<double>(scores.size())));
}

void compare_all(const std::vector<Case>& cases) {
  Deviations deviations;
  for (const Case& c : cases) compare(c, deviations);
  deviations.print();
  expect_sane_scores(deviations.scores);
}

TEST(KrylovEngine, AgreesWithTheDenseEngineOnMadeProblems) { compare_all(made_cases()); }

TEST(KrylovEngine, AgreesWithTheDenseEngineOnTheReferenceCases) { compare_all(reference_cases()); }

TEST(KrylovEngine, AgreesWithTheDenseEngineOnRealData) {
  std::vector<Case> cases;
  for (const std::string folder : {"yacht", "boston", "wine-red", "kin8nm", "naval", "protein"}) {
    if (!study::available(folder)) {
      fmt::print("{} is absent: skipped\n", study::data_folder(folder));
      continue;
    }
    for (Case& c : real_cases(folder, 600)) cases.push_back(std::move(c));
  }
  if (cases.empty()) GTEST_SKIP() << "no real data in " << GRADFLOW_SHARED_DIR;
  compare_all(cases);
}

}  // namespace
}  // namespace gradflow::laws
