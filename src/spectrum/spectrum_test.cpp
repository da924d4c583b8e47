#include <gtest/gtest.h>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/operators/dense_operator.h"
#include "gradflow/spectrum/fixed_effects.h"
#include "gradflow/spectrum/lanczos.h"
#include "gradflow/spectrum/projected_spectrum.h"
#include "support/reference.h"

namespace gradflow {
namespace {

Matrix random_psd(Index n, std::uint64_t seed) {
  const Matrix G = RandomStream(seed, "psd").normals(n, n);
  return G * G.transpose() / static_cast<double>(n);
}

Matrix design(Index n, Index q, std::uint64_t seed) {
  Matrix X = RandomStream(seed, "design").normals(n, q);
  X.col(0).setOnes();
  return X;
}

std::vector<std::string> labels(Index q) {
  return std::vector<std::string>(static_cast<std::size_t>(q), "x");
}

TEST(FixedEffects, LiftedVectorsAreOrthogonalToTheDesignAndReduceInvertsLift) {
  const FixedEffects fixed(design(30, 4, 1), labels(4));
  const Matrix C = RandomStream(2, "c").normals(26, 5);

  EXPECT_LT((fixed.design().transpose() * fixed.lift(C)).norm(), 1e-13);
  EXPECT_LT((fixed.reduce(fixed.lift(C)) - C).norm(), 1e-13);
}

TEST(FixedEffects, ProjectionEqualsTheExplicitProductQtHQ) {
  for (const Index q : {0, 1, 3}) {
    const FixedEffects fixed(design(20, std::max<Index>(q, 1), 3).leftCols(q), labels(q));
    const Matrix H = random_psd(20, 4);
    const Matrix Q = fixed.lift(Matrix::Identity(20 - q, 20 - q));

    EXPECT_LT((fixed.project(H) - Q.transpose() * H * Q).norm(), 1e-13);
  }
}

TEST(FixedEffects, CoefficientsSolveTheNormalEquations) {
  const FixedEffects fixed(design(25, 3, 5), labels(3));
  const Matrix& X = fixed.design();
  const Vector y = RandomStream(6, "y").normals(25);
  const Matrix rows = RandomStream(7, "rows").normals(4, 3);

  EXPECT_LT((fixed.averaging().transpose() * y - fixed.coefficients(y)).norm(), 1e-13);
  EXPECT_LT((X.transpose() * (X * fixed.coefficients(y) - y)).norm(), 1e-12);
  EXPECT_LT((fixed.variance_of_mean(rows) -
             (rows * reference::inverse(X.transpose() * X) * rows.transpose()).diagonal())
                .norm(),
            1e-12);
}

TEST(FixedEffects, DependentColumnIsNamed) {
  Matrix X(10, 2);
  X.col(0).setOnes();
  X.col(1).setConstant(3.0);

  try {
    FixedEffects(X, {"(intercept)", "site"});
    FAIL();
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("'site'"), std::string::npos);
  }
}

TEST(ProjectedSpectrum, ReproducesTheProjectedOperator) {
  const FixedEffects fixed(design(40, 2, 8), labels(2));
  const DenseOperator H(random_psd(40, 9));
  const Matrix P = Matrix::Identity(40, 40) -
                   fixed.design() * reference::inverse(fixed.design().transpose() * fixed.design()) *
                       fixed.design().transpose();

  const ProjectedSpectrum s = project(H, fixed);

  EXPECT_LT((s.basis * s.values.asDiagonal() * s.basis.transpose() - P * H.entries() * P).norm(), 1e-12);
  EXPECT_NEAR(s.values.sum(), s.trace, 1e-12);
  EXPECT_TRUE((s.values.head(37).array() >= s.values.tail(37).array()).all());
  EXPECT_LT((projected_eigenvalues(H, fixed) - s.values).norm(), 1e-12);
}

// 600 rows: more than one block of them.
TEST(ProjectedSpectrum, DiagonalsAreThoseOfTheFunctionsOfTheOperator) {
  const Index n = 600;
  const ProjectedSpectrum spectrum = project(DenseOperator(random_psd(n, 8)), FixedEffects::intercept(n));
  const Index N = spectrum.values.size();
  Matrix f(N, 2);
  f << Vector::Ones(N), spectrum.values.array().exp().matrix();

  const Matrix diagonals = spectrum.diagonals(f);

  EXPECT_LT((diagonals.col(0).array() - (1.0 - 1.0 / 600.0)).abs().maxCoeff(), 1e-13);
  const Matrix exponential = spectrum.basis * f.col(1).asDiagonal() * spectrum.basis.transpose();
  EXPECT_LT((diagonals.col(1) - exponential.diagonal()).cwiseAbs().maxCoeff(), 1e-12 * f.col(1).maxCoeff());
}

TEST(ProjectedSpectrum, EigenvaluesWithinRoundingOfZeroAreZeroAndCounted) {
  const Vector v = RandomStream(12, "v").normals(30);
  const ProjectedSpectrum s = project(DenseOperator(v * v.transpose()), FixedEffects::none(30));

  EXPECT_EQ(s.below_rounding, 29);
  EXPECT_EQ(s.clipped, 0);
  EXPECT_EQ(s.values.tail(29).maxCoeff(), 0.0);
}

TEST(ProjectedSpectrum, IndefiniteOperatorIsRefused) {
  Matrix H = Matrix::Identity(5, 5);
  H(0, 1) = H(1, 0) = 2.0;

  EXPECT_THROW(project(DenseOperator(H, "kernel 'H.npy'"), FixedEffects::none(5)), InputError);
}

TEST(KrylovSpace, MatrixExponentialFromTheSpaceEqualsTheDenseOne) {
  const Matrix M = random_psd(60, 10);
  const Vector w = RandomStream(11, "w").normals(60);
  KrylovSpace space([&](ConstVector x, Eigen::Ref<Vector> y) { y = M * x; }, w, 60);

  space.extend(30);
  const Ritz pairs = ritz(space.tridiagonal());
  const Vector c = pairs.vectors * ((-3.0 * pairs.values.array()).exp().matrix().asDiagonal() *
                                    pairs.vectors.row(0).transpose());
  const Vector approximate = space.start_norm() * space.basis().times(c);

  EXPECT_LT((approximate - reference::exponential(-3.0 * M) * w).norm(), 1e-11 * w.norm());
}

TEST(KrylovSpace, StopsWhenTheSpaceIsInvariant) {
  Matrix M = Matrix::Identity(20, 20);
  M(3, 3) = 5.0;
  KrylovSpace space([&](ConstVector x, Eigen::Ref<Vector> y) { y = M * x; }, Vector::Ones(20), 20);

  space.extend(20);

  EXPECT_TRUE(space.exhausted());
  EXPECT_EQ(space.steps(), 2);
}

}  // namespace
}  // namespace gradflow
