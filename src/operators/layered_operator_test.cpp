#include <gtest/gtest.h>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/operators/finite_ntk.h"
#include "gradflow/operators/jacobian_operator.h"
#include "gradflow/operators/make_operator.h"
#include "laws/training_operator_laws.h"
#include "operators/test_support.h"

namespace gradflow {
namespace {

/// The inputs have 24 entries.
const char* const layered_networks[] = {
    "input:24 dense:1",
    "input:24 dense:6 sin res(dense:4 gelu dense:6) layernorm relu dense:1",
    "input:24 dense:6 res(dense:6 erf) dense:1,ntk,sb2=0",
    "input:2x3x4 conv2d:3:3 flatten dense:1,no-bias",
    "input:2x3x4 conv2d:3:3:2:2 relu conv2d:2:1 avgpool dense:4 tanh dense:1,ntk",
    "input:2x3x4 conv2d:4:3 layernorm erf res(conv2d:4:3 erf conv2d:4:3) erf flatten dense:1,ntk,sw2=1.5",
    "input:2x12 conv1d:3:5 tanh conv1d:2:4:3:1 flatten dense:1",
    "input:24 layernorm:affine dense:1",
    "input:24 dense:6 layernorm:affine tanh res(layernorm:affine dense:6) dense:1",
    "input:2x3x4 conv2d:3:3 layernorm:affine erf res(layernorm:affine relu) avgpool dense:1",
    "input:2x12 layernorm:affine conv1d:2:3 flatten dense:1"};

LayeredNetwork layered_network_of(const char* text) {
  return LayeredNetwork::initialise(parse_layered_architecture(text), 24, 5);
}

TEST(LayeredOperator, GramMatricesAreThoseOfTheJacobian) {
  RandomStream random(1, "test");
  const Matrix X = random.normals(21, 24), X_new = random.normals(5, 24);
  for (const char* text : layered_networks) {
    const LayeredNetwork network = layered_network_of(text);
    const Matrix J = network.jacobian(X), J_new = network.jacobian(X_new);

    EXPECT_LT(relative_error(ntk_gram(network, X), J * J.transpose()), 1e-13) << text;
    EXPECT_LT(relative_error(ntk_cross(network, X_new, X), J_new * J.transpose()), 1e-13) << text;
    EXPECT_LT(relative_error(ntk_diagonal(network, X), J.rowwise().squaredNorm()), 1e-13) << text;
    EXPECT_EQ(ntk_gram(network, X.topRows(0)).size(), 0);
    EXPECT_EQ(ntk_cross(network, X.topRows(0), X).cols(), 21);
    EXPECT_LT(relative_error(make_operator(network, X)->matrix(), J * J.transpose() / 21.0), 1e-13) << text;
  }
}

TEST(LayeredOperator, MatrixFreeOneObeysTheLawsAndEqualsTheGramMatrix) {
  RandomStream random(2, "test");
  const Matrix X = random.normals(50, 24), V = random.normals(50, 3);
  for (const char* text : layered_networks) {
    const LayeredNetwork network = layered_network_of(text);
    for (const double cache : {0.0, keep_all}) {
      const JacobianOperator H(network, X, {.cache_bytes = cache});

      EXPECT_EQ(H.cached(), cache > 0.0);
      EXPECT_EQ(laws::broken_by(H, random), std::vector<std::string>{}) << text;
      EXPECT_LT(relative_error(applied(H, V), ntk_gram(network, X) * V / 50.0), 1e-12) << text;
      EXPECT_LT(relative_error(H.output(), network.output(X)), 1e-13) << text;
      EXPECT_LT(relative_error(H.pullback(V.col(0)).flatten(), network.vjp(X, V.col(0)).flatten() / 50.0),
                1e-12)
          << text;
      EXPECT_LT(relative_error(network.jvp(X, H.pullback(V.col(0))), applied(H, V.col(0))), 1e-12) << text;
    }
  }
}

TEST(LayeredOperator, ExplicitOneObeysTheLaws) {
  RandomStream random(3, "test");
  const Matrix X = random.normals(30, 24);
  for (const char* text : layered_networks)
    EXPECT_EQ(laws::broken_by(*make_operator(layered_network_of(text), X), random),
              std::vector<std::string>{})
        << text;
}

TEST(LayeredOperator, ADenseDescriptionHasTheDenseNetworksOperators) {
  RandomStream random(4, "test");
  const Matrix X = random.normals(40, 3), V = random.normals(40, 2);
  for (const char* text : {"relu:30-20", "gelu:16x2,ntk", "tanh:9,no-bias", "linear"}) {
    const Architecture architecture = parse_architecture(text);
    const auto dense = DenseNetwork::initialise(architecture, 3, 6);
    const auto network = LayeredNetwork::initialise(layered(architecture), 3, 6);

    EXPECT_LT(relative_error(ntk_gram(network, X), ntk_gram(dense, X)), 1e-14) << text;
    EXPECT_LT(relative_error(applied(JacobianOperator(network, X), V),
                             applied(JacobianOperator(dense, X, {.precision = Precision::float64}), V)),
              1e-13)
        << text;
  }
}

TEST(LayeredOperator, KeptAndRecomputedSweepsAndAnyNumberOfThreadsGiveTheSameBits) {
  RandomStream random(5, "test");
  const Matrix X = random.normals(1500, 24), V = random.normals(1500, 2);
  const LayeredNetwork network =
      layered_network_of("input:2x3x4 conv2d:3:3 relu res(conv2d:3:3) avgpool dense:1");
  set_threads(1);
  const JacobianOperator one(network, X);
  const Matrix expected = applied(one, V);
  set_threads(3);
  const JacobianOperator kept(network, X, {.cache_bytes = keep_all}), recomputed(network, X);

  EXPECT_EQ(applied(kept, V), expected);
  EXPECT_EQ(applied(recomputed, V), expected);
  EXPECT_EQ(kept.diagonal(), one.diagonal());
  EXPECT_EQ(kept.output(), one.output());
  set_threads(0);
}

TEST(LayeredOperator, SizesAreThoseOfTheNetwork) {
  for (const char* text : layered_networks) {
    const LayeredNetwork network = layered_network_of(text);
    const LayeredSizes sizes = sizes_of(network.architecture(), 24);
    const Sweep sweep = network.sweep(Matrix::Ones(1, 24));
    double swept = 0.0, products = 0.0;
    for (Index l = 0; l < network.layers(); ++l) {
      const auto& [A, D] = sweep.layers[static_cast<std::size_t>(l)];
      swept += static_cast<double>(A.size() + D.size());
      products += static_cast<double>(A.rows() * A.cols() * D.cols());
    }

    EXPECT_EQ(sizes.parameters, static_cast<double>(network.parameters().count())) << text;
    EXPECT_EQ(sizes.swept, swept) << text;
    EXPECT_EQ(sizes.multiply_adds, products) << text;
    EXPECT_GE(sizes.kept, swept) << text;
  }
}

/// f(x_i), and the tangent kernel of x_0 with x_0 ... x_3, by automatic differentiation in jax 0.4.23
/// (float64, lax.conv_general_dilated): x_ik = sin(1 + 3 i + k), and the entries of all weights and biases,
/// layer by layer in C order, 0.5 sin(0.7 m + 1), m = 0, 1, ... The last, with scales and shifts, by PyTorch
/// 1.13 (float64, LayerNorm over the channels at each place).
struct NetworkReference {
  const char* layers;
  double output[4], kernel[4];
};
const NetworkReference network_references[] = {
    {"input:2x4x3 conv2d:3:3:2:2 relu res(layernorm conv2d:2:3 relu conv2d:3:1) tanh flatten dense:4 gelu "
     "layernorm dense:1",
     {-1.52174155923665, -1.4508078006214, -1.52338960606926, -1.5155233030468},
     {5.45852715177386, 4.51955866004704, 5.29642804011668, 4.82035504139323}},
    {"input:2x12 conv1d:3:4:2 tanh res(erf conv1d:3:3) layernorm avgpool dense:5 relu dense:1",
     {0.144955600480244, 0.143555199262389, 0.145328376180487, 0.142596987836946},
     {4.21590761716507, 4.21399238817098, 4.21688581989036, 4.20577392466}},
    {"input:2x4x3 conv2d:3:3 layernorm:affine erf res(conv2d:3:3 layernorm:affine) flatten dense:4 "
     "layernorm:affine gelu dense:1",
     {-0.0373148593675481, -0.0526325277138288, -0.0393048991838546, -0.0466323989743561},
     {20.1286374670056, 27.0387227001281, 22.200380292797, 24.6428071653076}},
};

/// The next entries, row by row.
Matrix counted(Index rows, Index cols, Index& count) {
  Matrix W(rows, cols);
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < cols; ++j) W(i, j) = 0.5 * std::sin(0.7 * static_cast<double>(count++) + 1.0);
  return W;
}

TEST(LayeredOperator, NetworksAndKernelsAreThoseOfAutomaticDifferentiation) {
  Matrix X(4, 24);
  for (Index i = 0; i < 4; ++i)
    for (Index k = 0; k < 24; ++k)
      X(i, k) = std::sin(1.0 + 3.0 * static_cast<double>(i) + static_cast<double>(k));
  for (const NetworkReference& reference : network_references) {
    Parameters parameters = layered_network_of(reference.layers).parameters();
    Index count = 0;
    for (std::size_t l = 0; l < parameters.weights.size(); ++l) {
      parameters.weights[l] = counted(parameters.weights[l].rows(), parameters.weights[l].cols(), count);
      parameters.biases[l] = counted(parameters.biases[l].size(), 1, count);
    }
    const LayeredNetwork network(parse_layered_architecture(reference.layers), parameters);
    const Vector output = network.output(X);
    const Matrix gram = ntk_gram(network, X);
    for (Index i = 0; i < 4; ++i) {
      EXPECT_NEAR(output(i), reference.output[i], 1e-13) << reference.layers;
      EXPECT_NEAR(gram(0, i), reference.kernel[i], 1e-13 * reference.kernel[0]) << reference.layers;
    }
  }
}

TEST(LayeredOperator, DescriptionAndWrongInputsAreThoseOfTheDenseOne) {
  const LayeredNetwork network = layered_network_of("input:2x12 conv1d:3:5 tanh flatten dense:1");
  const JacobianOperator H(network, Matrix::Ones(2, 24));

  EXPECT_EQ(H.description(),
            "NTK of a network input:2x12 conv1d:3:5 tanh flatten dense:1 with 70 parameters");
  EXPECT_THROW(JacobianOperator(network, Matrix::Ones(2, 23)), InputError);
  EXPECT_THROW(JacobianOperator(network, Matrix::Ones(2, 24), {.cache_bytes = -1.0}), InputError);
  EXPECT_THROW(JacobianOperator(network, Matrix::Constant(2, 24, 1e200 * 1e200)), InputError);
}

}  // namespace
}  // namespace gradflow
