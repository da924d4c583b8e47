#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/model/kernel_choice.h"
#include "gradflow/model/repeated_choice.h"

namespace gradflow {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

constexpr Index n = 120;

// Skewed responses, positive but for one of 0.
Dataset skewed_with_a_zero(Index zero) {
  RandomStream random(1, "transform choice");
  const Matrix X = random.normals(n, 2);
  Vector y = (X.col(0).array().sin() + 0.5 * random.normals(n).array()).exp();
  y(zero) = 0.0;
  return make_dataset(X, y, DatasetOptions{.target = "y"}, "X", "y");
}

ChoiceOptions few_rows() {
  ChoiceOptions options;
  options.select = true;
  options.candidates = {"rbf"};
  options.automatic_transform = true;
  options.starts = 1;
  options.rows = 40;
  options.guard_folds = 0;
  return options;
}

// Box-Cox was chosen by rows that were all positive, and gave a zero elsewhere in the table an infinity.
TEST(TransformChoice, TriesWhatTakesEveryRowNotOnlyThoseLookedAt) {
  for (const Index zero : {Index{3}, Index{50}, Index{117}}) {
    const Dataset data = skewed_with_a_zero(zero);
    const KernelChoice choice = choose_kernel({}, data, few_rows());

    std::vector<std::string> tried;
    for (const CandidateReport& candidate : choice.candidates) tried.push_back(candidate.transform);
    EXPECT_THAT(tried, Contains("yeo-johnson"));
    EXPECT_THAT(tried, Not(Contains("box-cox")));
    EXPECT_TRUE(
        choice.transform.forward(unstandardize_response(data.recipe, data.y)).array().isFinite().all());
  }
}

TEST(TransformChoice, RefusesBoxCoxForAResponseThatIsNotAmongTheRowsLookedAt) {
  ChoiceOptions options = few_rows();
  options.automatic_transform = false;
  options.transform = TransformKind::box_cox;
  for (const Index zero : {Index{3}, Index{50}, Index{117}}) try {
      choose_kernel({}, skewed_with_a_zero(zero), options);
      ADD_FAILURE() << "accepted";
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr("positive values"));
    }
}

TEST(TransformChoice, WithoutAFoldTriesWhatTakesTheRowsOfTheFold) {
  ChoiceOptions options = few_rows();
  options.rows = n;
  const RepeatedChoice repeated = repeat_choice({}, skewed_with_a_zero(3), options, {}, 3);

  for (const FoldChoice& fold : repeated.folds) EXPECT_EQ(fold.transform, "yeo-johnson");
  EXPECT_THAT(repeated.warnings, testing::IsEmpty());
}

}  // namespace
}  // namespace gradflow
