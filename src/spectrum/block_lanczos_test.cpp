#include "gradflow/spectrum/block_lanczos.h"

#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <cmath>

#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "gradflow/spectrum/spectral_density.h"
#include "support/reference.h"

namespace gradflow {
namespace {

Matrix planted(const Vector& values, std::uint64_t seed) {
  const Matrix U =
      reference::orthogonal_basis(RandomStream(seed, "vectors").normals(values.size(), values.size()));
  return U * values.asDiagonal() * U.transpose();
}

Vector decaying(Index n) {
  Vector values(n);
  for (Index i = 0; i < n; ++i) values(i) = std::pow(0.9, static_cast<double>(i));
  return values;
}

BlockKrylovSpace space_of(const Matrix& M, Matrix start, BasisPrecision precision = BasisPrecision::float64) {
  return {[&M](ConstBlock X, Block Y) { Y = M * X; }, std::move(start), M.rows(), precision};
}

Matrix basis_of(const BlockKrylovSpace& space) {
  return space.basis().times(Matrix::Identity(space.size(), space.size()));
}

class BlockKrylovSpaceIn : public testing::TestWithParam<BasisPrecision> {};

INSTANTIATE_TEST_SUITE_P(Precision, BlockKrylovSpaceIn,
                         testing::Values(BasisPrecision::float64, BasisPrecision::float32),
                         [](const auto& precision) {
                           return precision.param == BasisPrecision::float64 ? "float64" : "float32";
                         });

TEST_P(BlockKrylovSpaceIn, PairsAreThoseOfTheProjectionAndTheirResidualsWhatIsLeft) {
  const bool half = GetParam() == BasisPrecision::float32;
  const Matrix M = planted(decaying(150), 1);
  BlockKrylovSpace space = space_of(M, RandomStream(2, "start").normals(150, 6), GetParam());
  space.extend(60);
  const Matrix V = basis_of(space);
  const BlockKrylovSpace::Pairs pairs = space.pairs();
  const Matrix U = V * pairs.ritz.vectors, left = M * U - U * pairs.ritz.values.asDiagonal();

  EXPECT_EQ(space.size(), 60);
  EXPECT_LT((V.transpose() * V - Matrix::Identity(60, 60)).cwiseAbs().maxCoeff(), half ? 1e-6 : 1e-13);
  EXPECT_LT((U.transpose() * M * U - Matrix(pairs.ritz.values.asDiagonal())).cwiseAbs().maxCoeff(),
            half ? 1e-6 : 1e-13);
  EXPECT_LT((left.colwise().norm().transpose() - pairs.residuals).cwiseAbs().maxCoeff(), half ? 1e-6 : 1e-13);
}

// The error of an eigenvalue is of second order in what is left of its equation, and in float32's rounding of
// the basis.
TEST_P(BlockKrylovSpaceIn, ConvergedValuesAreEigenvaluesToRounding) {
  const Vector values = decaying(200);
  const Matrix M = planted(values, 3);
  BlockKrylovSpace space = space_of(M, RandomStream(3, "start").normals(200, 8), GetParam());
  space.extend(120);
  const Eigenpairs found = converged_pairs(space, 1e-6);

  EXPECT_GT(found.count(), 30);
  EXPECT_LT((found.values - values.head(found.count())).cwiseAbs().maxCoeff(), 1e-11);
}

TEST(BlockKrylovSpace, ConvergedPairsAndTheRestMakeUpTheSquaredNorm) {
  const Matrix M = planted(decaying(150), 10);
  BlockKrylovSpace space = space_of(M, RandomStream(10, "start").normals(150, 6));
  space.extend(60);
  const Eigenpairs found = converged_pairs(space, 1e-3);
  const Matrix U = basis_of(space) * found.coordinates;
  const Matrix off = Matrix::Identity(150, 150) - U * U.transpose();
  const double rest = (off * M * off).squaredNorm();

  EXPECT_GT(found.residual_squares, 1e-8);
  EXPECT_NEAR(found.values.squaredNorm() + 2.0 * found.residual_squares + rest, M.squaredNorm(), 1e-13);
  EXPECT_NEAR(found.values.sum() + (off * M * off).trace(), M.trace(), 1e-13);
}

TEST(BlockKrylovSpace, FindsEveryEigenvalueOfAMultiplicityUpToItsWidth) {
  Vector values(90);
  values << Vector::Constant(1, 5.0), Vector::Constant(4, 2.0), Vector::Constant(5, 1.0), Vector::Zero(80);
  const Matrix M = planted(values, 4);
  BlockKrylovSpace space = space_of(M, RandomStream(4, "start").normals(90, 5));
  space.extend(90);
  const Eigenpairs found = converged_pairs(space);

  EXPECT_TRUE(space.exhausted());
  ASSERT_GE(found.count(), 10);
  EXPECT_LT((found.values.head(10) - values.head(10)).cwiseAbs().maxCoeff(), 1e-13);
  EXPECT_LT(space.pairs().residuals.maxCoeff(), 1e-13);
}

TEST(BlockKrylovSpace, TheWholeSpaceHasTheWholeSpectrum) {
  const Vector values = decaying(40);
  const Matrix M = planted(values, 5);
  BlockKrylovSpace space = space_of(M, RandomStream(5, "start").normals(40, 7));  // 40 is no multiple of 7
  space.extend(40);

  ASSERT_EQ(space.size(), 40);
  EXPECT_TRUE(space.exhausted());
  EXPECT_LT((space.pairs().ritz.values.reverse() - values).cwiseAbs().maxCoeff(), 1e-14);
}

TEST(BlockKrylovSpace, DependentStartVectorsAreDropped) {
  const Matrix M = planted(decaying(60), 6);
  Matrix start = RandomStream(6, "start").normals(60, 4);
  start.col(2) = start.col(0) - 2.0 * start.col(1);
  BlockKrylovSpace space = space_of(M, start), nothing = space_of(M, Matrix::Zero(60, 3));
  space.extend(3);
  nothing.extend(9);

  EXPECT_EQ(space.size(), 3);
  EXPECT_TRUE(nothing.exhausted());
  EXPECT_EQ(nothing.pairs().residuals.size(), 0);
  EXPECT_EQ(converged_pairs(nothing).count(), 0);
}

TEST(BlockKrylovSpace, StaysWhereItsProjectionPutsIt) {
  const Index n = 80;
  const Matrix M = planted(decaying(n), 7);
  const auto project = [](Block X) { X.rowwise() -= X.colwise().mean().eval(); };
  BlockKrylovSpace space(
      [&](ConstBlock X, Block Y) {
        Y = M * X;
        project(Y);
      },
      RandomStream(7, "start").normals(n, 4), n - 1, BasisPrecision::float64, project);
  space.extend(n);

  EXPECT_EQ(space.size(), n - 1);
  EXPECT_LT(basis_of(space).colwise().sum().cwiseAbs().maxCoeff(), 1e-12);
}

TEST(BlockKrylovSpace, KeepsToItsLargestSize) {
  const Matrix M = planted(decaying(60), 8);
  BlockKrylovSpace space([&](ConstBlock X, Block Y) { Y = M * X; }, RandomStream(8, "start").normals(60, 8),
                         30);
  space.extend(60);

  EXPECT_EQ(space.size(), 24);
  EXPECT_TRUE(space.at_limit());
  EXPECT_FALSE(space.exhausted());
}

TEST(BlockKrylovSpace, GivesTheSameBitsInOneGoInSeveralAndOnTwoThreads) {
  const Matrix M = planted(decaying(120), 9), start = RandomStream(9, "start").normals(120, 8);
  // Without BLAS, whose own threads may sum in another order.
  const auto apply = [&](ConstBlock X, Block Y) { Y = M.lazyProduct(X); };
  const auto grown = [&](int used, std::initializer_list<Index> sizes) {
    set_threads(used);
    BlockKrylovSpace space(apply, start, 120);
    for (const Index size : sizes) space.extend(size);
    const BlockKrylovSpace::Pairs pairs = space.pairs();
    set_threads(0);
    return pairs;
  };
  const BlockKrylovSpace::Pairs once = grown(1, {64}), often = grown(2, {8, 30, 64});

  EXPECT_EQ(once.ritz.values, often.ritz.values);
  EXPECT_EQ(once.ritz.vectors, often.ritz.vectors);
  EXPECT_EQ(once.residuals, often.residuals);
}

}  // namespace
}  // namespace gradflow
