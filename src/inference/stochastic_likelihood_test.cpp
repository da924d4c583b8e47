#include "gradflow/inference/stochastic_likelihood.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "gradflow/inference/likelihood.h"
#include "gradflow/operators/kernel_family.h"
#include "gradflow/operators/scaled_family.h"
#include "inference/test_families.h"

namespace gradflow {
namespace {

// A response with a smooth signal, three fixed effects and weights, under one kernel.
struct LikelihoodProblem {
  std::shared_ptr<const OperatorFamily> family{};
  Vector scale{}, w{};
  FixedEffects fixed = FixedEffects::none(1);
  Vector at{};  // (p, log tau), away from any optimum

  RestrictedLikelihood dense() const { return {*family, {w.cwiseQuotient(scale), {}, scale}, fixed}; }
};

LikelihoodProblem problem(const std::string& kernel, Index n, bool adjusted) {
  RandomStream random(1, "problem " + kernel);
  const Matrix X = random.normals(n, 3);
  LikelihoodProblem result;
  result.scale = adjusted ? Vector(Vector::LinSpaced(n, 0.5, 1.6)) : Vector(Vector::Ones(n));
  result.family = std::make_shared<ScaledFamily>(std::make_shared<KernelFamily>(parse_kernel_sum(kernel), X),
                                                 result.scale);
  const Vector y =
      (2.0 * X.col(0).array()).sin() + X.col(1).array() * X.col(2).array() + 0.3 * random.normals(n).array();
  result.w = result.scale.cwiseProduct(y);
  Matrix design(n, adjusted ? 3 : 0);
  if (adjusted) design << Vector::Ones(n), X.col(1), random.normals(n);
  result.fixed = {result.scale.asDiagonal() * design,
                  std::vector<std::string>(static_cast<std::size_t>(design.cols()), "x")};
  result.at.resize(result.family->parameters() + 1);
  result.at << result.family->start(), std::log(20.0 * static_cast<double>(n));
  result.at.array() += 0.2;
  return result;
}

const char* const kernels[] = {"ntk:relu:2,sb2=0.1", "ntk:erf:1,sb2=0.1", "rbf",
                               "ntk:relu:1,sb2=0.1 + linear"};

StochasticLikelihood probed(const LikelihoodProblem& p, const ProbeOptions& options) {
  return {*p.family, p.w, p.fixed, p.at.head(p.at.size() - 1), options};
}

TEST(StochasticLikelihood, IsWithinItsErrorsOfTheLikelihoodByCholesky) {
  for (const char* kernel : kernels)
    for (const bool adjusted : {false, true}) {
      const LikelihoodProblem p = problem(kernel, 300, adjusted);
      const LikelihoodValue dense = p.dense().at(p.at);
      const ProbedLikelihood value =
          probed(p, {.tolerance = 1e-8}).at(p.at, StochasticLikelihood::Errors::gradient_too);

      EXPECT_EQ(value.outcome, Outcome::converged) << value.reason;
      EXPECT_NEAR(value.noise_variance / dense.noise_variance, 1.0, 1e-8);
      EXPECT_NEAR(value.criterion, dense.criterion, 4.0 * value.criterion_error) << kernel;
      EXPECT_GT(value.criterion_error, 0.0);
      ASSERT_EQ(value.gradient.size(), dense.gradient.size());
      // Errors of 8 groups: 4 standard errors of the normal have the frequency of 6 of t with 7 degrees.
      for (Index k = 0; k < value.gradient.size(); ++k)
        EXPECT_NEAR(value.gradient(k), dense.gradient(k), 6.0 * value.gradient_error(k))
            << kernel << ' ' << k;
    }
}

TEST(StochasticLikelihood, WithEveryDirectionEqualsTheLikelihoodByCholesky) {
  for (const char* kernel : kernels)
    for (const bool adjusted : {false, true}) {
      const LikelihoodProblem p = problem(kernel, 100, adjusted);
      const LikelihoodValue dense = p.dense().at(p.at);
      for (const Index rank : {0, 40}) {
        const ProbedLikelihood value =
            probed(p, {.every_direction = true, .rank = rank, .tolerance = 1e-12, .max_iterations = 1000})
                .at(p.at);

        EXPECT_EQ(value.outcome, Outcome::converged) << value.reason;
        EXPECT_LE(value.rank, rank);
        EXPECT_NEAR(value.criterion, dense.criterion, 1e-8 * std::abs(dense.criterion)) << kernel;
        EXPECT_EQ(value.criterion_error, 0.0);
        EXPECT_LT((value.gradient - dense.gradient).cwiseAbs().maxCoeff(), 1e-8 * 100.0)
            << kernel << ' ' << rank;
        EXPECT_NEAR(value.effective_dof, dense.effective_dof, 1e-8 * 100.0) << value.iterations;
      }
    }
}

TEST(StochasticLikelihood, CountsReplicatesAsTheLikelihoodByCholeskyDoes) {
  const LikelihoodProblem p = problem("rbf", 80, true);
  const RestrictedLikelihood likelihood(
      *p.family,
      {.y = p.w.cwiseQuotient(p.scale), .scale = p.scale, .within_squares = 5.0, .within_dof = 20.0},
      p.fixed);
  const LikelihoodValue dense = likelihood.at(p.at);
  const StochasticLikelihood all(*p.family, p.w, p.fixed, p.family->start(),
                                 {.every_direction = true, .tolerance = 1e-12}, 5.0, 20.0);
  const ProbedLikelihood value = all.at(p.at);

  EXPECT_EQ(all.restricted_count(), likelihood.restricted_count());
  EXPECT_NEAR(value.criterion, dense.criterion, 1e-7);
  EXPECT_LT((value.gradient - dense.gradient).cwiseAbs().maxCoeff(), 1e-6);
}

TEST(StochasticLikelihood, HasHonestStandardErrors) {
  const LikelihoodProblem p = problem("ntk:relu:1,sb2=0.1", 140, true);
  const LikelihoodValue dense = p.dense().at(p.at);
  const Index seeds = 50, m = dense.gradient.size();
  Matrix z(m + 1, seeds);
  for (Index seed = 0; seed < seeds; ++seed) {
    const ProbedLikelihood value =
        probed(p, {.probes = 32, .rank = 12, .tolerance = 1e-6, .seed = static_cast<std::uint64_t>(seed)})
            .at(p.at, StochasticLikelihood::Errors::gradient_too);
    z.col(seed).head(m) = (value.gradient - dense.gradient).cwiseQuotient(value.gradient_error);
    z(m, seed) = (value.criterion - dense.criterion) / value.criterion_error;
  }
  // The spread of 50 draws has a relative error of 0.1 (normal) to 0.15 (t with 7 degrees, whose sd is 1.18).
  for (Index k = 0; k <= m; ++k) {
    const double mean = z.row(k).mean(), sd = std::sqrt((z.row(k).array() - mean).square().sum() / 49.0);
    EXPECT_LT(std::abs(mean), 4.0 * sd / std::sqrt(50.0)) << k;
    EXPECT_GT(sd, k < m ? 0.7 : 0.65) << k;
    EXPECT_LT(sd, k < m ? 1.75 : 1.4) << k;
  }
}

TEST(StochasticLikelihood, MissesNoMoreThanItsShareOfAPosteriorStandardDeviation) {
  // var z'Bz <= 2 |B|_F^2: the gradient's error against the curvature of Q, its information.
  const LikelihoodProblem p = problem("rbf", 200, false);
  const RestrictedLikelihood likelihood = p.dense();
  const ProbedLikelihood value = probed(p, {.probes = 16, .rank = 0, .tolerance = 1e-6})
                                     .at(p.at, StochasticLikelihood::Errors::gradient_too);
  Vector up = p.at, down = p.at;
  const Index last = p.at.size() - 1;
  up(last) += 1e-3;
  down(last) -= 1e-3;
  // |B|_F^2 of log tau: the expected curvature d^2Q = tr (P dV)^2, here by the dof's slope: dV = V - I
  const double information = p.dense().at(p.at).effective_dof -
                             (likelihood.at(up).effective_dof - likelihood.at(down).effective_dof) / 2e-3;

  EXPECT_LT(value.gradient_error(last), 2.0 * std::sqrt(2.0 * information / 16.0));
}

TEST(StochasticLikelihood, HasTheSameBitsForTheSameSeedAndAnyNumberOfThreads) {
  const LikelihoodProblem p = problem("ntk:relu:1,sb2=0.1 + linear", 700, true);
  ProbedLikelihood values[3];
  for (const int count : {1, 2, 2}) {
    set_threads(count);
    ProbedLikelihood& value = values[count == 1 ? 0 : values[1].gradient.size() == 0 ? 1 : 2];
    value = probed(p, {.probes = 4}).at(p.at, StochasticLikelihood::Errors::gradient_too);
  }
  set_threads(0);
  const ProbedLikelihood other = probed(p, {.probes = 4, .seed = 2}).at(p.at);

  for (const int k : {1, 2}) {
    EXPECT_EQ(values[k].criterion, values[0].criterion);
    EXPECT_EQ(values[k].gradient, values[0].gradient);
    EXPECT_EQ(values[k].gradient_error, values[0].gradient_error);
  }
  EXPECT_NE(other.criterion, values[0].criterion);
}

TEST(StochasticLikelihood, SaysWhatItCouldNotDo) {
  const LikelihoodProblem p = problem("ntk:relu:1,sb2=0.1", 100, true);
  const ProbedLikelihood few = probed(p, {.rank = 0, .max_iterations = 2}).at(p.at);
  const testing_families::WeightedSum negative({-Matrix::Identity(100, 100)});
  const Vector at{{0.0, std::log(1000.0)}};
  const ProbedLikelihood indefinite = StochasticLikelihood(negative, p.w, p.fixed, Vector::Zero(1)).at(at);
  const ProbedLikelihood nothing = StochasticLikelihood(*p.family, Vector(p.fixed.design().col(0)), p.fixed,
                                                        p.family->start(), {.tolerance = 1e-14})
                                       .at(p.at);

  EXPECT_EQ(few.outcome, Outcome::iteration_limit);
  EXPECT_GT(few.residual, 1e-2);
  EXPECT_EQ(few.iterations, 2);
  EXPECT_EQ(indefinite.outcome, Outcome::unidentified);
  EXPECT_EQ(indefinite.gradient.size(), 0);
  EXPECT_EQ(nothing.outcome, Outcome::unidentified);
  EXPECT_THROW(probed(p, {.probes = 1}), InputError);
  EXPECT_THROW(StochasticLikelihood(*p.family, Vector::Ones(7), p.fixed, p.family->start()), InputError);
}

}  // namespace
}  // namespace gradflow
