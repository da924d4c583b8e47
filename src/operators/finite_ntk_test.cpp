#include "gradflow/operators/finite_ntk.h"

#include <gtest/gtest.h>

#include "gradflow/base/error.h"
#include "gradflow/operators/make_operator.h"
#include "laws/training_operator_laws.h"
#include "operators/test_support.h"
#include "support/reference.h"

namespace gradflow {
namespace {

const char* const networks[] = {"relu:30-20",     "gelu:16x3",           "tanh:9,no-bias",
                                "erf:12-1-8,ntk", "abs:5x2,no-bias,ntk", "sin:7,ntk,sw2=0.5,sb2=2",
                                "linear",         "linear,no-bias",      "leaky-relu@0.2:1"};

TEST(FiniteNtk, LayerProductsEqualTheProductOfJacobians) {
  RandomStream random(1, "test");
  const Matrix X = random.normals(37, 3), X_new = random.normals(11, 3);
  for (const char* text : networks) {
    const auto network = DenseNetwork::initialise(parse_architecture(text), 3, 5);
    const Matrix J = network.jacobian(X), J_new = network.jacobian(X_new);

    EXPECT_LT(relative_error(ntk_gram(network, X), J * J.transpose()), 1e-12) << text;
    EXPECT_LT(relative_error(ntk_cross(network, X_new, X), J_new * J.transpose()), 1e-12) << text;
    EXPECT_LT(relative_error(ntk_diagonal(network, X), J.rowwise().squaredNorm()), 1e-12) << text;
  }
}

TEST(FiniteNtk, PanelsAndTheJointComputationAgreeWithSingleOnes) {
  RandomStream random(2, "test");
  const auto network = DenseNetwork::initialise(parse_architecture("relu:40-20"), 4, 5);
  const Matrix X = random.normals(613, 4), X_new = random.normals(77, 4);
  const NtkPair pair = ntk_gram_and_cross(network, X, X_new);
  const Matrix J = network.jacobian(X);

  EXPECT_LT(relative_error(pair.gram, J * J.transpose()), 1e-12);
  EXPECT_EQ(pair.gram, pair.gram.transpose());
  EXPECT_LT(relative_error(pair.cross, network.jacobian(X_new) * J.transpose()), 1e-12);
  EXPECT_LT(relative_error(pair.cross, ntk_cross(network, X_new, X)), 1e-12);
  EXPECT_LT(relative_error(pair.gram, ntk_gram(network, X)), 1e-12);
  EXPECT_LT(relative_error(pair.gram.diagonal(), ntk_diagonal(network, X)), 1e-12);
  EXPECT_LT((pair.output - network.output(X)).norm(), 1e-12);
  EXPECT_LT((pair.output_new - network.output(X_new)).norm(), 1e-12);
}

TEST(FiniteNtk, PermutedAndRepeatedRowsGivePermutedAndRepeatedEntries) {
  RandomStream random(3, "test");
  const auto network = DenseNetwork::initialise(parse_architecture("gelu:40x2"), 4, 5);
  Matrix X = random.normals(300, 4);
  X.row(299) = X.row(7);
  const auto order = random.permutation(300);
  const Matrix gram = ntk_gram(network, X);

  EXPECT_LT(relative_error(ntk_gram(network, X(order, Eigen::all)), gram(order, order)), 1e-13);
  EXPECT_LT(relative_error(gram.col(299), gram.col(7)), 1e-13);
  EXPECT_GT(reference::symmetric_spectrum(gram).values(0), -1e-12 * gram.norm());
}

TEST(FiniteNtk, EmptySetsAndWrongShapes) {
  const auto network = DenseNetwork::initialise(parse_architecture("relu:4"), 3, 5);

  EXPECT_EQ(ntk_gram(network, Matrix(0, 3)).size(), 0);
  EXPECT_EQ(ntk_cross(network, Matrix(0, 3), Matrix::Ones(2, 3)).cols(), 2);
  EXPECT_THROW(ntk_gram(network, Matrix::Ones(2, 4)), InputError);
  EXPECT_THROW(ntk_cross(network, Matrix::Ones(2, 4), Matrix::Ones(2, 3)), InputError);
  EXPECT_THROW(ntk_gram_and_cross(network, Matrix::Ones(2, 3), Matrix::Ones(2, 4)), InputError);
}

TEST(FiniteNtk, OperatorOfANetworkObeysTheLaws) {
  RandomStream random(4, "test");
  const Matrix X = random.normals(50, 3);
  for (const char* text : networks) {
    const auto H = make_operator(DenseNetwork::initialise(parse_architecture(text), 3, 5), X);
    EXPECT_EQ(laws::broken_by(*H, random), std::vector<std::string>{}) << text;
  }
  const auto H = make_operator(DenseNetwork::initialise(parse_architecture("relu:128x2"), 3, 5), X);
  EXPECT_EQ(H->description(), "NTK of a network relu:128x2 with 17153 parameters");
}

}  // namespace
}  // namespace gradflow
