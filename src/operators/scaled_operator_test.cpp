#include "gradflow/operators/scaled_operator.h"

#include <gtest/gtest.h>

#include "gradflow/base/error.h"
#include "gradflow/operators/dense_operator.h"
#include "laws/training_operator_laws.h"

namespace gradflow {
namespace {

TEST(ScaledOperator, ObeysTheLawsAndIsTheSandwich) {
  RandomStream random(1, "test");
  const Matrix G = random.normals(40, 30);
  const DenseOperator H(G * G.transpose(), "G G'");
  const Vector scale = random.normals(40, 1).col(0).array().exp();
  const ScaledOperator scaled(H, scale, 0.7);

  EXPECT_EQ(laws::broken_by(scaled, random), std::vector<std::string>{});
  const Matrix expected = 0.7 * scale.asDiagonal() * H.entries() * scale.asDiagonal();
  EXPECT_LT((scaled.matrix() - expected).norm(), 1e-13 * expected.norm());
  EXPECT_NEAR(scaled.squared_norm(), expected.squaredNorm(), 1e-12 * expected.squaredNorm());
  EXPECT_LT((scaled.entries({3, 1}, {0, 39, 2}) - expected({3, 1}, {0, 39, 2})).norm(),
            1e-13 * expected.norm());
}

TEST(ScaledOperator, RefusesScalesThatAreNotPositive) {
  const DenseOperator H(Matrix::Identity(2, 2));

  EXPECT_THROW(ScaledOperator(H, Vector::Zero(2), 1.0), InputError);
  EXPECT_THROW(ScaledOperator(H, Vector::Ones(3), 1.0), InputError);
  EXPECT_THROW(ScaledOperator(H, Vector::Ones(2), 0.0), InputError);
}

}  // namespace
}  // namespace gradflow
