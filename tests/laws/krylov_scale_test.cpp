// The Krylov engine on operators of two thousand rows whose spectrum is known exactly, against the answers
// that the spectrum itself gives.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "gradflow/inference/analysis.h"

namespace gradflow::laws {
namespace {

// x <- W x, W the orthonormal Walsh-Hadamard matrix, whose first column is constant; n log2 n additions.
void transform(Eigen::Ref<Vector> x) {
  const Index n = x.size();
  for (Index half = 1; half < n; half *= 2)
    for (Index begin = 0; begin < n; begin += 2 * half)
      for (Index i = begin; i < begin + half; ++i) {
        const double sum = x(i) + x(i + half);
        x(i + half) = x(i) - x(i + half);
        x(i) = sum;
      }
  x /= std::sqrt(static_cast<double>(n));
}

/// W diag(lambda) W'.
class WalshOperator final : public TrainingOperator {
 public:
  explicit WalshOperator(Vector lambda) : lambda_(std::move(lambda)) {}
  Index size() const noexcept override { return lambda_.size(); }
  std::string description() const override { return "planted spectrum"; }

 private:
  void do_apply(ConstBlock X, Block Y) const override {
    for (Index j = 0; j < X.cols(); ++j) {
      Y.col(j) = X.col(j);
      transform(Y.col(j));
      Y.col(j).array() *= lambda_.array();
      transform(Y.col(j));
    }
  }
  Vector do_diagonal() const override { return Vector::Constant(size(), lambda_.mean()); }
  Vector lambda_;
};

/// Eigenvalues i^-power, signal of variance snr along them; the intercept takes the first direction.
struct PlantedProblem {
  PlantedProblem(Index n, double power, double snr, std::uint64_t seed) : lambda(n), z(n) {
    RandomStream random(seed, "planted problem");
    for (Index i = 0; i < n; ++i) lambda(i) = std::pow(static_cast<double>(i + 1), -power);
    Vector signal = lambda.cwiseSqrt().cwiseProduct(random.normals(n));
    signal(0) = 0.0;
    z = signal * std::sqrt(snr * static_cast<double>(n)) / signal.norm() + random.normals(n);
  }
  Observations observations() const {
    Vector y = z;
    transform(y);
    return {y, Vector::Zero(y.size()), Matrix(y.size(), 0), {}, {}};
  }
  // From the eigenvalues and the coordinates themselves.
  double time_of(RuleKind rule) const {
    const Index N = lambda.size() - 1;
    const SpectralData data{lambda.tail(N), z.tail(N), {}, lambda.tail(N).sum()};
    const RemlFit ridge = fit_reml(data, Path{.kind = PathKind::ridge});
    return rule == RuleKind::reml_risk ? risk_time(data, ridge, {})
                                       : expected_loo_time(data, average_signal(data, ridge), {});
  }
  Vector lambda, z;
};

AnalysisOptions chosen_rule_only() {
  AnalysisOptions options;
  options.engine = Engine::krylov;
  options.krylov.all_rules = false;
  options.krylov.loo_probes = 0;
  return options;
}

TEST(KrylovAtScale, TheTimeOfARiskIsWithinItsStandardErrorOfTheExactSpectrums) {
  struct Shape {
    double power, snr;
  };
  Index with_moments = 0;
  for (const auto [power, snr] : {Shape{1.0, 1.0}, Shape{1.5, 4.0}, Shape{2.0, 4.0}})
    for (const RuleKind chosen : {RuleKind::expected_loo, RuleKind::reml_risk}) {
      const std::uint64_t seed = chosen == RuleKind::reml_risk ? 1 : 2;
      const PlantedProblem problem(2048, power, snr, seed);
      AnalysisOptions options = chosen_rule_only();
      options.rule = chosen;
      options.seed = seed;
      const Analysis analysis = analyse(WalshOperator(problem.lambda), problem.observations(), options);
      const StoppingRule& rule = analysis.rule();
      const KrylovReport& krylov = *analysis.krylov;
      const double error = std::log(rule.time / problem.time_of(chosen));
      const double width = std::log(rule.interval.upper / rule.interval.lower);
      fmt::print("{}, power {}, snr {}: error {:+.5f} ({:.5f}), {} + {} probes, {} products\n", rule.name,
                 power, snr, error, rule.log_time_standard_error, krylov.probes, krylov.moment_probes,
                 krylov.products);

      EXPECT_EQ(rule.outcome, Outcome::converged);
      EXPECT_LT(std::abs(error), 4.0 * rule.log_time_standard_error);
      EXPECT_GE(krylov.probes, 8);  // fewer do not know their own spread
      // As sharp as is promised, or all probes used. A quarter more for what the standard error has besides.
      if (krylov.probes < options.krylov.max_probes) {
        EXPECT_LT(rule.log_time_standard_error, 1.25 * std::max(0.01, 0.01 * width));
      }
      with_moments += krylov.moment_probes > 0 ? 1 : 0;
    }
  EXPECT_GT(with_moments, 0);
}

TEST(KrylovAtScale, MomentProbesGiveTheSameBitsOnOneAndTwoThreads) {
  const PlantedProblem problem(2048, 1.0, 1.0, 1);
  const WalshOperator H(problem.lambda);
  set_threads(1);
  const Analysis one = analyse(H, problem.observations(), chosen_rule_only());
  set_threads(2);
  const Analysis two = analyse(H, problem.observations(), chosen_rule_only());
  set_threads(0);

  EXPECT_GT(one.krylov->moment_probes, 0);
  EXPECT_EQ(one.rule().time, two.rule().time);
  EXPECT_EQ(one.rule().log_time_standard_error, two.rule().log_time_standard_error);
  EXPECT_EQ(one.test.log10_p_value, two.test.log10_p_value);
  EXPECT_EQ(one.fit.alpha, two.fit.alpha);
}

}  // namespace
}  // namespace gradflow::laws
