#include "gradflow/inference/refinement.h"

#include <gtest/gtest.h>

#include <cmath>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/inference/selection.h"
#include "gradflow/operators/kernel_family.h"

namespace gradflow {
namespace {

// Three features of which two matter, seen on some rows first and then on all.
class Refining : public ::testing::Test {
 protected:
  static constexpr Index few = 90, all = 260;

  Refining() : X_(RandomStream(1, "features").normals(all, 3)) {
    y_ = (1.5 * X_.col(0).array()).sin() + 0.5 * X_.col(1).array().square() +
         0.2 * RandomStream(2, "noise").normals(all).array();
  }

  std::shared_ptr<const KernelFamily> family(Index n) const {
    return std::make_shared<KernelFamily>(parse_kernel_sum("rbf"), X_.topRows(n));
  }
  static Prior priors(const OperatorFamily& family) {
    Prior all_priors = default_priors(family);
    all_priors.add(
        ParameterPrior::normal(-std::log(family.at(family.start())->H().diagonal().mean()), signal_prior_sd));
    return all_priors;
  }
  CandidateFit chosen(Index n) const {
    SelectionOptions options;
    options.tolerance = 1e-6;
    options.max_evaluations = 200;
    return select({{"rbf", family(n), {}}}, {.y = y_.head(n)}, FixedEffects::intercept(n), options)
        .candidates.front();
  }
  static Vector with_tau(const CandidateFit& fit, double share) {
    Vector x(fit.parameters.size() + 1);
    x << fit.parameters, std::log(fit.tau * share);
    return x;
  }
  // The optimum on few rows, as the start on all: H is divided by the number of rows.
  RefinementStart start() const {
    const std::shared_ptr<const KernelFamily> small = family(few), large = family(all);
    const CandidateFit fit = chosen(few);
    RefinementStart result;
    result.x = with_tau(fit, static_cast<double>(all) / few);
    result.lower.resize(result.x.size());
    result.upper.resize(result.x.size());
    result.lower << large->lower(), -30.0;
    result.upper << large->upper(), 30.0;
    result.priors = priors(*large);
    const RestrictedLikelihood likelihood(*small, {.y = y_.head(few)}, FixedEffects::intercept(few));
    result.curvature = curvature_of(likelihood, with_tau(fit, 1.0));
    result.rows = few;
    return result;
  }
  StochasticLikelihood probed(const OperatorFamily& large, const RefinementStart& at,
                              const ProbeOptions& options) const {
    return {large, y_, FixedEffects::intercept(all), at.x.head(at.x.size() - 1), options};
  }
  // Q + penalties on all rows by Cholesky.
  double penalised(const Vector& x) const {
    const std::shared_ptr<const KernelFamily> large = family(all);
    return RestrictedLikelihood(*large, {.y = y_}, FixedEffects::intercept(all)).at(x, false).criterion +
           priors(*large).at(x).penalty;
  }

