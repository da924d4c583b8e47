#include "gradflow/operators/infinite_ntk.h"

#include <gtest/gtest.h>

#include <cmath>

#include "gradflow/base/error.h"
#include "gradflow/operators/dual_activation.h"
#include "gradflow/operators/finite_ntk.h"
#include "gradflow/operators/make_operator.h"
#include "laws/training_operator_laws.h"
#include "support/reference.h"

namespace gradflow {
namespace {

const char* const all_activations[] = {"relu", "leaky-relu@0.2", "abs", "gelu", "erf", "tanh", "sin",
                                       "cos",  "identity"};

std::vector<InfiniteArchitecture> deep_kernels() {
  std::vector<InfiniteArchitecture> all;
  for (const char* kind : {"ntk", "nngp"})
    for (const char* phi : all_activations)
      for (const char* rest : {":1", ":3", ":2,sw2=1,sb2=0"})
        all.push_back(parse_infinite_architecture(std::string(kind) + ':' + phi + rest));
  all.push_back(parse_infinite_architecture("ntk:relu:0"));
  return all;
}

double least_eigenvalue(const Matrix& K) { return reference::symmetric_spectrum(K).values(0); }

TEST(InfiniteArchitecture, TextFormsAreInverse) {
  for (const char* text :
       {"ntk:relu:2", "nngp:erf:3", "ntk:leaky-relu@0.2:1", "ntk:gelu:0", "nngp:tanh:4,sw2=1.5,sb2=0"})
    EXPECT_EQ(to_string(parse_infinite_architecture(text)), text);
  EXPECT_EQ(parse_infinite_architecture("ntk:relu:2"), InfiniteArchitecture{});
}

TEST(InfiniteArchitecture, NonsenseIsRefusedWithAnExample) {
  for (const char* text : {"", "ntk", "ntk:relu", "ntk:relu:", "ntk:relu:-1", "ntk:relu:2.5", "ntk:relu:5000",
                           "ntk:swish:2", "rbf:relu:2", "ntk:relu:2:3", "ntk:relu:2,", "ntk:relu:2,sw2=0",
                           "ntk:relu:2,sb2=-1", "ntk:relu:2,sw2=", "ntk:relu:2,a=1", "relu:2"})
    try {
      parse_infinite_architecture(text);
      ADD_FAILURE() << text;
    } catch (const InputError& error) {
      EXPECT_TRUE(std::string(error.what()).starts_with("kernel '" + std::string(text) + "': "))
          << error.what();
      EXPECT_TRUE(std::string(error.what()).ends_with("for example ntk:relu:2")) << error.what();
    }
}

TEST(InfiniteNtk, OneEntryAgreesWithTheRecursionWrittenOut) {
  const Matrix X{{1.0, 2.0, -1.0}, {0.5, 0.0, 3.0}};
  for (const char* name : all_activations) {
    const Activation phi = parse_activation(name);
    const double sw2 = 1.7, sb2 = 0.3;
    double a = sw2 * 2.0 + sb2, b = sw2 * 9.25 / 3.0 + sb2, c = sw2 * -2.5 / 3.0 + sb2, t = c;
    for (int l = 0; l < 2; ++l) {
      const Dual off = dual(phi, a, b, c);
      a = sw2 * dual(phi, a, a, a).value + sb2;
      b = sw2 * dual(phi, b, b, b).value + sb2;
      c = sw2 * off.value + sb2;
      t = c + sw2 * t * off.derivative;
    }
    InfiniteArchitecture architecture{phi, 2, sw2, sb2};
    EXPECT_NEAR(kernel_gram(architecture, X)(1, 0), t, 1e-11) << name;
    architecture.kind = InfiniteArchitecture::KernelKind::nngp;
    EXPECT_NEAR(kernel_gram(architecture, X)(1, 0), c, 1e-11) << name;
  }
}

TEST(InfiniteNtk, CrossAndDiagonalAgreeWithTheGramMatrix) {
  RandomStream random(1, "test");
  const Matrix X = random.normals(150, 5);
  for (const InfiniteArchitecture& arch : deep_kernels()) {
    const Matrix gram = kernel_gram(arch, X);
    const double scale = gram.cwiseAbs().maxCoeff();
    const Matrix cross = kernel_cross(arch, X.topRows(70), X);

    EXPECT_EQ(gram, gram.transpose());
    EXPECT_LT((gram.diagonal() - kernel_diagonal(arch, X)).cwiseAbs().maxCoeff(), 1e-14 * scale)
        << to_string(arch);
    EXPECT_LT((cross - gram.topRows(70)).cwiseAbs().maxCoeff(), 1e-12 * scale) << to_string(arch);
  }
}

TEST(InfiniteNtk, KernelsAreSemidefiniteAndFollowThePermutationOfRows) {
  RandomStream random(2, "test");
  Matrix X = random.normals(120, 3);
  X.row(119) = X.row(4);
  const auto order = random.permutation(120);
  for (const InfiniteArchitecture& arch : deep_kernels()) {
    const Matrix gram = kernel_gram(arch, X);
    const double scale = gram.cwiseAbs().maxCoeff();

    EXPECT_GT(least_eigenvalue(gram), -1e-12 * scale * 120.0) << to_string(arch);
    EXPECT_LT((gram.col(119) - gram.col(4)).cwiseAbs().maxCoeff(), 1e-12 * scale) << to_string(arch);
    const Matrix permuted = kernel_gram(arch, X(order, Eigen::all));
    EXPECT_LT((permuted - gram(order, order)).cwiseAbs().maxCoeff(), 1e-12 * scale) << to_string(arch);
  }
}

TEST(InfiniteNtk, RepeatedRowsOfManyFeaturesGiveEqualKernelRows) {
  RandomStream random(3, "test");
  Matrix X = random.normals(60, 1000);
  X.bottomRows(30) = X.topRows(30);
  const Matrix gram = kernel_gram(InfiniteArchitecture{}, X);

  EXPECT_LT((gram.leftCols(30) - gram.rightCols(30)).cwiseAbs().maxCoeff(), 1e-12 * gram(0, 0));
}

TEST(InfiniteNtk, RowsOfZerosAndLargeValuesGiveFiniteEntries) {
  RandomStream random(4, "test");
  Matrix X = random.normals(20, 3);
  X.row(0).setZero();
  X.row(19).setZero();
  X.row(5) *= 1e4;
  for (const InfiniteArchitecture& arch : deep_kernels()) {
    EXPECT_TRUE(kernel_gram(arch, X).allFinite()) << to_string(arch);
    EXPECT_TRUE(kernel_gram(arch, Matrix::Zero(3, 2)).allFinite()) << to_string(arch);
  }
}

TEST(InfiniteNtk, EmptySetsAndWrongShapes) {
  const InfiniteArchitecture arch = parse_infinite_architecture("ntk:tanh:2");

  EXPECT_EQ(kernel_gram(arch, Matrix(0, 3)).size(), 0);
  EXPECT_EQ(kernel_cross(arch, Matrix(0, 3), Matrix::Ones(4, 3)).cols(), 4);
  EXPECT_EQ(kernel_cross(arch, Matrix::Ones(4, 3), Matrix(0, 3)).rows(), 4);
  EXPECT_THROW(kernel_cross(arch, Matrix::Ones(4, 2), Matrix::Ones(4, 3)), InputError);
  EXPECT_THROW(kernel_gram(arch, Matrix(4, 0)), InputError);
}

TEST(InfiniteNtk, OperatorsObeyTheLaws) {
  RandomStream random(5, "test");
  const Matrix X = random.normals(40, 3);
  for (const InfiniteArchitecture& arch : deep_kernels())
    EXPECT_EQ(laws::broken_by(*make_operator(arch, X), random), std::vector<std::string>{})
        << to_string(arch);
  EXPECT_EQ(make_operator(InfiniteArchitecture{}, X)->description(),
            "infinite-width NTK, relu, 2 hidden layers, sw2 = 2, sb2 = 0.1");
  EXPECT_LT(
      (make_operator(InfiniteArchitecture{}, X)->matrix() - kernel_gram(InfiniteArchitecture{}, X) / 40.0)
          .norm(),
      1e-12);
}

/// Every entry of the mean over `draws` networks within 5 standard errors of the infinite-width kernel, and
/// 10 / width of its scale for the bias at finite width.
void expect_limit(const char* activation, const std::vector<Index>& widths, int draws) {
  const Matrix X = RandomStream(6, "test").normals(6, 3);
  Architecture finite{parse_activation(activation), widths, true, Parameterization::ntk, 1.5, 0.2};
  const InfiniteArchitecture infinite{finite.activation, static_cast<Index>(widths.size()), 1.5, 0.2};
  Matrix sum = Matrix::Zero(6, 6), squares = Matrix::Zero(6, 6);
  for (int seed = 0; seed < draws; ++seed) {
    const Matrix gram = ntk_gram(DenseNetwork::initialise(finite, 3, static_cast<std::uint64_t>(seed)), X);
    sum += gram;
    squares += gram.cwiseAbs2();
  }
  const Matrix mean = sum / draws, limit = kernel_gram(infinite, X);
  const Matrix error = ((squares / draws - mean.cwiseAbs2()).cwiseMax(0.0) / (draws - 1)).cwiseSqrt();
  const double bias = 10.0 / static_cast<double>(widths.back()) * limit.cwiseAbs().maxCoeff();
  for (Index j = 0; j < 6; ++j)
    for (Index i = j; i < 6; ++i)
      EXPECT_NEAR(mean(i, j), limit(i, j), 5.0 * error(i, j) + bias) << activation << ' ' << i << ' ' << j;
  EXPECT_LT(error.maxCoeff(), 0.02 * limit.cwiseAbs().maxCoeff()) << "the comparison has no power";
}

TEST(InfiniteNtk, IsTheMeanOfNetworksOfWidth4096) {
  for (const char* activation : all_activations) expect_limit(activation, {4096}, 30);
}

TEST(InfiniteNtk, IsTheMeanOfDeeperNetworksOfWidth4096) {
  expect_limit("relu", {4096, 4096}, 12);
  expect_limit("gelu", {4096, 1024}, 20);
}

}  // namespace
}  // namespace gradflow
