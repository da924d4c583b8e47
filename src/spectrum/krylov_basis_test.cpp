#include "gradflow/spectrum/krylov_basis.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/special_values.h"
#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "gradflow/spectrum/lanczos.h"
#include "support/reference.h"

namespace gradflow {
namespace {

/// Half a unit in the last place of float32: what keeping an entry costs, relative to it.
constexpr double kept_in_float32 = 6e-8;

constexpr Index row_counts[] = {1, 2047, 2048, 5000};
constexpr Index column_counts[] = {1, 15, 16, 17, 33};

struct Case {
  Matrix V, X, C;
  KrylovBasis basis;
};

Case make_case(Index rows, Index columns, BasisPrecision precision) {
  RandomStream random(7, "krylov basis");
  Case made{random.normals(rows, columns), random.normals(rows, 3), random.normals(columns, 3),
            KrylovBasis(rows, precision)};
  for (Index j = 0; j < columns; ++j) made.basis.append(made.V.col(j));
  return made;
}

Case orthonormal_case(Index rows, Index columns, BasisPrecision precision) {
  Case made = make_case(rows, columns, precision);
  made.V = reference::orthogonal_basis(made.V).leftCols(columns);
  made.basis = KrylovBasis(rows, precision);
  for (Index j = 0; j < columns; ++j) made.basis.append(made.V.col(j));
  return made;
}

class KrylovBasisIn : public testing::TestWithParam<BasisPrecision> {
 protected:
  /// Of a sum of products, relative to the sum of their magnitudes.
  double tolerance(Index terms) const {
    const double kept = GetParam() == BasisPrecision::float32 ? kept_in_float32 : 0.0;
    return kept + 4.0 * machine_epsilon * std::sqrt(static_cast<double>(terms));
  }

