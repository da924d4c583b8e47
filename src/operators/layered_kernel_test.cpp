#include "gradflow/operators/layered_kernel.h"

#include <gtest/gtest.h>

#include <Eigen/Eigenvalues>
#include <array>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/network/layered_network.h"
#include "gradflow/operators/finite_ntk.h"
#include "laws/training_operator_laws.h"
#include "operators/test_support.h"

namespace gradflow {
namespace {

using LayeredKind = InfiniteArchitecture::KernelKind;

/// Inputs have 24 entries.
const char* const layered_kernels[] = {
    "ntk(dense:1)",
    "nngp(dense:8 relu res(dense:8 erf dense:8) dense:1,no-bias,sw2=1.5)",
    "ntk(dense:8 layernorm relu dense:8 res(gelu dense:8) layernorm erf dense:1,sb2=0)",
    "ntk(input:2x3x4 conv2d:8:3 relu res(conv2d:8:3 relu conv2d:8:3) flatten dense:1)",
    "ntk(input:2x3x4 conv2d:8:3 layernorm relu res(conv2d:8:3) avgpool dense:8 dense:1)",
    "nngp(input:2x12 conv1d:4:3:2 erf conv1d:4:4:1:0 avgpool relu dense:1)"};

TEST(LayeredKernel, TextFormsAreInverse) {
  for (const char* text : layered_kernels) {
    EXPECT_EQ(to_string(parse_layered_kernel(text)), text);
    EXPECT_TRUE(is_layered_kernel_text(text));
  }
  EXPECT_EQ(to_string(parse_layered_kernel("ntk(dense:3 relu dense:1,ntk,sw2=2)")),
            "ntk(dense:3 relu dense:1)");
  EXPECT_FALSE(is_layered_kernel_text("ntk:relu:2"));
}

TEST(LayeredKernel, OfADenseNetworkIsTheKernelOfDenseNetworks) {
  RandomStream random(1, "test");
  Matrix X = random.normals(150, 5);
  X.row(7) = X.row(3);
  X.row(8) = -X.row(3);
  X.row(9).setZero();
  const Matrix X_new = random.normals(9, 5);
  for (const char* activation : {"relu", "erf", "gelu", "leaky-relu@0.2", "tanh", "sin"})
    for (const LayeredKind kind : {LayeredKind::ntk, LayeredKind::nngp})
      for (const Index depth : {0, 1, 3}) {
        if (depth > 1 && std::string(activation) == "tanh") continue;  // its series are slow
        const InfiniteArchitecture dense{parse_activation(activation), depth, 1.6, 0.3, kind};
        const LayeredKernel kernel{
            layered(Architecture{dense.activation, std::vector<Index>(static_cast<std::size_t>(depth), 9),
                                 true, Parameterization::ntk, 1.6, 0.3}),
            kind};

        EXPECT_LT(relative_error(kernel_gram(kernel, X), kernel_gram(dense, X)), 1e-12)
            << activation << depth;
        EXPECT_LT(relative_error(kernel_cross(kernel, X_new, X), kernel_cross(dense, X_new, X)), 1e-12);
        EXPECT_LT(relative_error(kernel_diagonal(kernel, X), kernel_diagonal(dense, X)), 1e-12);
      }
}

TEST(LayeredKernel, GramCrossAndDiagonalAgreeAndObeyTheLaws) {
  RandomStream random(2, "test");
  const Matrix X = random.normals(40, 24);
  for (const char* text : layered_kernels) {
    const LayeredKernel kernel = parse_layered_kernel(text);
    const Matrix gram = kernel_gram(kernel, X);

    EXPECT_EQ(gram, Matrix(gram.transpose())) << text;
    EXPECT_LT(relative_error(kernel_cross(kernel, X.topRows(11), X), gram.topRows(11)), 1e-7) << text;
    EXPECT_LT(
        relative_error(kernel_cross(kernel, X.topRows(11), X.bottomRows(29)), gram.topRightCorner(11, 29)),
        1e-13)
        << text;
    EXPECT_EQ(kernel_diagonal(kernel, X), Vector(gram.diagonal())) << text;
    EXPECT_EQ(laws::broken_by(*make_operator(kernel, X), random), std::vector<std::string>{}) << text;
    EXPECT_GT(gram.selfadjointView<Eigen::Lower>().eigenvalues().minCoeff(), -1e-10 * gram.trace()) << text;
  }
}

TEST(LayeredKernel, TilesAndThreadsDoNotShow) {
  RandomStream random(3, "test");
  const Matrix X = random.normals(150, 24);
  const LayeredKernel kernel = parse_layered_kernel(layered_kernels[4]);
  set_threads(1);
  const Matrix one = kernel_gram(kernel, X);
  set_threads(3);
  const Matrix three = kernel_gram(kernel, X);
  set_threads(0);

  EXPECT_EQ(one, three);
  EXPECT_LT(relative_error(kernel_gram(kernel, X.bottomRows(20)), one.bottomRightCorner(20, 20)), 1e-13);
}

/// Entries (0, 0), (0, 1), (1, 2) and (0, 3) of the covariance and the tangent kernel of rows x_ik = sin(1 +
/// 3 i + k), by neural-tangents 0.6.5 (jax 0.4.23, float64) with W_std^2 = 1.5, b_std^2 = 0.2, LayerNorm's
/// eps 1e-5 over channels, arrays in its channels-last order.
struct KernelReference {
  const char* layers;
  double covariance[4], tangent[4];
};
const KernelReference kernel_references[] = {
    {"dense:1 relu dense:1 relu dense:1",
     {0.9031258934199, 0.5298988469092, 0.5293034190321, 0.5348829872472},
     {2.15937768026, 0.5876444608746, 0.5873995046931, 0.6015483914545}},
    {"dense:1 res(relu dense:1) relu dense:1",
     {1.640627084646, 0.5462449581312, 0.5460111108049, 0.5697920456256},
     {3.634380062713, 0.3971026920079, 0.3982377202462, 0.444683830603}},
    {"dense:1 res(relu dense:1 erf dense:1) dense:1",
     {2.99264559786, -0.1012827201809, -0.09487286727623, 0.00783779775318},
     {7.98700590157, -0.2701763377683, -0.2563512889941, -0.03206760991072}},
    {"dense:1 layernorm relu dense:1 layernorm erf dense:1",
     {0.8968355846921, 0.3761892646432, 0.3764429661542, 0.3859332058136},
     {2.425240896927, 0.4643365721207, 0.464908937071, 0.4871309385978}},
    {"input:2x3x4 conv2d:1:3 relu conv2d:1:3 relu flatten dense:1",
     {0.6172834663555, 0.438501485293, 0.4384460964907, 0.4418628427237},
     {1.301850398938, 0.5318705809014, 0.531939584396, 0.5415295649617}},
    {"input:2x3x4 conv2d:1:3 relu conv2d:1:3 relu avgpool dense:1",
     {0.4812201087618, 0.471988118821, 0.4718946688752, 0.4720782813432},
     {0.7070961302727, 0.663430578725, 0.6633810337495, 0.6643662495107}},
    {"input:2x3x4 conv2d:1:2:1:0 erf avgpool dense:1 erf dense:1",
     {0.6363910404306, 0.5216128437502, 0.5225348980605, 0.5260372831101},
     {1.383885520835, 0.9852906698956, 0.9884817098896, 1.001402260361}},
    {"input:2x3x4 conv2d:1:3 layernorm res(relu conv2d:1:3) relu avgpool dense:1",
     {0.9136446409264, 0.8862856567238, 0.8865138703549, 0.8874426593275},
     {1.355450452453, 1.257471582778, 1.25783687818, 1.260777584917}},
    {"input:2x12 conv1d:1:3:2:0 erf conv1d:1:3 erf flatten dense:1",
     {0.8270746290378, 0.1160836532464, 0.1164482630733, 0.1429929976956},
     {2.233537291674, -0.2143715300544, -0.2132613215511, -0.1290888466059}},
};

TEST(LayeredKernel, AgreesWithNeuralTangents) {
  Matrix X(4, 24);
  for (Index i = 0; i < 4; ++i)
    for (Index k = 0; k < 24; ++k)
      X(i, k) = std::sin(1.0 + 3.0 * static_cast<double>(i) + static_cast<double>(k));
  for (const KernelReference& reference : kernel_references) {
    const std::string layers = reference.layers;
    const Matrix covariance = kernel_gram(parse_layered_kernel("nngp(" + layers + ",sw2=1.5,sb2=0.2)"), X);
    const Matrix tangent = kernel_gram(parse_layered_kernel("ntk(" + layers + ",sw2=1.5,sb2=0.2)"), X);
    const std::array<std::pair<Index, Index>, 4> places{{{0, 0}, {0, 1}, {1, 2}, {0, 3}}};
    for (std::size_t k = 0; k < places.size(); ++k) {
      const auto [i, j] = places[k];
      EXPECT_NEAR(covariance(i, j), reference.covariance[k], 1e-10 * reference.covariance[0]) << layers << k;
      EXPECT_NEAR(tangent(i, j), reference.tangent[k], 1e-10 * reference.tangent[0]) << layers << k;
    }
  }
}

/// The mean of finite kernels over seeds: every entry within 5 standard errors and 10 / width of the
/// limit's size for the bias at finite width.
void expect_limit(const std::string& layers, Index width, int draws) {
  const Matrix X = RandomStream(6, "test").normals(5, 24);
  const LayeredArchitecture finite = parse_layered_architecture(
      fmt::format(fmt::runtime(layers), fmt::arg("w", width)) + ",ntk,sw2=1.5,sb2=0.2");
  Matrix sum = Matrix::Zero(5, 5), squares = Matrix::Zero(5, 5);
  for (int seed = 0; seed < draws; ++seed) {
    const Matrix gram = ntk_gram(LayeredNetwork::initialise(finite, 24, static_cast<std::uint64_t>(seed)), X);
    sum += gram;
    squares += gram.cwiseAbs2();
  }
  const Matrix mean = sum / draws, limit = kernel_gram(LayeredKernel{finite}, X);
  const Matrix error = ((squares / draws - mean.cwiseAbs2()).cwiseMax(0.0) / (draws - 1)).cwiseSqrt();
  const double size = limit.cwiseAbs().maxCoeff();
  for (Index j = 0; j < 5; ++j)
    for (Index i = j; i < 5; ++i)
      EXPECT_NEAR(mean(i, j), limit(i, j), 5.0 * error(i, j) + 10.0 / static_cast<double>(width) * size)
          << layers << ' ' << i << ' ' << j;
  EXPECT_LT(error.maxCoeff(), 0.03 * size) << layers << ": the comparison has no power";
}

TEST(LayeredKernel, IsTheMeanOfWideNetworks) {
  expect_limit("dense:{w} relu res(dense:{w} relu dense:{w}) dense:1", 512, 20);
  expect_limit("dense:{w} layernorm erf dense:{w} layernorm relu dense:1", 512, 20);
  expect_limit("dense:{w} res(erf dense:{w}) gelu dense:1", 512, 20);
}

TEST(LayeredKernel, IsTheMeanOfConvolutionsWithManyChannels) {
  expect_limit("input:2x3x4 conv2d:{w}:3 relu conv2d:{w}:3:2 relu flatten dense:1", 96, 20);
  expect_limit("input:2x3x4 conv2d:{w}:3 erf res(conv2d:{w}:3) avgpool dense:1", 96, 20);
  expect_limit("input:2x12 conv1d:{w}:3 layernorm relu conv1d:{w}:4:2:1 avgpool erf dense:1", 96, 20);
}

TEST(LayeredKernel, FiniteKernelsApproachItAsTheRootOfTheWidth) {
  const Matrix X = RandomStream(7, "test").normals(5, 24);
  const auto distance = [&X](Index width) {
    const auto finite = parse_layered_architecture(fmt::format(
        "input:2x3x4 conv2d:{0}:3 relu res(conv2d:{0}:3 relu conv2d:{0}:1) avgpool dense:1,ntk", width));
    const Matrix limit = kernel_gram(LayeredKernel{finite}, X);
    constexpr int draws = 16;
    double sum = 0.0;
    for (int seed = 0; seed < draws; ++seed)
      sum += (ntk_gram(LayeredNetwork::initialise(finite, 24, static_cast<std::uint64_t>(seed)), X) - limit)
                 .squaredNorm();
    return std::sqrt(sum / draws);
  };

  // Eight times the width, so a factor of sqrt(8) = 2.8; a root mean square over 16 draws of some 15
  // correlated entries has a relative standard error of about 0.18, the ratio of two of 0.25.
  const double ratio = distance(16) / distance(128);
  EXPECT_GT(ratio, 1.7);
  EXPECT_LT(ratio, 4.6);
}

TEST(LayeredKernel, LayersWithoutALimitAreNamed) {
  const auto message = [](const char* layers) {
    return message_of([&] { parse_layered_kernel("ntk(" + std::string(layers) + ")"); });
  };
  EXPECT_EQ(message("relu dense:1"),
            "kernel 'ntk(relu dense:1)': layer 'relu' has no infinite-width kernel here: an activation needs "
            "Gaussian values, as those of a dense or conv layer before it");
  EXPECT_EQ(message("dense:4 layernorm:affine dense:1"),
            "kernel 'ntk(dense:4 layernorm:affine dense:1)': layer 'layernorm:affine' has no infinite-width "
            "kernel here: its trained scales and shifts are not in the recursion: take layernorm");
  EXPECT_EQ(message("dense:4 relu layernorm dense:1"),
            "kernel 'ntk(dense:4 relu layernorm dense:1)': layer 'layernorm' has no infinite-width kernel "
            "here: it needs Gaussian values, as those of a dense or conv layer before it");
  for (const char* layers :
       {"res(dense:4) dense:1", "dense:4 res(relu) dense:1", "dense:4 relu res(dense:4 relu) dense:1",
        "dense:4 res(res(dense:4) relu) dense:1", "dense:4 relu res(dense:4) relu dense:1",
        "input:1x2x2 conv2d:2:1 flatten relu dense:1"})
    EXPECT_NE(message(layers).find("has no infinite-width kernel here"), std::string::npos)
        << message(layers);
  EXPECT_NO_THROW(parse_layered_kernel("ntk(dense:4 relu dense:1)"));
  EXPECT_TRUE(message("dense:4 swish dense:1").starts_with("kernel 'ntk(dense:4 swish dense:1)': network "));
  EXPECT_THROW(parse_layered_kernel("ntk(dense:1"), InputError);
  EXPECT_THROW(kernel_gram(parse_layered_kernel(layered_kernels[3]), Matrix::Ones(3, 23)), InputError);
  EXPECT_THROW(kernel_gram(parse_layered_kernel(layered_kernels[0]), Matrix::Constant(3, 24, std::nan(""))),
               InputError);
}

}  // namespace
}  // namespace gradflow
