#include <gtest/gtest.h>

#include <cmath>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/inference/class_test.h"
#include "gradflow/operators/dense_operator.h"

namespace gradflow {
namespace {

DenseOperator linear_kernel(Index n, Index d, std::uint64_t seed) {
  RandomStream random(seed, "features");
  const Matrix X = random.normals(n, d);
  return DenseOperator(X * X.transpose() / static_cast<double>(n));
}

Labels random_labels(Index n, Index classes, std::uint64_t seed) {
  RandomStream random(seed, "labels");
  Labels labels;
  for (Index i = 0; i < n; ++i)
    labels.push_back(static_cast<Index>(random.below(static_cast<std::uint64_t>(classes))));
  return labels;
}

TEST(ClassTest, OfTwoClassesIsTheBinaryTestOfEither) {
  const DenseOperator H = linear_kernel(90, 4, 1);
  const Labels labels = random_labels(90, 2, 1);
  const Vector y =
      Eigen::Map<const Eigen::Matrix<Index, Eigen::Dynamic, 1>>(labels.data(), 90).cast<double>();
  const BinaryTest binary = binary_test(H, FixedEffects::intercept(90), y, {.draws = 1});

  const ClassTest test = class_test(H, labels, 2);

  EXPECT_EQ(test.method, BinaryNull::asymptotic);
  EXPECT_NEAR(test.log10_p_value, binary.log10_p_value_asymptotic, 1e-9);
  EXPECT_NEAR(test.class_p_value(0), binary.p_value_asymptotic, 1e-9);
  EXPECT_NEAR(test.class_p_value(1), binary.p_value_asymptotic, 1e-9);
  EXPECT_NEAR(test.statistic, 2.0 * binary.statistic, 1e-10 * binary.statistic);
}

TEST(ClassTest, PermutationsAgreeWithTheAsymptoticNullForThreeClasses) {
  const DenseOperator H = linear_kernel(150, 5, 2);
  const Labels labels = random_labels(150, 3, 2);

  const ClassTest asymptotic = class_test(H, labels, 3);
  const ClassTest permuted = class_test(H, labels, 3, {.asymptotic_from = 1000});

  ASSERT_GT(permuted.p_value, 0.01);
  // Four standard errors of 9999 permutations, and the asymptotic null's own error at n = 150.
  EXPECT_NEAR(permuted.p_value, asymptotic.p_value, 4.0 * permuted.standard_error + 0.02);
  EXPECT_EQ(permuted.method, BinaryNull::permutation);
  EXPECT_DOUBLE_EQ(permuted.log10_p_value_asymptotic, asymptotic.log10_p_value);
}

TEST(ClassTest, RejectsAtItsLevelWhereNothingIsToBeLearnt) {
  const DenseOperator H = linear_kernel(120, 4, 3);
  int rejected = 0;
  const int sets = 300;

  for (int set = 0; set < sets; ++set)
    rejected +=
        class_test(H, random_labels(120, 3, 100 + static_cast<std::uint64_t>(set)), 3, {.asymptotic_from = 1})
            .p_value < 0.1;

  // Binomial(300, 0.1): standard deviation 5.2.
  EXPECT_NEAR(rejected, 30, 21);
}

TEST(ClassTest, SeesAClassThatTheOperatorTellsApart) {
  RandomStream random(4, "features");
  Matrix X = random.normals(240, 3);
  const Labels labels = random_labels(240, 3, 4);
  for (Index i = 0; i < 240; ++i)
    if (labels[static_cast<std::size_t>(i)] == 2) X(i, 0) += 2.0;
  const DenseOperator H(X * X.transpose() / 240.0);

  const ClassTest test = class_test(H, labels, 3);

  EXPECT_LT(test.p_value, 1e-6);
  EXPECT_LT(test.class_p_value(2), test.class_p_value(0));
  EXPECT_LT(test.class_p_value(2), test.class_p_value(1));
}

TEST(ClassTest, HasNoAnswerWhereThereIsNothingToTellApart) {
  const DenseOperator H = linear_kernel(10, 2, 5);

  EXPECT_EQ(class_test(H, Labels(10, 1), 2).outcome, Outcome::unidentified);
  EXPECT_EQ(class_test(DenseOperator(Matrix::Ones(10, 10)), random_labels(10, 2, 5), 2).outcome,
            Outcome::unidentified);
  EXPECT_THROW(class_test(H, Labels(9, 0), 2), InputError);
  EXPECT_THROW(class_test(H, Labels(10, 2), 2), InputError);
}

}  // namespace
}  // namespace gradflow