  Matrix X_;
  Vector y_;
};

TEST_F(Refining, WithEveryDirectionEndsWithinItsToleranceOfTheOptimumByCholesky) {
  const RefinementStart from = start();
  const std::shared_ptr<const KernelFamily> large = family(all);
  RefinementOptions options;
  options.tolerance = 0.02;
  options.max_evaluations = 20;
  const Refinement result =
      refine(probed(*large, from, {.every_direction = true, .tolerance = 1e-9}), from, options);
  const double least = chosen(all).penalised_criterion;

  EXPECT_EQ(result.outcome, Outcome::converged) << result.reason;
  EXPECT_GT(penalised(from.x), least + 1.0);  // there was something to find
  EXPECT_LT(penalised(result.parameters), least + 2.0 * options.tolerance);
  EXPECT_NEAR(result.lowered, penalised(from.x) - penalised(result.parameters), 1e-5);
  EXPECT_EQ(result.lowered_error, 0.0);
  EXPECT_EQ(result.probe_error, Vector::Zero(from.x.size()));
}

TEST_F(Refining, WithProbesMissesTheOptimumByTheirShare) {
  const RefinementStart from = start();
  const std::shared_ptr<const KernelFamily> large = family(all);
  const double least = chosen(all).penalised_criterion;
  double excess = 0.0;
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    const Refinement result = refine(probed(*large, from, {.rank = 20, .seed = seed}), from);

    EXPECT_EQ(result.outcome, Outcome::converged) << result.reason;
    EXPECT_LE(result.evaluations, 8);
    EXPECT_NEAR(result.lowered, penalised(from.x) - penalised(result.parameters),
                4.0 * result.lowered_error + 0.05);
    EXPECT_LT(result.probe_error.maxCoeff(), 0.5);
    excess += (penalised(result.parameters) - least) / 5.0;
  }
  // 1/R for each of 4 parameters, and what the tolerance leaves; the mean of 5 within twice as much.
  EXPECT_LT(excess, 2.0 * (4.0 / 16.0 + 0.1));
}

TEST_F(Refining, StopsAtOnceWhereNothingIsToBeGained) {
  RefinementStart from = start();
  from.x = with_tau(chosen(all), 1.0);
  const std::shared_ptr<const KernelFamily> large = family(all);
  const Refinement result = refine(probed(*large, from, {.every_direction = true, .tolerance = 1e-9}), from);

  EXPECT_EQ(result.outcome, Outcome::converged);
  EXPECT_EQ(result.evaluations, 1);
  EXPECT_EQ(result.parameters, from.x);
  EXPECT_EQ(result.lowered, 0.0);
}

TEST_F(Refining, KeepsToItsBoxAndSaysWhereItStopped) {
  RefinementStart from = start(), boxed = from;
  boxed.lower = from.x.array() - 0.01;
  boxed.upper = from.x.array() + 0.01;
  const std::shared_ptr<const KernelFamily> large = family(all);
  const StochasticLikelihood likelihood = probed(*large, from, {});
  RefinementOptions two;
  two.max_evaluations = 2;
  two.tolerance = 1e-9;
  const Refinement held = refine(likelihood, boxed), cut = refine(likelihood, from, two);
  const Refinement stuck = refine(probed(*large, from, {.rank = 0, .max_iterations = 3}), from);

  EXPECT_TRUE((held.parameters.array() >= boxed.lower.array()).all());
  EXPECT_TRUE((held.parameters.array() <= boxed.upper.array()).all());
  EXPECT_EQ(held.outcome, Outcome::converged);
  EXPECT_EQ(cut.outcome, Outcome::iteration_limit);
  EXPECT_EQ(cut.evaluations, 2);
  EXPECT_EQ(stuck.outcome, Outcome::iteration_limit);
  EXPECT_EQ(stuck.parameters, from.x);
  from.rows = 0;
  EXPECT_THROW(refine(likelihood, from), InputError);
}

TEST(CurvatureOf, IsTheSlopeOfTheGradient) {
  // One scale: Q of (log weight, log tau) depends on their sum, so all four entries are one.
  const Index n = 50;
  const KernelFamilyOptions only_weight{
      .weights = true, .relevances = false, .sw2 = false, .sb2 = false, .redundant = true};
  const KernelFamily family(parse_kernel_sum("rbf"), RandomStream(3, "x").normals(n, 2), only_weight);
  const RestrictedLikelihood likelihood(family, {.y = RandomStream(4, "y").normals(n)},
                                        FixedEffects::intercept(n));
  const Vector at{{0.1, 2.0}};
  const Matrix B = curvature_of(likelihood, at);
  const auto criterion = [&](double shift) {
    return likelihood.at(Vector{{0.1, 2.0 + shift}}, false).criterion;
  };
  const double expected = (criterion(0.01) - 2.0 * criterion(0.0) + criterion(-0.01)) / 1e-4;

  EXPECT_NEAR(B(1, 1), expected, 1e-4 * std::abs(expected) + 1e-5);
  EXPECT_NEAR(B(0, 0), B(1, 1), 1e-6);
  EXPECT_NEAR(B(0, 1), B(1, 1), 1e-6);
}

}  // namespace
}  // namespace gradflow
