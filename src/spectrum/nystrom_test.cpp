#include "gradflow/spectrum/nystrom.h"

#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <set>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "gradflow/spectrum/conjugate_gradients.h"

namespace gradflow {
namespace {

// exp(-|x - x'|^2) on the plane: eigenvalues fall fast.
Matrix smooth_kernel(Index n, std::uint64_t seed) {
  const Matrix X = RandomStream(seed, "rows").normals(n, 2);
  Matrix H(n, n);
  for (Index j = 0; j < n; ++j) H.col(j) = (-(X.rowwise() - X.row(j)).rowwise().squaredNorm()).array().exp();
  return H;
}

Matrix whole(const NystromPreconditioner& C, Index n) {
  return Matrix::Identity(n, n) + C.vectors() * C.values().asDiagonal() * C.vectors().transpose();
}

Vector eigenvalues(const Matrix& A) { return Eigen::SelfAdjointEigenSolver<Matrix>(A).eigenvalues(); }

TEST(ChooseLandmarks, TakesDistinctRowsUntilNothingIsLeft) {
  const Index n = 120;
  const Matrix A = RandomStream(1, "factor").normals(n, 9), H = A * A.transpose();
  const std::vector<Index> rows = choose_landmarks(H, 50, 3);

  EXPECT_EQ(rows.size(), 9u);  // the rank
  EXPECT_EQ(std::set<Index>(rows.begin(), rows.end()).size(), rows.size());
  EXPECT_EQ(rows, choose_landmarks(H, 50, 3));
  EXPECT_NE(rows, choose_landmarks(H, 50, 4));
  EXPECT_EQ(choose_landmarks(smooth_kernel(n, 2), 20, 1).size(), 20u);
  EXPECT_TRUE(choose_landmarks(Matrix::Zero(n, n), 20, 1).empty());
}

TEST(ChooseLandmarks, DoesNotDrawACopyOfARowItHas) {
  // 100 rows, 95 of them one point: rows drawn evenly would nearly all be that one.
  const Index n = 100;
  Matrix H = Matrix::Ones(n, n);
  for (Index i = 95; i < n; ++i) {
    H.row(i).setZero();
    H.col(i).setZero();
    H(i, i) = 1.0;
  }
  std::vector<Index> rows = choose_landmarks(H, 6, 1);
  std::sort(rows.begin(), rows.end());

  ASSERT_EQ(rows.size(), 6u);
  EXPECT_LT(rows.front(), 95);
  EXPECT_EQ(std::vector<Index>(rows.begin() + 1, rows.end()), (std::vector<Index>{95, 96, 97, 98, 99}));
}

TEST(NystromPreconditioner, LiesBetweenTheIdentityAndV) {
  const Index n = 150;
  const Matrix H = smooth_kernel(n, 3);
  for (const double tau : {0.0, 1.0, 1e3, 1e7}) {
    const NystromPreconditioner C(H, tau, choose_landmarks(H, 40, 1));
    const Matrix V = Matrix::Identity(n, n) + tau * H, U = C.vectors();

    EXPECT_LT((U.transpose() * U - Matrix::Identity(C.rank(), C.rank())).norm(), 1e-12);
    EXPECT_GE(eigenvalues(V - whole(C, n)).minCoeff(), -1e-9 * std::max(1.0, tau));
    EXPECT_NEAR(C.log_determinant(), eigenvalues(whole(C, n)).array().log().sum(), 1e-7);
  }
}

TEST(NystromPreconditioner, WhitensByTheSymmetricRoot) {
  const Index n = 130;
  const Matrix H = smooth_kernel(n, 4);
  const NystromPreconditioner C(H, 50.0, choose_landmarks(H, 30, 1));
  Matrix root = Matrix::Identity(n, n);
  C.whiten(root);

  EXPECT_LT((root - root.transpose()).norm(), 1e-12);
  EXPECT_LT((root * whole(C, n) * root - Matrix::Identity(n, n)).norm(), 1e-10);
}

TEST(NystromPreconditioner, OfAllRowsLeavesNothingToIterateOn) {
  const Index n = 80;
  const Matrix H = smooth_kernel(n, 5), V = Matrix::Identity(n, n) + 1e4 * H;
  std::vector<Index> all(static_cast<std::size_t>(n));
  for (Index i = 0; i < n; ++i) all[static_cast<std::size_t>(i)] = i;
  const NystromPreconditioner C(H, 1e4, all);

  // Of values below 1e-10 of the largest none is kept: each is missed by at most as much.
  EXPECT_NEAR(C.log_determinant(), eigenvalues(V).array().log().sum(), 1e-10 * n * eigenvalues(V).maxCoeff());
}

TEST(NystromPreconditioner, HasTheSameBitsForAnyNumberOfThreads) {
  const Index n = 1100;
  const Matrix H = smooth_kernel(n, 6);
  Matrix result[2];
  for (const int count : {1, 2}) {
    set_threads(count);
    const NystromPreconditioner C(H, 100.0, choose_landmarks(H, 70, 1));
    Matrix X = Matrix::Ones(n, 3);
    C.whiten(X);
    result[count - 1] = X;
  }
  set_threads(0);

  EXPECT_EQ(result[0], result[1]);
}

TEST(ConjugateGradients, SolveEveryColumnAndLeaveItsTridiagonal) {
  const Index n = 90;
  const Matrix A = Matrix::Identity(n, n) + 30.0 * smooth_kernel(n, 7),
               B = RandomStream(2, "b").normals(n, 5);
  const auto apply = [&](ConstBlock X, Block Y) { Y = A * X; };
  const BlockSolution solution = conjugate_gradients(apply, B, {.tolerance = 1e-11, .max_iterations = 400});
  const Eigen::SelfAdjointEigenSolver<Matrix> eigen(A);

  EXPECT_TRUE(solution.converged);
  EXPECT_LT((A * solution.X - B).norm(), 1e-10 * B.norm());
  for (Index j = 0; j < B.cols(); ++j) {
    // b'log(A)b by Gauss quadrature
    const Quadrature rule = gauss_rule(solution.lanczos[static_cast<std::size_t>(j)], B.col(j).squaredNorm());
    const Vector b = eigen.eigenvectors().transpose() * B.col(j);
    const double expected = b.cwiseAbs2().dot(eigen.eigenvalues().array().log().matrix());
    EXPECT_NEAR(rule.weights.dot(rule.nodes.array().log().matrix()), expected, 1e-9 * expected);
  }
}

TEST(ConjugateGradients, GiveInverseRootsOfTheLastColumns) {
  const Index n = 90;
  const Matrix A = Matrix::Identity(n, n) + 200.0 * smooth_kernel(n, 11),
               B = RandomStream(5, "b").normals(n, 4);
  const auto apply = [&](ConstBlock X, Block Y) { Y = A * X; };
  const BlockSolution solution =
      conjugate_gradients(apply, B, {.tolerance = 1e-12, .roots = 3, .max_iterations = 400});
  const Eigen::SelfAdjointEigenSolver<Matrix> eigen(A);
  const Matrix root = eigen.eigenvectors() * eigen.eigenvalues().array().rsqrt().matrix().asDiagonal() *
                      eigen.eigenvectors().transpose();

  EXPECT_LT((A * solution.X.col(0) - B.col(0)).norm(), 1e-10 * B.col(0).norm());
  EXPECT_LT((solution.X.rightCols(3) - root * B.rightCols(3)).norm(), 1e-10 * B.norm());
}

TEST(ConjugateGradients, GiveInverseRootsAlsoAfterMoreStepsThanRows) {
  // Eigenvalues from 1 to 1e5 that fall as slowly as a network's kernel's: directions lose orthogonality.
  const Index n = 100;
  const Matrix Q = Eigen::HouseholderQR<Matrix>(RandomStream(6, "directions").normals(n, n)).householderQ();
  const Vector values = 1.0 + 1e5 * Vector::LinSpaced(n, 1.0, n).array().pow(-2.5);
  const Matrix A = Q * values.asDiagonal() * Q.transpose(),
               root = Q * values.array().rsqrt().matrix().asDiagonal() * Q.transpose();
  const auto apply = [&](ConstBlock X, Block Y) { Y = A * X; };
  const BlockSolution solution = conjugate_gradients(
      apply, Matrix::Identity(n, n), {.tolerance = 1e-12, .roots = n, .max_iterations = 1000});

  EXPECT_TRUE(solution.converged);
  EXPECT_GT(solution.iterations, n);
  EXPECT_LT((solution.X - root).cwiseAbs().maxCoeff(), 1e-10);
}

TEST(ConjugateGradients, LeaveAColumnOfZerosZeroAndTheOthersUntouchedByIt) {
  const Index n = 40;
  const Matrix A = Matrix::Identity(n, n) + smooth_kernel(n, 8);
  Matrix B = RandomStream(3, "b").normals(n, 3);
  B.col(1).setZero();
  const auto apply = [&](ConstBlock X, Block Y) { Y = A * X; };
  const BlockSolution solution = conjugate_gradients(apply, B, {.tolerance = 1e-12, .max_iterations = 100});

  EXPECT_TRUE(solution.converged);
  EXPECT_EQ(solution.X.col(1), Vector::Zero(n));
  EXPECT_LT((A * solution.X - B).norm(), 1e-10);
}

TEST(ConjugateGradients, SayWhereTheyDidNotConvergeOrAIsIndefinite) {
  const Index n = 60;
  Matrix A = Matrix::Identity(n, n) + 1e6 * smooth_kernel(n, 9);
  const Vector b = RandomStream(4, "b").normals(n);
  const auto apply = [&](ConstBlock X, Block Y) { Y = A * X; };
  const BlockSolution few = conjugate_gradients(apply, b, {.tolerance = 1e-8, .max_iterations = 3});
  A = -A;
  const BlockSolution negative = conjugate_gradients(apply, b);

  EXPECT_FALSE(few.converged);
  EXPECT_TRUE(few.definite);
  EXPECT_GT(few.residual, 1e-8);
  EXPECT_FALSE(negative.definite);
  EXPECT_FALSE(negative.converged);
  EXPECT_THROW(conjugate_gradients(apply, b, {.tolerance = 0.0}), InputError);
}

}  // namespace
}  // namespace gradflow
