#include "gradflow/network/dense_network.h"

#include <gtest/gtest.h>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"

namespace gradflow {
namespace {

std::vector<std::string> architectures() {
  std::vector<std::string> all;
  for (const char* phi : {"relu", "leaky-relu@0.2", "abs", "gelu", "erf", "tanh", "sin", "cos", "identity"})
    for (const char* options : {"", ",no-bias", ",ntk,sw2=1.7,sb2=0.3", ",no-bias,ntk"})
      all.push_back(std::string(phi) + ":7-5" + options);
  all.insert(all.end(), {"linear", "linear,no-bias,ntk", "tanh:6", "gelu:1", "erf:3x4"});
  return all;
}

/// The network's parameters moved by step along a direction.
DenseNetwork moved(const DenseNetwork& network, const Parameters& direction, double step) {
  Parameters parameters = network.parameters();
  for (std::size_t l = 0; l < parameters.weights.size(); ++l)
    parameters.weights[l] += step * direction.weights[l];
  for (std::size_t l = 0; l < parameters.biases.size(); ++l)
    parameters.biases[l] += step * direction.biases[l];
  return DenseNetwork(network.architecture(), parameters);
}

Parameters random_direction(const DenseNetwork& network, RandomStream& random) {
  Parameters direction = network.parameters();
  for (Matrix& V : direction.weights) V = random.normals(V.rows(), V.cols());
  for (Vector& v : direction.biases) v = random.normals(v.size());
  return direction;
}

TEST(DenseNetwork, DerivativesAgreeWithCentralDifferencesAndEachOther) {
  for (const std::string& text : architectures()) {
    RandomStream random(3, text);
    const auto network = DenseNetwork::initialise(parse_architecture(text), 4, 11);
    const Matrix X = random.normals(9, 4);
    const Vector u = random.normals(9);
    const Parameters v = random_direction(network, random);
    constexpr double step = 1e-6;
    const Vector difference =
        (moved(network, v, step).output(X) - moved(network, v, -step).output(X)) / (2 * step);

    const Vector Jv = network.jvp(X, v);
    const Vector Jtu = network.vjp(X, u).flatten();
    const Matrix J = network.jacobian(X);

    ASSERT_EQ(J.cols(), network.parameters().count());
    EXPECT_LT((Jv - difference).norm(), 1e-6 * Jv.norm()) << text;
    EXPECT_LT((J * v.flatten() - Jv).norm(), 1e-13 * Jv.norm()) << text;
    EXPECT_LT((J.transpose() * u - Jtu).norm(), 1e-13 * Jtu.norm()) << text;
    EXPECT_NEAR(u.dot(Jv), Jtu.dot(v.flatten()), 1e-12 * u.norm() * Jv.norm()) << text;
    EXPECT_LT((network.sweep(X).output - network.output(X)).norm(), 1e-14 * (1.0 + network.output(X).norm()))
        << text;
  }
}

TEST(DenseNetwork, OutputOfATwoLayerNetworkComputedByHand) {
  const Parameters parameters{{Matrix{{1, -1}, {2, 0}}, Matrix{{3, -2}}}, {Vector{{0, 1}}, Vector{{0.5}}}};
  const DenseNetwork network(parse_architecture("relu:2"), parameters);

  // x = (2, 1): z = (1, 5), f = 3 - 10 + 0.5;   x = (-1, 0): z = (-1, -1), f = 0.5
  EXPECT_EQ(network.output(Matrix{{2, 1}, {-1, 0}}), (Vector{{-6.5, 0.5}}));
  const Architecture scaled = parse_architecture("relu:2,ntk,sw2=8,sb2=4");  // scales 2 and 2
  EXPECT_EQ(DenseNetwork(scaled, parameters).output(Matrix{{2, 1}}),
            (Vector{{2 * (3 * 2 - 2 * 10) + 2 * 0.5}}));
}

TEST(DenseNetwork, BlocksOfExamplesDoNotShow) {
  RandomStream random(4, "test");
  const auto network = DenseNetwork::initialise(parse_architecture("tanh:3-2"), 2, 1);
  const Matrix X = random.normals(9000, 2);
  const Vector u = random.normals(9000);

  EXPECT_LT((network.output(X).tail(10) - network.output(X.bottomRows(10))).norm(), 1e-14);
  EXPECT_LT((network.vjp(X, u).flatten() - network.jacobian(X).transpose() * u).norm(), 1e-10);
  EXPECT_EQ(network.output(Matrix(0, 2)).size(), 0);
}

TEST(DenseNetwork, StandardInitialisationIsUniformWithinPyTorchsBounds) {
  const auto network = DenseNetwork::initialise(parse_architecture("relu:400x2"), 25, 5);

  for (std::size_t l = 0; l < 3; ++l) {
    const Matrix& W = network.parameters().weights[l];
    const double bound = 1.0 / std::sqrt(static_cast<double>(W.cols()));
    const double n = static_cast<double>(W.size());
    EXPECT_LE(W.cwiseAbs().maxCoeff(), bound);
    EXPECT_GT(W.cwiseAbs().maxCoeff(), 0.9 * bound);
    EXPECT_NEAR(W.mean(), 0.0, 4.0 * bound / std::sqrt(3.0 * n));
    // Var of x^2 for x ~ U(-1, 1) is 1/5 - 1/9.
    EXPECT_NEAR(W.squaredNorm() / n, bound * bound / 3.0,
                4.0 * bound * bound * std::sqrt((0.2 - 1.0 / 9.0) / n));
    EXPECT_LE(network.parameters().biases[l].cwiseAbs().maxCoeff(), bound);
  }
}

TEST(DenseNetwork, NtkInitialisationIsStandardNormal) {
  const auto network = DenseNetwork::initialise(parse_architecture("relu:400x2,ntk"), 25, 5);
  const Matrix& W = network.parameters().weights[1];
  const double n = static_cast<double>(W.size());

  EXPECT_NEAR(W.mean(), 0.0, 4.0 / std::sqrt(n));
  EXPECT_NEAR(W.squaredNorm() / n, 1.0, 4.0 * std::sqrt(2.0 / n));
  EXPECT_NEAR(W.array().pow(4).mean(), 3.0, 4.0 * std::sqrt(96.0 / n));
}

TEST(DenseNetwork, SameSeedSameBits) {
  const Architecture a = parse_architecture("relu:30x2");

  EXPECT_EQ(DenseNetwork::initialise(a, 4, 9).parameters().flatten(),
            DenseNetwork::initialise(a, 4, 9).parameters().flatten());
  EXPECT_NE(DenseNetwork::initialise(a, 4, 9).parameters().flatten(),
            DenseNetwork::initialise(a, 4, 10).parameters().flatten());
}

TEST(DenseNetwork, WrongShapesAreRefused) {
  const auto network = DenseNetwork::initialise(parse_architecture("relu:3"), 4, 1);
  try {
    network.output(Matrix::Zero(2, 5));
    FAIL();
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(), "the features have 5 columns: the network takes 4 inputs");
  }
  EXPECT_THROW(network.sweep(Matrix::Zero(2, 3)), InputError);
  EXPECT_THROW(network.vjp(Matrix::Zero(2, 4), Vector::Zero(3)), InputError);
  EXPECT_THROW(network.jvp(Matrix::Zero(2, 4), Parameters{{Matrix::Zero(1, 4)}, {}}), InputError);
  EXPECT_THROW(DenseNetwork::initialise(parse_architecture("relu:3"), 0, 1), InputError);
  Parameters bad = network.parameters();
  bad.weights[0](1, 1) = std::nan("");
  EXPECT_THROW(DenseNetwork(network.architecture(), bad), InputError);
  bad = network.parameters();
  bad.weights[1] = Matrix::Zero(2, 3);
  EXPECT_THROW(DenseNetwork(network.architecture(), bad), InputError);
}

}  // namespace
}  // namespace gradflow
