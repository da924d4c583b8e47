#include "gradflow/model/kernel_refinement.h"

#include <gtest/gtest.h>

#include <cmath>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "gradflow/model/kernel_choice.h"

namespace gradflow {
namespace {

constexpr Index all = 420, few = 110;

// Four features, two of which matter.
Dataset data() {
  RandomStream random(1, "refinement");
  const Matrix X = random.normals(all, 4);
  const Vector y = (1.5 * X.col(0).array()).sin() + 0.5 * X.col(0).array() * X.col(1).array() +
                   0.2 * random.normals(all).array();
  return make_dataset(X, y, DatasetOptions{.target = "y"}, "X", "y");
}

ChoiceOptions one_candidate(Index rows, Index refine_rows) {
  ChoiceOptions options;
  options.select = true;
  options.candidates = {"rbf"};
  options.rows = rows;
  options.refine_rows = refine_rows;
  return options;
}

// Q + penalties of a kernel on all rows, at the best tau near the given one, by Cholesky.
double penalised_on_all(const Dataset& rows, const KernelSum& kernel, double log_tau) {
  const KernelFamily family(parse_kernel_sum("rbf"), rows.X);
  const RestrictedLikelihood likelihood(family, {.y = unstandardize_response(rows.recipe, rows.y)},
                                        FixedEffects::intercept(all));
  Prior priors = default_priors(family);
  priors.add(
      ParameterPrior::normal(-std::log(family.at(family.start())->H().diagonal().mean()), signal_prior_sd));
  Vector x(family.parameters() + 1);
  x << family.parameters_of(kernel), log_tau;
  return likelihood.at(x, false).criterion + priors.at(x).penalty;
}

TEST(RefineKernel, ComesNearTheChoiceOnAllRows) {
  const Dataset rows = data();
  const KernelChoice refined = choose_kernel({}, rows, one_candidate(few, all));
  const KernelChoice whole = choose_kernel({}, rows, one_candidate(all, 0));
  ASSERT_TRUE(refined.refinement.has_value());
  const KernelRefinement& refinement = *refined.refinement;
  const Index m = refinement.result.parameters.size();
  const double before = penalised_on_all(
                   rows,
                   KernelFamily(parse_kernel_sum("rbf"), rows.X).sum_at(refinement.result.start.head(m - 1)),
                   refinement.result.start(m - 1)),
               after = penalised_on_all(rows, refined.kernel, refinement.result.parameters(m - 1)),
               least = whole.candidates.front().fit.penalised_criterion;

  EXPECT_EQ(refined.rows, few);
  EXPECT_EQ(refinement.rows, all);
  EXPECT_TRUE(refinement.used) << refinement.sentence();
  EXPECT_FALSE(whole.refinement.has_value());
  EXPECT_GT(before, least + 1.0);
  // 1/R for each parameter, and the tolerance; twice as much.
  EXPECT_LT(after, least + 2.0 * (static_cast<double>(m) / 16.0 + 0.1));
  EXPECT_NEAR(refinement.result.lowered, before - after, 4.0 * refinement.result.lowered_error + 0.1);
}

TEST(RefineKernel, IsTheSameForAnyNumberOfThreadsWithWeightsAndATransform) {
  Dataset rows = data();
  rows.weights = Vector::LinSpaced(all, 0.5, 1.5);
  const Vector raw = unstandardize_response(rows.recipe, rows.y);
  rows.y = standardize_response(rows.recipe, Vector(raw.array().exp()));
  ChoiceOptions options = one_candidate(few, 300);
  options.transform = TransformKind::box_cox;
  KernelChoice choices[2];
  for (const int count : {1, 2}) {
    set_threads(count);
    choices[count - 1] = choose_kernel({}, rows, options);
  }
  set_threads(0);

  ASSERT_TRUE(choices[0].refinement && choices[1].refinement);
  EXPECT_GT(choices[0].refinement->result.evaluations, 0) << choices[0].refinement->sentence();
  EXPECT_EQ(choices[0].refinement->result.parameters, choices[1].refinement->result.parameters);
  EXPECT_EQ(choices[0].refinement->sentence(), choices[1].refinement->sentence());
}

TEST(RefineKernel, IsNotTriedWithoutMoreRows) {
  const KernelChoice choice = choose_kernel({}, data(), one_candidate(all, all));

  ASSERT_TRUE(choice.refinement.has_value());
  EXPECT_FALSE(choice.refinement->used);
  EXPECT_EQ(choice.refinement->sentence(),
            "Parameters are not refined: there are no more rows than the choice looked at.");
  EXPECT_TRUE(choice.warnings.empty());
  EXPECT_THROW(choose_kernel({}, data(), one_candidate(all, -1)), InputError);
}

}  // namespace
}  // namespace gradflow
