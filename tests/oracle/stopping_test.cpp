// One small part of ./x bench rules: the default rule on real data against the best time along the same
// flow.
#include <gtest/gtest.h>

#include "../../bench/stopping_study.h"

namespace gradflow {
namespace {

TEST(StoppingOnRealData, DefaultRuleIsWithinThreePercentOfTheBestTimeOnYachtAndBoston) {
  for (const study::Case& study_case :
       {study::Case{"yacht", "yacht", 20}, study::Case{"boston", "boston", 20}}) {
    if (!study::available(study_case.folder))
      GTEST_SKIP() << study::data_folder(study_case.folder) << " is absent: skipped";
    const study::RealData data = study::load(study_case.folder);
    double ratio = 0.0;
    for (int split = 0; split < study_case.splits; ++split)
      ratio += study::score_split(data, study_case, split).rules.at("expected-loo").ratio / study_case.splits;

    EXPECT_LE(ratio, 1.03) << study_case.name;
  }
}

// Made by an independent computation in numpy (eigendecomposition, grid plus root-finding), population sd.
TEST(StoppingOnRealData, TimesAndTestAgreeWithAnIndependentComputation) {
  if (!study::available("boston")) GTEST_SKIP() << study::data_folder("boston") << " is absent: skipped";
  const study::RealData data = study::load("boston");
  const auto train = data.splits["train"][0].get<std::vector<Index>>();
  const Dataset encoded =
      make_dataset(Matrix(data.X(train, Eigen::all)), Vector(data.y(train)), DatasetOptions{}, "X", "y");
  const DenseOperator H(kernel_gram(InfiniteArchitecture{}, encoded.X) / 455.0);

  const Analysis a = analyse(H, {Vector(data.y(train)), Vector::Zero(455), Matrix(455, 0), {}, {}});

  EXPECT_NEAR(H.entries()(0, 1), 0.0054371095070915, 1e-15);
  EXPECT_NEAR(a.spectrum.trace, 4.63377771501, 1e-10);
  EXPECT_NEAR(std::log(a.ridge.path.time), 10.0573092390, 1e-8);
  EXPECT_NEAR(a.ridge.noise_variance, 0.32260509, 1e-6);
  EXPECT_NEAR(risk_minimiser(a.data, {.kind = PathKind::flow}, a.ridge.path.time) / 6507.83404, 1.0, 1e-5);
  EXPECT_NEAR(a.rule(RuleKind::reml_risk).time / 6229.89245, 1.0,
              1e-5);  // two components by Nelder and Mead's method
  EXPECT_NEAR(a.flow.path.time / 35.45842011, 1.0, 1e-9);
  EXPECT_NEAR(a.test.log10_p_value, -56.59321803, 1e-7);
}

}  // namespace
}  // namespace gradflow
