#include "gradflow/model/choice_guard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "gradflow/model/kernel_choice.h"

namespace gradflow {
namespace {

using testing::HasSubstr;

constexpr Index features = 8;

// `relevant` features of eight matter, all of them equally: y = sqrt(2/relevant) sum sin x_k + noise.
Dataset rows_of(Index n, Index relevant, double noise, std::uint64_t seed) {
  RandomStream random(seed, "choice guard");
  const Matrix X = random.normals(n, features);
  const Vector y =
      std::sqrt(2.0 / static_cast<double>(relevant)) * X.leftCols(relevant).array().sin().rowwise().sum() +
      noise * random.normals(n).array();
  return make_dataset(X, y, DatasetOptions{.target = "y"}, "X", "y");
}

ChoiceOptions options_of(const std::string& candidates) {
  ChoiceOptions options;
  options.select = true;
  options.candidates = {candidates};
  options.starts = 1;
  return options;
}

// Eight relevances are fitted to noise: nested, so the likelihood cannot but prefer them, and a new row shows
// that they were not worth it.
TEST(ChoiceGuard, TakesTheSimplerKernelWhereRelevancesFitTheNoise) {
  int overruled = 0;
  for (const std::uint64_t seed : {1U, 2U, 3U, 4U, 5U, 6U}) {
    const KernelChoice choice = choose_kernel({}, rows_of(80, features, 1.0, seed), options_of("ntk:relu:1"));
    ASSERT_TRUE(choice.guard);
    const ChoiceGuard& guard = *choice.guard;
    const auto freedom = [&](Index i) { return choice.candidates[static_cast<std::size_t>(i)].freedom; };

    EXPECT_EQ(freedom(guard.likeliest), Freedom::relevances);
    EXPECT_EQ(guard.overruled, choice.best != guard.likeliest);
    EXPECT_EQ(freedom(choice.best), guard.overruled ? Freedom::one_relevance : Freedom::relevances);
    overruled += guard.overruled ? 1 : 0;
  }

  EXPECT_GE(overruled, 5);
}

TEST(ChoiceGuard, LeavesNoRowsOutWhereTheLikelihoodIsDecisive) {
  const KernelChoice choice = choose_kernel({}, rows_of(120, 1, 0.2, 1), options_of("ntk:erf:1"));

  ASSERT_TRUE(choice.guard);
  EXPECT_EQ(choice.guard->folds, 0);
  EXPECT_GT(choice.guard->schwarz_lead, decisive_lead);
  EXPECT_FALSE(choice.guard->overruled);
  EXPECT_EQ(choice.best, choice.guard->likeliest);
  EXPECT_THAT(choice.guard->sentence, HasSubstr(": decisive by Schwarz's criterion"));
}

// The signal is there, but too few rows for Schwarz's criterion to see it: rows left out do.
TEST(ChoiceGuard, KeepsTheLikelihoodsChoiceWhereRowsLeftOutAgree) {
  int kept = 0, asked = 0;
  for (const std::uint64_t seed : {1U, 2U, 3U, 4U, 5U, 6U}) {
    const KernelChoice choice = choose_kernel({}, rows_of(60, 1, 0.9, seed), options_of("ntk:relu:1"));
    ASSERT_TRUE(choice.guard);
    if (choice.guard->folds == 0) continue;
    EXPECT_EQ(choice.best, choice.guard->takes_rival() ? choice.guard->rival : choice.guard->likeliest);
    ++asked;
    kept += choice.guard->overruled ? 0 : 1;
  }

  EXPECT_GE(asked, 3);
  EXPECT_GE(2 * kept, asked);
}

TEST(ChoiceGuard, HoldsTheChoiceAgainstTheKernelAsGivenUnlessCandidatesAreTheUsers) {
  const Dataset data = rows_of(60, features, 1.0, 1);
  ChoiceOptions options = options_of("ntk:relu:1");
  const auto as_given = [&] {
    const KernelChoice choice = choose_kernel(parse_kernel_sum("ntk:relu:2"), data, options);
    EXPECT_EQ(choice.guard.has_value(), options.guard_folds > 0);
    return std::count_if(choice.candidates.begin(), choice.candidates.end(),
                         [](const CandidateReport& report) { return report.freedom == Freedom::nothing; });
  };

  EXPECT_EQ(as_given(), 0);
  options.candidates = {};
  EXPECT_EQ(as_given(), 1);
  options.guard_folds = 0;
  EXPECT_EQ(as_given(), 0);
}

TEST(ChoiceGuard, SaysWhyItCannotLeaveRowsOut) {
  int asked = 0;
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    ChoiceOptions options = options_of("ntk:relu:1");
    options.guard_folds = 61;
    const KernelChoice choice = choose_kernel({}, rows_of(60, 1, 0.9, seed), options);
    ASSERT_TRUE(choice.guard);
    if (choice.guard->problem.empty()) continue;
    EXPECT_EQ(choice.guard->folds, 0);
    EXPECT_THAT(choice.guard->problem, HasSubstr("as many rows as folds"));
    EXPECT_EQ(choice.best, choice.guard->likeliest);
    ++asked;
  }

  EXPECT_GE(asked, 1);
}

class LeftOutDensities : public testing::Test {
 protected:
  // Of one kernel with two relevances, on rows with a scale.
  Matrix of(const Vector& response, const Vector& scale) const {
    ChoiceRows rows;
    rows.X = X;
    rows.response.y = response;
    rows.response.scale = rows.scale = scale;
    Matrix design = Matrix::Ones(n, 1);
    if (scale.size() > 0) design = scale;
    rows.fixed = FixedEffects(design, {"(intercept)"});
    Entrant entrant{.name = "rbf"};
    entrant.family = std::make_shared<KernelFamily>(parse_kernel_sum("rbf"), X, entrant.free);
    entrant.fit.parameters = entrant.family->start();
    SelectionOptions search;
    search.tolerance = 1e-10;
    search.max_evaluations = 200;
    return left_out_densities({entrant}, rows, 4, search);
  }

  const Index n = 40;
  SerialBlas serial;
  const Matrix X = RandomStream(3, "X").normals(n, 2);
  const Vector y = X.col(0).array().sin() + 0.4 * RandomStream(3, "e").normals(n).array();
};

TEST_F(LeftOutDensities, AreThoseOfTheUnitAndOfWeightsUpToAFactor) {
  const Matrix plain = of(y, {}), in_thousands = of(1e-3 * y, {}),
               equal_weights = of(y, Vector::Constant(n, 2.0));

  // Both change tau and s2 together: only the prior on tau, which is one on tau H, could tell.
  EXPECT_LT((in_thousands.array() - plain.array() - std::log(1e3)).abs().maxCoeff(), 1e-3);
  EXPECT_LT((equal_weights - plain).cwiseAbs().maxCoeff(), 1e-2);
}

TEST_F(LeftOutDensities, AreTheSameBitsForAnyNumberOfThreads) {
  const int before = threads();
  set_threads(1);
  const Matrix one = of(y, {});
  set_threads(2);
  const Matrix two = of(y, {});
  set_threads(before);

  EXPECT_EQ(one, two);
}

}  // namespace
}  // namespace gradflow
