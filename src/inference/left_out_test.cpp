#include "gradflow/inference/left_out.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/special_values.h"
#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/inference/posterior.h"
#include "gradflow/operators/dense_operator.h"

namespace gradflow {
namespace {

std::vector<Index> counted(Index n) {
  std::vector<Index> group(static_cast<std::size_t>(n));
  for (Index i = 0; i < n; ++i) group[static_cast<std::size_t>(i)] = i;
  return group;
}

std::vector<Index> sizes_of(const std::vector<Index>& fold) {
  std::map<Index, Index> sizes;
  for (const Index each : fold) ++sizes[each];
  std::vector<Index> list;
  for (const auto& [name, size] : sizes) list.push_back(size);
  return list;
}

TEST(Folds, OfRowsThatAllDifferHaveSizesThatDifferByAtMostOne) {
  const std::vector<Index> sizes = sizes_of(assign_folds(counted(103), 5, 1));

  EXPECT_THAT(sizes, testing::UnorderedElementsAre(21, 21, 21, 20, 20));
}

TEST(Folds, KeepTheRowsOfAGroupTogether) {
  const std::vector<Index> group{0, 1, 0, 3, 1, 5, 0, 7, 8, 3, 3, 11};

  const std::vector<Index> fold = assign_folds(group, 4, 7);

  std::map<Index, std::set<Index>> folds_of_group;
  for (std::size_t row = 0; row < group.size(); ++row) folds_of_group[group[row]].insert(fold[row]);
  for (const auto& [name, folds] : folds_of_group) EXPECT_EQ(folds.size(), 1U) << name;
  const std::vector<Index> sizes = sizes_of(fold);
  const auto [least, most] = std::minmax_element(sizes.begin(), sizes.end());
  EXPECT_EQ(sizes.size(), 4U);
  EXPECT_LE(*most - *least, 3);  // the largest group
}

TEST(Folds, AreThoseOfTheirSeed) {
  EXPECT_EQ(assign_folds(counted(50), 5, 3), assign_folds(counted(50), 5, 3));
  EXPECT_NE(assign_folds(counted(50), 5, 3), assign_folds(counted(50), 5, 4));
}

TEST(Folds, AreRefusedWhereTheyCannotBeMade) {
  EXPECT_THROW(assign_folds(counted(50), 1, 1), InputError);
  EXPECT_THROW(assign_folds({0, 0, 0, 1}, 3, 1), InputError);
}

TEST(LeftOutErrors, AreOfEveryRowOnceByAFitToTheOtherFolds) {
  const std::vector<Index> fold = assign_folds(counted(23), 4, 2);
  Index calls = 0;

  const LeftOut out =
      leave_folds_out(fold, [&](int k, const std::vector<Index>& kept, const std::vector<Index>& held) {
        EXPECT_EQ(k, calls++);
        EXPECT_EQ(kept.size() + held.size(), fold.size());
        for (const Index row : kept) EXPECT_NE(fold[static_cast<std::size_t>(row)], k);
        Vector z(static_cast<Index>(held.size()));
        for (Index i = 0; i < z.size(); ++i) {
          const auto row = static_cast<double>(held[static_cast<std::size_t>(i)]);
          z(i) = row == 5.0 ? std::nan("") : row == 6.0 ? infinity : 11.0 - row;
        }
        return z;
      });

  EXPECT_EQ(calls, 4);
  EXPECT_EQ(out.without, 1);
  EXPECT_EQ(out.infinite, 1);
  EXPECT_EQ(out.errors.folds, 4);
  Vector expected(22);  // |11 - row| of 0, ..., 22 without 5; 6 counts as the largest
  expected << 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 11;
  EXPECT_EQ(out.errors.sizes, expected);
}

TEST(LeftOutErrors, HaveTheQuantileThatIsTheOrderStatistic) {
  const LeftOutErrors errors{Vector::LinSpaced(19, 1.0, 19.0), 5};

  EXPECT_EQ(errors.quantile(0.95), 19.0);  // k = 0.95 (19 + 1) = 19
  EXPECT_EQ(errors.quantile(0.94), 19.0);
  EXPECT_EQ(errors.quantile(0.90), 18.0);
  EXPECT_EQ(errors.quantile(0.01), 1.0);
  EXPECT_EQ(errors.quantile(0.951), infinity);
  EXPECT_THROW(errors.quantile(1.0), InputError);
  EXPECT_THROW(LeftOutErrors{}.quantile(0.5), InputError);
}

TEST(LeftOutErrors, WidenByTheirRootMeanSquareAndNeverNarrow) {
  const LeftOutErrors wide{Vector::Constant(8, 1.5), 5}, narrow{Vector::Constant(8, 0.5), 5};

  EXPECT_DOUBLE_EQ(wide.root_mean_square(), 1.5);
  EXPECT_DOUBLE_EQ(wide.widening(), 1.5);
  EXPECT_DOUBLE_EQ(narrow.root_mean_square(), 0.5);
  EXPECT_EQ(narrow.widening(), 1.0);
  EXPECT_EQ(LeftOutErrors{}.widening(), 1.0);
  EXPECT_TRUE(std::isnan(LeftOutErrors{}.root_mean_square()));
}

// With exchangeable z the interval holds a new one with chance k/(n + 1), whatever their distribution.
TEST(LeftOutErrors, HaveTheQuantileThatHoldsANewErrorAsOftenAsTheLevel) {
  constexpr int repetitions = 4000;
  constexpr Index n = 39;
  RandomStream random(11, "exchangeable");
  const auto heavy = [&] { return random.normal() / std::max(1e-6, std::abs(random.normal())); };
  int inside = 0;
  for (int r = 0; r < repetitions; ++r) {
    LeftOutErrors errors{Vector(n), 5};
    for (double& size : errors.sizes) size = std::abs(heavy());
    std::sort(errors.sizes.begin(), errors.sizes.end());
    if (std::abs(heavy()) <= errors.quantile(0.8)) ++inside;
  }

  EXPECT_NEAR(inside, 0.8 * repetitions, 4.0 * std::sqrt(0.8 * 0.2 * repetitions));
}

// y = g + e of the model itself, all parameters known: every z is standard normal.
TEST(LeftOutErrors, AreStandardNormalWhereTheModelHolds) {
  constexpr Index n = 40;
  constexpr double tau = 4.0;
  constexpr int repetitions = 150;
  RandomStream random(12, "true model");
  const Matrix x = random.normals(n, 2);
  const auto kernel = [&](const std::vector<Index>& a, const std::vector<Index>& b) {
    Matrix K(static_cast<Index>(a.size()), static_cast<Index>(b.size()));
    for (Index i = 0; i < K.rows(); ++i)
      for (Index j = 0; j < K.cols(); ++j)
        K(i, j) = std::exp(
            -0.5 *
            (x.row(a[static_cast<std::size_t>(i)]) - x.row(b[static_cast<std::size_t>(j)])).squaredNorm());
    return K;
  };
  const Matrix covariance = Matrix::Identity(n, n) + tau * kernel(counted(n), counted(n));
  const Matrix root = covariance.llt().matrixL();
  const std::vector<Index> fold = assign_folds(counted(n), 5, 1);
  double squares = 0.0;
  int beyond = 0;
  for (int r = 0; r < repetitions; ++r) {
    const Vector y = root * random.normals(n);
    const LeftOutErrors errors =
        leave_folds_out(fold, [&](int, const std::vector<Index>& kept, const std::vector<Index>& held) {
          const DenseOperator H(kernel(kept, kept));
          const FixedEffects fixed = FixedEffects::none(H.size());
          const Matrix cross = kernel(held, kept);
          const Vector variance = PosteriorVariance::for_ridge(H, fixed, tau)
                                      .at({cross, Vector::Ones(cross.rows()), Matrix(cross.rows(), 0)});
          const Matrix V = Matrix::Identity(H.size(), H.size()) + tau * kernel(kept, kept);
          const Vector mean = tau * cross * V.llt().solve(Vector(y(kept)));
          return Vector((y(held) - mean).array() / (1.0 + variance.array()).sqrt());
        }).errors;
    squares += errors.sizes.squaredNorm();
    beyond += static_cast<int>((errors.sizes.array() > 1.959964).count());
  }

  // Errors of a fold are correlated: the bound is that of 4 standard errors with a fifth of the rows counted.
  const double count = static_cast<double>(n) * repetitions, independent = count / 5.0;
  EXPECT_NEAR(squares / count, 1.0, 4.0 * std::sqrt(2.0 / independent));
  EXPECT_NEAR(beyond / count, 0.05, 4.0 * std::sqrt(0.05 * 0.95 / independent));
}

}  // namespace
}  // namespace gradflow
