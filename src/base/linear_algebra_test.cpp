#include "gradflow/base/linear_algebra.h"

#include <gtest/gtest.h>

#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"

namespace gradflow {
namespace {

TEST(LinearAlgebra, MultiplyAgreesWithEigenOnBlocksOfLargerMatrices) {
  RandomStream random(1, "test");
  const Matrix A = random.normals(9, 7), B = random.normals(8, 9);
  Matrix C = random.normals(6, 6);
  const Matrix expected =
      2.0 * A.block(1, 2, 5, 4).transpose() * B.block(2, 1, 3, 5).transpose() + 0.5 * C.block(1, 1, 4, 3);

  multiply(A.block(1, 2, 5, 4), Transpose::yes, B.block(2, 1, 3, 5), Transpose::yes, C.block(1, 1, 4, 3), 2.0,
           0.5);

  EXPECT_LT((C.block(1, 1, 4, 3) - expected).norm(), 1e-13);
}

TEST(LinearAlgebra, EigenFactorsReproduceTheMatrixAtEverySizeAndScale) {
  RandomStream random(2, "test");
  for (const Index n : {1, 2, 3, 40, 129, 130, 300})
    for (const double scale : {1.0, 1e-200, 1e200}) {
      const Matrix G = random.normals(n, n);
      const Matrix A = scale * (G * G.transpose());

      const SymmetricEigen eigen = symmetric_eigen(A);

      const double size = scale * static_cast<double>(n * n);
      EXPECT_LT((eigen.vectors.transpose() * eigen.vectors - Matrix::Identity(n, n)).cwiseAbs().maxCoeff(),
                1e-12);
      const Matrix rebuilt = eigen.vectors * eigen.values.asDiagonal() * eigen.vectors.transpose();
      EXPECT_LT((rebuilt - A).cwiseAbs().maxCoeff(), 1e-13 * size);
      EXPECT_LT((symmetric_eigenvalues(A) - eigen.values).cwiseAbs().maxCoeff(), 1e-13 * size);
    }
}

TEST(LinearAlgebra, CholeskySolvesAndRefusesIndefiniteMatrices) {
  RandomStream random(3, "test");
  const Matrix G = random.normals(30, 30);
  Matrix L = G * G.transpose() + Matrix::Identity(30, 30);
  const Matrix A = L;
  Matrix x = Matrix::Ones(30, 2);

  ASSERT_TRUE(cholesky_lower(L));
  solve_lower(L, Transpose::no, x);
  solve_lower(L, Transpose::yes, x);

  EXPECT_LT((A * x - Matrix::Ones(30, 2)).norm(), 1e-11);
  Matrix indefinite = -Matrix::Identity(3, 3);
  EXPECT_FALSE(cholesky_lower(indefinite));
}

TEST(LinearAlgebra, CholeskyFactorGivesTheInverse) {
  for (const Index n : {1, 5, 130}) {
    const Matrix G = RandomStream(5, "test").normals(n, n), A = G * G.transpose() + Matrix::Identity(n, n);
    Matrix inverse = A;

    ASSERT_TRUE(cholesky_lower(inverse));
    inverse_from_cholesky_lower(inverse);
    mirror_lower(inverse);

    EXPECT_LT((A * inverse - Matrix::Identity(n, n)).norm(), 1e-9);
  }
}

TEST(LinearAlgebra, SymmetricMultiplyGivesTheSameBitsForOneAndTwoThreads) {
  RandomStream random(4, "test");
  const Matrix G = random.normals(300, 300), A = G + G.transpose();
  const Vector x = random.normals(300);
  Vector one(300), two(300);

  set_threads(1);
  symmetric_multiply(A, x, one);
  set_threads(2);
  symmetric_multiply(A, x, two);
  set_threads(0);

  EXPECT_TRUE((one.array() == two.array()).all());
  EXPECT_LT((one - A * x).norm(), 1e-11);
}

TEST(ParallelFor, VisitsEveryItemOnceAndRethrows) {
  std::vector<int> visits(1003, 0);
  parallel_for(1003, 17, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) ++visits[static_cast<std::size_t>(i)];
  });

  for (const int count : visits) EXPECT_EQ(count, 1);
  EXPECT_THROW(parallel_for(10, 1, [](Index, Index) { throw std::runtime_error("x"); }), std::runtime_error);
}

}  // namespace
}  // namespace gradflow