  template <typename Check>
  void at_every_size(Check&& check) const {
    for (const Index rows : row_counts)
      for (const Index columns : column_counts) {
        SCOPED_TRACE(fmt::format("{} rows, {} columns", rows, columns));
        check(make_case(rows, columns, GetParam()));
      }
  }
};

INSTANTIATE_TEST_SUITE_P(Precision, KrylovBasisIn,
                         testing::Values(BasisPrecision::float64, BasisPrecision::float32),
                         [](const auto& precision) {
                           return precision.param == BasisPrecision::float64 ? "float64" : "float32";
                         });

bool within(const Matrix& difference, const Matrix& magnitude, double tolerance) {
  return (difference.array().abs() <= tolerance * magnitude.array()).all();
}

TEST_P(KrylovBasisIn, InnerIsTheTransposedProduct) {
  at_every_size([&](const Case& c) {
    const Matrix magnitude = c.V.cwiseAbs().transpose() * c.X.cwiseAbs();

    EXPECT_TRUE(within(c.basis.inner(c.X) - c.V.transpose() * c.X, magnitude, tolerance(c.V.rows())));
  });
}

TEST_P(KrylovBasisIn, TimesIsTheProductWithAllOrWithTheFirstColumns) {
  at_every_size([&](const Case& c) {
    for (const Index used : {c.V.cols(), (c.V.cols() + 1) / 2}) {
      const Matrix C = c.C.topRows(used), product = c.V.leftCols(used) * C;
      const Matrix magnitude = c.V.leftCols(used).cwiseAbs() * C.cwiseAbs();

      EXPECT_TRUE(within(c.basis.times(C) - product, magnitude, tolerance(used)));
    }
  });
}

TEST_P(KrylovBasisIn, SubtractTakesTheProductOff) {
  at_every_size([&](const Case& c) {
    Matrix X = c.X;
    c.basis.subtract(c.C, X);
    const Matrix magnitude = c.X.cwiseAbs() + c.V.cwiseAbs() * c.C.cwiseAbs();

    EXPECT_TRUE(within(X - (c.X - c.V * c.C), magnitude, tolerance(c.V.cols())));
  });
}

TEST_P(KrylovBasisIn, RowHoldsTheEntriesAsKept) {
  at_every_size([&](const Case& c) {
    const Matrix kept = c.basis.times(Matrix::Identity(c.V.cols(), c.V.cols()));
    for (const Index i : {Index{0}, c.V.rows() / 2, c.V.rows() - 1})
      EXPECT_TRUE(within(kept.row(i) - c.V.row(i), c.V.row(i).cwiseAbs(), tolerance(0)));
    EXPECT_EQ(c.basis.size(), c.V.cols());
    EXPECT_EQ(c.basis.rows(), c.V.rows());
  });
}

TEST_P(KrylovBasisIn, OrthogonaliseLeavesThePartOutsideTheBasis) {
  for (const Index rows : {Index{2047}, Index{2048}, Index{5000}})
    for (const Index columns : column_counts) {
      const Case c = orthonormal_case(rows, columns, GetParam());
      Matrix X = c.X;
      c.basis.orthogonalise(X);

      // Two passes: what is left along the basis is the first pass' error times the basis' own defect.
      const Matrix outside = c.X - c.V * (c.V.transpose() * c.X);
      EXPECT_LT((X - outside).norm(), tolerance(rows) * c.X.norm());
      EXPECT_LT(c.basis.inner(X).norm(),
                2.0 * tolerance(rows) * tolerance(rows) * c.X.norm() + 16.0 * machine_epsilon * c.X.norm());
    }
}

TEST_P(KrylovBasisIn, OneAndTwoThreadsGiveTheSameBits) {
  const Case c = make_case(5000, 33, GetParam());
  const auto results = [&](int count) {
    set_threads(count);
    Matrix subtracted = c.X, orthogonalised = 1e-3 * c.X;
    c.basis.subtract(c.C, subtracted);
    c.basis.orthogonalise(orthogonalised, 1);
    Matrix all(5000, 9);
    all << c.basis.times(c.C), subtracted, orthogonalised;
    return std::pair{all, c.basis.inner(c.X)};
  };

  const auto one = results(1), two = results(2);
  set_threads(0);

  EXPECT_EQ(one.first, two.first);
  EXPECT_EQ(one.second, two.second);
}

/// H with eigenvalues in [0.9999, 1] off an intercept and entries between it and the rest.
struct Flat {
  explicit Flat(Index n) : one(Vector::Constant(n, 1.0 / std::sqrt(static_cast<double>(n)))) {
    RandomStream random(8, "flat spectrum");
    Matrix frame = random.normals(n, n);
    frame.col(0) = one;
    const Matrix Q = reference::orthogonal_basis(frame).rightCols(n - 1);
    const Vector values = Vector::NullaryExpr(n - 1, [&](Index) { return random.uniform(0.9999, 1.0); });
    const Vector beside = Q * random.normals(n - 1) / static_cast<double>(n);
    H = Q * values.asDiagonal() * Q.transpose() + one * beside.transpose() + beside * one.transpose() +
        3.0 * one * one.transpose();
    start = Q * random.normals(n - 1);
  }
  void project(Block x) const { x -= one * (one.transpose() * x).eval(); }
  void apply(ConstVector x, Eigen::Ref<Vector> y) const {
    y = H * x;
    y -= one.dot(y) * one;
  }
  Vector one, start;
  Matrix H;
};

TEST(KrylovSpace, StaysWhereItsProjectionPutsItWhenBetaIsFarBelowAlpha) {
  const Flat flat(80);
  KrylovSpace space([&](ConstVector x, Eigen::Ref<Vector> y) { flat.apply(x, y); }, flat.start, 79,
                    BasisPrecision::float64, [&](Block x) { flat.project(x); });

  space.extend(79);

  EXPECT_TRUE(space.exhausted());
  EXPECT_LT(space.basis().inner(flat.one).norm(), 1e-14);
  EXPECT_GT(ritz(space.tridiagonal()).values.minCoeff(), 0.9999 - 1e-12);
}

TEST(KrylovSpace, AFloat32BasisLeavesTheJacobiMatrixAsItWasToRounding) {
  const Matrix G = RandomStream(9, "wishart").normals(200, 200);
  const Matrix M = G * G.transpose() / 200.0;
  const auto apply = [&](ConstVector x, Eigen::Ref<Vector> y) { y = M * x; };
  const Vector start = RandomStream(10, "start").normals(200);
  KrylovSpace whole(apply, start, 200), half(apply, start, 200, BasisPrecision::float32);
  whole.extend(30);
  half.extend(30);
  const Quadrature a = gauss_rule(whole.tridiagonal(), 1.0), b = gauss_rule(half.tridiagonal(), 1.0);

  // A basis orthogonal to e leaves T to e^2, here (6e-8)^2 = 4e-15 a step, relative to the largest, 4.
  EXPECT_LT((a.nodes - b.nodes).cwiseAbs().maxCoeff(), 30 * 4.0 * kept_in_float32 * kept_in_float32);
  for (const double t : {0.1, 1.0, 10.0})
    EXPECT_NEAR((-t * a.nodes.array()).exp().matrix().dot(a.weights),
                (-t * b.nodes.array()).exp().matrix().dot(b.weights), 1e-12);
}

TEST(KrylovBasis, RefusesVectorsOfAnotherSize) {
  KrylovBasis basis(5, BasisPrecision::float64);
  basis.append(Vector::Ones(5));

  EXPECT_THROW(basis.append(Vector::Ones(4)), InputError);
  EXPECT_THROW(basis.inner(Matrix::Ones(4, 1)), InputError);
  EXPECT_THROW(basis.times(Matrix::Ones(2, 1)), InputError);
}

}  // namespace
}  // namespace gradflow
