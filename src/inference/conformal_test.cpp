#include "gradflow/inference/conformal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/operators/dense_operator.h"
#include "inference/test_support.h"
#include "support/reference.h"

namespace gradflow {
namespace {

struct ConformalProblem {
  Matrix inputs, new_inputs;
  Matrix design, new_design;
  Vector response;

  NewPoints points() const {
    return {gaussian_kernel(new_inputs, inputs), gaussian_kernel(new_inputs, new_inputs).diagonal(),
            new_design};
  }
  FixedEffects fixed() const { return {design, {"one", "slope"}}; }
};

ConformalProblem make_conformal_problem(Index n, Index m, std::uint64_t seed) {
  RandomStream random(seed, "conformal");
  ConformalProblem p{random.normals(n, 2), random.normals(m, 2), Matrix::Ones(n, 2), Matrix::Ones(m, 2),
                     Vector(n)};
  p.design.col(1) = random.normals(n);
  p.new_design.col(1) = random.normals(m);
  p.response = p.inputs.col(0).array().sin().matrix() + 0.5 * p.design.col(1) + 0.3 * random.normals(n);
  return p;
}

// Universal kriging from the textbook: generalised least squares with V = I + tau K, then the kernel part.
struct TextbookFit {
  Vector mean, variance;  // of a new response in units of s2
};
TextbookFit textbook(const Matrix& inputs, const Matrix& X, const Vector& y, const Matrix& new_inputs,
                     const Matrix& new_X, double tau) {
  const Index n = y.size();
  const Matrix V = Matrix::Identity(n, n) + tau * gaussian_kernel(inputs, inputs);
  const Matrix W = reference::inverse(V), covariance = reference::inverse(X.transpose() * W * X);
  const Vector beta = covariance * (X.transpose() * (W * y));
  const Matrix k = tau * gaussian_kernel(new_inputs, inputs);
  const Matrix R = new_X - k * W * X;
  const Matrix reduction = k * W * k.transpose(), trend = R * covariance * R.transpose();
  return {new_X * beta + k * (W * (y - X * beta)),
          (1.0 + tau - reduction.diagonal().array() + trend.diagonal().array()).matrix()};
}

Matrix without_row(const Matrix& A, Index row) {
  Matrix rest(A.rows() - 1, A.cols());
  rest << A.topRows(row), A.bottomRows(A.rows() - 1 - row);
  return rest;
}

TEST(ConformalRidge, EqualsExplicitLeaveOneOutFits) {
  const Index n = 25, m = 6;
  const double tau = 3.0;
  const ConformalProblem p = make_conformal_problem(n, m, 1);
  const DenseOperator H(gaussian_kernel(p.inputs, p.inputs));
  const ConformalRidge ridge = ConformalRidge::for_ridge(H, p.fixed(), p.response, tau);
  const Matrix loo = ridge.leave_one_out_predictions(p.points());
  const TextbookFit all = textbook(p.inputs, p.design, p.response, p.new_inputs, p.new_design, tau);
  std::vector<double> above[2], below[2];  // plain, studentised
  for (std::vector<double>* side : {above, below})
    for (int s = 0; s < 2; ++s) side[s].assign(static_cast<std::size_t>(n * m), 0.0);

  EXPECT_LT((ridge.at(p.points()).prediction - all.mean).cwiseAbs().maxCoeff(), 1e-9);
  for (Index i = 0; i < n; ++i) {
    const Matrix inputs = without_row(p.inputs, i), X = without_row(p.design, i);
    const Vector y = without_row(p.response, i);
    const TextbookFit at_new = textbook(inputs, X, y, p.new_inputs, p.new_design, tau);
    const TextbookFit at_row = textbook(inputs, X, y, p.inputs.row(i), p.design.row(i), tau);
    const double e = p.response(i) - at_row.mean(0);
    EXPECT_NEAR(ridge.residuals()(i), e, 1e-9);
    EXPECT_NEAR(ridge.variances()(i), at_row.variance(0), 1e-9);
    EXPECT_LT((loo.col(i) - at_new.mean).cwiseAbs().maxCoeff(), 1e-9);
    for (Index x = 0; x < m; ++x)
      for (int s = 0; s < 2; ++s) {
        const double width = std::abs(e) * (s ? std::sqrt(at_new.variance(x) / at_row.variance(0)) : 1.0);
        above[s][static_cast<std::size_t>(x * n + i)] = at_new.mean(x) + width;
        below[s][static_cast<std::size_t>(x * n + i)] = at_new.mean(x) - width;
      }
  }

  // Level 0.8 of 25 rows: k = ceil(0.8 x 26) = 21.
  for (int s = 0; s < 2; ++s) {
    const ConformalIntervals intervals =
        ridge.at(p.points(), {}, {.level = 0.8, .studentised = s == 1, .tuned_on_same_rows = false});
    EXPECT_DOUBLE_EQ(intervals.guaranteed_level, 0.6);
    for (Index x = 0; x < m; ++x) {
      std::sort(above[s].begin() + x * n, above[s].begin() + (x + 1) * n);
      std::sort(below[s].begin() + x * n, below[s].begin() + (x + 1) * n);
      EXPECT_NEAR(intervals.upper(x), above[s][static_cast<std::size_t>(x * n + 20)], 1e-9);
      EXPECT_NEAR(intervals.lower(x), below[s][static_cast<std::size_t>(x * n + 4)], 1e-9);
    }
  }
}

TEST(ConformalRidge, FromTheSpectrumEqualsFromTheFactor) {
  const ConformalProblem p = make_conformal_problem(30, 5, 2);
  const DenseOperator H(gaussian_kernel(p.inputs, p.inputs));
  const FixedEffects fixed = p.fixed();
  const ConformalRidge a = ConformalRidge::for_ridge(H, fixed, p.response, 2.0);
  const ConformalRidge b = ConformalRidge::from_spectrum(H, fixed, project(H, fixed), p.response, 2.0);
  const ConformalOptions options{.level = 0.9, .studentised = true};

  EXPECT_LT((a.residuals() - b.residuals()).cwiseAbs().maxCoeff(), 1e-10);
  EXPECT_LT((a.at(p.points(), {}, options).lower - b.at(p.points(), {}, options).lower).cwiseAbs().maxCoeff(),
            1e-10);
}

TEST(ConformalRidge, OffsetsShiftPredictionsAndEnds) {
  const ConformalProblem p = make_conformal_problem(30, 5, 3);
  const DenseOperator H(gaussian_kernel(p.inputs, p.inputs));
  const ConformalRidge ridge = ConformalRidge::for_ridge(H, p.fixed(), p.response, 2.0);
  const Vector f0 = RandomStream(3, "offset").normals(5);
  const ConformalIntervals plain = ridge.at(p.points()), shifted = ridge.at(p.points(), f0);

  EXPECT_LT((shifted.lower - plain.lower - f0).cwiseAbs().maxCoeff(), 1e-12);
  EXPECT_LT((shifted.upper - plain.upper - f0).cwiseAbs().maxCoeff(), 1e-12);
  EXPECT_THROW(ridge.at(p.points(), Vector::Zero(4)), InputError);
}

TEST(ConformalRidge, TooFewRowsGiveInfiniteIntervalsAndSayHowManyAreNeeded) {
  for (const Index n : {18, 19}) {
    const ConformalProblem p = make_conformal_problem(n, 3, 4);
    const DenseOperator H(gaussian_kernel(p.inputs, p.inputs));
    const ConformalRidge ridge = ConformalRidge::for_ridge(H, p.fixed(), p.response, 1.0);
    const ConformalIntervals intervals = ridge.at(p.points());

    EXPECT_EQ(intervals.rows_needed, 19);
    EXPECT_EQ(std::isinf(intervals.upper(0)), n == 18);
    EXPECT_EQ(std::isinf(intervals.lower(2)), n == 18);
    const bool said = intervals.statements.back().find("18 rows are too few for 95 %") != std::string::npos;
    EXPECT_EQ(said, n == 18);
  }
}

TEST(ConformalRidge, ARowThatAloneDeterminesAFixedEffectCountsAsUnbounded) {
  ConformalProblem p = make_conformal_problem(25, 3, 5);
  p.design.col(1).setZero();
  p.design(7, 1) = 1.0;
  const DenseOperator H(gaussian_kernel(p.inputs, p.inputs));
  const ConformalRidge ridge = ConformalRidge::for_ridge(H, p.fixed(), p.response, 1.0);

  EXPECT_TRUE(std::isinf(ridge.residuals()(7)));
  EXPECT_TRUE(ridge.at(p.points(), {}, {.level = 0.9}).upper.allFinite());
  EXPECT_TRUE(std::isinf(ridge.at(p.points(), {}, {.level = 0.96}).upper(0)));
}

TEST(ConformalRidge, TuningOnTheSameRowsWithdrawsTheGuarantee) {
  const ConformalProblem p = make_conformal_problem(30, 3, 6);
  const DenseOperator H(gaussian_kernel(p.inputs, p.inputs));
  const ConformalRidge ridge = ConformalRidge::for_ridge(H, p.fixed(), p.response, 1.0);

  EXPECT_TRUE(std::isnan(ridge.at(p.points()).guaranteed_level));
  EXPECT_TRUE(std::isnan(
      ridge.at(p.points(), {}, {.method = ConformalMethod::leave_one_out, .tuned_on_same_rows = false})
          .guaranteed_level));
}

TEST(ConformalRidge, CoversSkewedNoiseAtItsLevel) {
  constexpr int replicates = 400;
  int covered[3] = {0, 0, 0};
  for (int r = 0; r < replicates; ++r) {
    ConformalProblem p = make_conformal_problem(30, 1, 100 + static_cast<std::uint64_t>(r));
    RandomStream random(static_cast<std::uint64_t>(r), "skewed noise");
    const auto draw = [&](double x) { return std::sin(x) + std::expm1(random.normal()); };
    for (Index i = 0; i < 30; ++i) p.response(i) = draw(p.inputs(i, 0));
    const double truth = draw(p.new_inputs(0, 0));
    const DenseOperator H(gaussian_kernel(p.inputs, p.inputs));
    const ConformalRidge ridge = ConformalRidge::for_ridge(H, p.fixed(), p.response, 1.0);
    for (int v = 0; v < 3; ++v) {
      const ConformalIntervals interval =
          ridge.at(p.points(), {},
                   {.level = 0.9,
                    .method = v == 2 ? ConformalMethod::leave_one_out : ConformalMethod::jackknife_plus,
                    .studentised = v == 1});
      covered[v] += interval.lower(0) <= truth && truth <= interval.upper(0) ? 1 : 0;
    }
  }

  // Guaranteed 0.8; expected near 0.9: within 3.3 binomial standard errors below it.
  for (const int count : covered)
    EXPECT_GT(static_cast<double>(count) / replicates, 0.9 - 3.3 * std::sqrt(0.09 / replicates));
}

}  // namespace
}  // namespace gradflow
