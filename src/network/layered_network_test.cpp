#include "gradflow/network/layered_network.h"

#include <gtest/gtest.h>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "gradflow/network/dense_network.h"

namespace gradflow {
namespace {

/// Each layer alone and compositions, on features, series and images; the inputs have 24 entries.
const char* const networks[] = {
    "input:24 dense:1",
    "input:24 dense:7 tanh dense:5 tanh dense:1",
    "input:24 dense:6 layernorm dense:1",
    "input:24 layernorm dense:1",
    "input:24 dense:6 res(dense:6) dense:1",
    "input:24 res(dense:24 erf) dense:1",
    "input:24 dense:6 sin res(dense:4 gelu res(tanh dense:4) dense:6) layernorm relu dense:1",
    "input:24 dense:6 res(relu) dense:1",
    "input:2x3x4 conv2d:3:3 flatten dense:1",
    "input:2x3x4 conv2d:3:3 avgpool dense:1",
    "input:2x3x4 conv2d:3:2:2:0 tanh flatten dense:1",
    "input:2x3x4 conv2d:3:3:2:2 relu conv2d:2:1 avgpool dense:4 tanh dense:1",
    "input:2x3x4 layernorm flatten dense:1",
    "input:2x3x4 avgpool dense:1",
    "input:2x3x4 conv2d:4:3 layernorm erf res(conv2d:4:3 erf layernorm conv2d:4:3) erf flatten dense:1",
    "input:2x12 conv1d:3:5 tanh conv1d:2:4:3:1 flatten dense:1",
    "input:2x12 conv1d:3:3:2 leaky-relu@0.2 res(conv1d:3:3) avgpool dense:1",
    "input:24 layernorm:affine dense:1",
    "input:24 dense:6 layernorm:affine tanh res(layernorm:affine dense:6) dense:1",
    "input:2x3x4 conv2d:3:3 layernorm:affine erf res(layernorm:affine relu) avgpool dense:1",
    "input:2x12 layernorm:affine conv1d:2:3 flatten dense:1"};

std::vector<std::string> all_networks() {
  std::vector<std::string> all;
  for (const char* text : networks)
    for (const char* options : {"", ",no-bias", ",ntk,sw2=1.7,sb2=0.3", ",no-bias,ntk"})
      all.push_back(std::string(text) + options);
  return all;
}

LayeredNetwork network_of(const std::string& text, std::uint64_t seed = 11) {
  return LayeredNetwork::initialise(parse_layered_architecture(text), 24, seed);
}

LayeredNetwork moved(const LayeredNetwork& network, const Vector& direction, double step) {
  return {network.architecture(),
          network.parameters().unflatten(network.parameters().flatten() + step * direction)};
}

// Scales and shifts of layer norms are no longer 1 and 0.
LayeredNetwork away_from_start(const LayeredNetwork& network, RandomStream& random) {
  return moved(network, random.normals(network.parameters().count()), 0.2);
}

TEST(LayeredNetwork, DerivativesAgreeWithCentralDifferencesAndEachOther) {
  for (const std::string& text : all_networks()) {
    RandomStream random(3, text);
    const LayeredNetwork network = away_from_start(network_of(text), random);
    const Matrix X = random.normals(9, 24);
    const Vector u = random.normals(9), v = random.normals(network.parameters().count());
    constexpr double step = 1e-6;
    const Vector difference =
        (moved(network, v, step).output(X) - moved(network, v, -step).output(X)) / (2 * step);

    const Vector Jv = network.jvp(X, network.parameters().unflatten(v));
    const Vector Jtu = network.vjp(X, u).flatten();
    const Matrix J = network.jacobian(X);

    EXPECT_LT((Jv - difference).norm(), 1e-6 * Jv.norm()) << text;
    EXPECT_LT((J * v - Jv).norm(), 1e-13 * Jv.norm()) << text;
    EXPECT_LT((J.transpose() * u - Jtu).norm(), 1e-13 * Jtu.norm()) << text;
    EXPECT_NEAR(u.dot(Jv), Jtu.dot(v), 1e-12 * u.norm() * Jv.norm()) << text;
    EXPECT_LT((network.sweep(X).output - network.output(X)).norm(), 1e-14 * (1.0 + network.output(X).norm()))
        << text;
  }
}

TEST(LayeredNetwork, GradientInEveryParameterAgreesWithCentralDifferences) {
  constexpr double step = 1e-5;
  for (const char* text : networks) {
    RandomStream random(4, text);
    const LayeredNetwork network = away_from_start(network_of(text), random);
    const Matrix X = random.normals(3, 24);
    const Vector u = random.normals(3), gradient = network.vjp(X, u).flatten();
    Vector differences(gradient.size());
    for (Index k = 0; k < gradient.size(); ++k) {
      const Vector e = Vector::Unit(gradient.size(), k);
      differences[k] =
          u.dot(moved(network, e, step).output(X) - moved(network, e, -step).output(X)) / (2 * step);
    }

    EXPECT_LT((gradient - differences).norm(), 1e-6 * gradient.norm()) << text;
  }
}

TEST(LayeredNetwork, ADenseDescriptionIsTheDenseNetwork) {
  RandomStream random(5, "test");
  const Matrix X = random.normals(50, 4);
  const Vector u = random.normals(50);
  for (const char* text : {"relu:7-5", "linear", "tanh:30x2,no-bias", "erf:16x3,ntk,sw2=1.5", "gelu:3,ntk"}) {
    const Architecture architecture = parse_architecture(text);
    const auto dense = DenseNetwork::initialise(architecture, 4, 8);
    const auto network = LayeredNetwork::initialise(layered(architecture), 4, 8);
    const Parameters direction = DenseNetwork::initialise(architecture, 4, 9).parameters();

    EXPECT_EQ(network.parameters().flatten(), dense.parameters().flatten()) << text;
    EXPECT_EQ(network.sweep(X).output, dense.sweep(X).output) << text;
    EXPECT_LT((network.output(X) - dense.output(X)).norm(), 1e-15 * dense.output(X).norm()) << text;
    EXPECT_LT((network.jvp(X, direction) - dense.jvp(X, direction)).norm(),
              1e-14 * dense.jvp(X, direction).norm())
        << text;
    EXPECT_LT((network.vjp(X, u).flatten() - dense.vjp(X, u).flatten()).norm(),
              1e-14 * dense.vjp(X, u).flatten().norm())
        << text;
  }
}

TEST(LayeredNetwork, ConvolutionsComputedByHand) {
  // One channel 1 x 3, patch of 3 with zeros around, weights (1, 2, 3), then a mean over places.
  const Parameters series{{Matrix{{1, 2, 3}}, Matrix{{1}}}, {Vector{{0}}, Vector{{0.5}}}};
  const LayeredNetwork one(parse_layered_architecture("input:1x3 conv1d:1:3 avgpool dense:1"), series);
  // x = (1, 10, 100): (2 + 30, 1 + 20 + 300, 10 + 200)
  EXPECT_NEAR(one.output(Matrix{{1, 10, 100}})(0), (32.0 + 321.0 + 210.0) / 3.0 + 0.5, 1e-12);

  // Two channels 2 x 2, patch of 2 without zeros: all eight entries, in C order.
  const Matrix weights{{1, 2, 3, 4, 5, 6, 7, 8}};
  const LayeredNetwork two(parse_layered_architecture("input:2x2x2 conv2d:1:2:1:0 flatten dense:1"),
                           {{weights, Matrix{{2}}}, {Vector{{1}}, Vector{{0}}}});
  EXPECT_EQ(two.output(Matrix{{1, 0, 0, 0, 0, 0, 10, 0}})(0), 2.0 * (1.0 + 70.0 + 1.0));
}

TEST(LayeredNetwork, AConvolutionIsItsDefinition) {
  // z_o(y, x) = sum_c sum_ab W_ocab a_c(2 y + a - 1, 2 x + b - 1) + b_o with zeros outside, by loops.
  const auto network = LayeredNetwork::initialise(
      parse_layered_architecture("input:2x5x4 conv2d:3:3:2 flatten dense:1"), 40, 3);
  const Matrix X = RandomStream(8, "test").normals(2, 40);
  const Parameters& theta = network.parameters();
  for (Index i = 0; i < 2; ++i) {
    double f = theta.biases[1](0);
    for (Index o = 0; o < 3; ++o)
      for (Index y = 0; y < 3; ++y)
        for (Index x = 0; x < 2; ++x) {
          double z = theta.biases[0](o);
          for (Index c = 0; c < 2; ++c)
            for (Index a = 0; a < 3; ++a)
              for (Index b = 0; b < 3; ++b) {
                const Index from_y = 2 * y + a - 1, from_x = 2 * x + b - 1;
                if (from_y >= 0 && from_y < 5 && from_x >= 0 && from_x < 4)
                  z += theta.weights[0](o, (c * 3 + a) * 3 + b) * X(i, (c * 5 + from_y) * 4 + from_x);
              }
          f += theta.weights[1](0, (o * 3 + y) * 2 + x) * z;
        }
    EXPECT_NEAR(network.output(X)(i), f, 1e-13);
  }
}

TEST(LayeredNetwork, LayerNormOfFeaturesHasMeanZeroAndVarianceOne) {
  const Parameters parameters{{Matrix{{1, 0, 0, 0}}}, {Vector{{0}}}};
  const LayeredNetwork network(parse_layered_architecture("input:4 layernorm dense:1"), parameters);

  // (0, 2, 4, 6): mean 3, variance 5
  EXPECT_NEAR(network.output(Matrix{{0, 2, 4, 6}})(0), -3.0 / std::sqrt(5.0 + layer_norm_epsilon), 1e-14);
}

TEST(LayeredNetwork, AnAffineLayerNormStartsAsAPlainOneAndScalesAndShiftsItsEntries) {
  RandomStream random(9, "test");
  const Matrix X = random.normals(5, 24);
  const auto text = [](const char* norm) {
    return fmt::format("input:2x3x4 conv2d:3:3 {0} tanh flatten dense:4 {0} dense:1,ntk,sb2=0.3", norm);
  };
  EXPECT_EQ(network_of(text("layernorm:affine")).output(X), network_of(text("layernorm")).output(X));

  // (0, 2, 4, 6) / 5^1/2 less 3, gamma (1, 2, 3, 4), beta (10, 20, 30, 40), weights (1, 0, -1, 2)
  const Parameters parameters{{Matrix{{1}, {2}, {3}, {4}}, Matrix{{1, 0, -1, 2}}},
                              {Vector{{10, 20, 30, 40}}, Vector{{0}}}};
  const LayeredNetwork network(parse_layered_architecture("input:4 layernorm:affine dense:1"), parameters);
  EXPECT_NEAR(network.output(Matrix{{0, 2, 4, 6}})(0),
              (-3.0 * 1 - 1.0 * 3 + 2 * 3.0 * 4) / std::sqrt(5.0 + layer_norm_epsilon) + 10 - 30 + 80, 1e-13);
  EXPECT_EQ(network.state_name(0), "0");
  EXPECT_EQ(network.weight_shape(0), std::vector<Index>{4});
}

TEST(LayeredNetwork, AShiftedImageMovesAPooledOutputOnlyByItsBorder) {
  // Away from the border a convolution commutes with shifts, and the mean over places forgets them.
  const auto network = LayeredNetwork::initialise(
      parse_layered_architecture("input:1x9x9 conv2d:5:3 tanh avgpool dense:1,no-bias"), 81, 2);
  Matrix X = Matrix::Zero(2, 81);
  for (const Index place : {30, 31, 40}) {
    X(0, place) = 0.5 + 0.1 * static_cast<double>(place);
    X(1, place + 10) = X(0, place);
  }

  EXPECT_NEAR(network.output(X)(0), network.output(X)(1), 1e-15);
}

TEST(LayeredNetwork, BlocksOfExamplesAndThreadsDoNotShow) {
  RandomStream random(6, "test");
  const LayeredNetwork network = network_of("input:2x3x4 conv2d:3:3 relu res(conv2d:3:3) avgpool dense:1");
  const Matrix X = random.normals(3000, 24);
  const Vector u = random.normals(3000);
  set_threads(1);
  const Vector output = network.output(X), gradient = network.vjp(X, u).flatten();
  set_threads(3);
  const Vector output_of_three = network.output(X), gradient_of_three = network.vjp(X, u).flatten();
  set_threads(0);

  EXPECT_EQ(output, output_of_three);
  EXPECT_EQ(gradient, gradient_of_three);
  EXPECT_LT((output.tail(10) - network.output(X.bottomRows(10))).norm(), 1e-14);
  EXPECT_LT((gradient - network.jacobian(X).transpose() * u).norm(), 1e-11 * gradient.norm());
  EXPECT_EQ(network.output(Matrix(0, 24)).size(), 0);
}

TEST(LayeredNetwork, NamesAndShapesAreThoseOfAPyTorchStateDict) {
  const LayeredNetwork network =
      network_of("input:2x3x4 conv2d:3:3 relu res(conv2d:3:3 relu conv2d:3:1) avgpool dense:5 tanh dense:1");
  std::vector<std::string> names;
  for (Index l = 0; l < network.layers(); ++l) names.push_back(network.state_name(l));

  EXPECT_EQ(names, (std::vector<std::string>{"0", "2.block.0", "2.block.2", "4", "6"}));
  EXPECT_EQ(network.weight_shape(0), (std::vector<Index>{3, 2, 3, 3}));
  EXPECT_EQ(network.weight_shape(2), (std::vector<Index>{3, 3, 1, 1}));
  EXPECT_EQ(network.weight_shape(3), (std::vector<Index>{5, 3}));
  EXPECT_EQ(network_of("input:2x12 conv1d:3:5 flatten dense:1").weight_shape(0),
            (std::vector<Index>{3, 2, 5}));
}

TEST(LayeredNetwork, WrongShapesAreRefused) {
  const LayeredNetwork network = network_of("input:24 dense:3 relu dense:1");
  try {
    network.output(Matrix::Zero(2, 5));
    FAIL();
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(), "the features have 5 columns: the network takes 24 inputs");
  }
  EXPECT_THROW(network.vjp(Matrix::Zero(2, 24), Vector::Zero(3)), InputError);
  EXPECT_THROW(network.jvp(Matrix::Zero(2, 24), Parameters{{Matrix::Zero(1, 4)}, {}}), InputError);
  EXPECT_THROW(network_of("input:2x3x5 avgpool dense:1"), InputError);
  EXPECT_THROW(network.parameters().unflatten(Vector::Zero(3)), InputError);
  Parameters bad = network.parameters();
  bad.weights[0](1, 1) = std::nan("");
  EXPECT_THROW(LayeredNetwork(network.architecture(), bad), InputError);
  bad = network.parameters();
  bad.weights[1] = Matrix::Zero(2, 3);
  EXPECT_THROW(LayeredNetwork(network.architecture(), bad), InputError);
  EXPECT_THROW(LayeredNetwork(parse_layered_architecture("dense:1"), network.parameters()), InputError);
}

}  // namespace
}  // namespace gradflow
