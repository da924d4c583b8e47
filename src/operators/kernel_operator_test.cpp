#include "gradflow/operators/kernel_operator.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "gradflow/operators/make_operator.h"
#include "laws/training_operator_laws.h"
#include "operators/kernel_lanes.h"
#include "operators/test_support.h"

namespace gradflow {
namespace {

const char* const every_activation[] = {"relu", "leaky-relu@0.2", "abs", "gelu", "erf", "tanh", "sin",
                                        "cos",  "identity"};

std::vector<InfiniteArchitecture> kernels_of(const std::vector<std::string>& shapes) {
  std::vector<InfiniteArchitecture> all;
  for (const char* kind : {"ntk:", "nngp:"})
    for (const char* phi : every_activation)
      for (const std::string& shape : shapes)
        all.push_back(parse_infinite_architecture(kind + std::string(phi) + shape));
  return all;
}

/// What one entry may err by, relative to sqrt(Theta_ii Theta_jj): rounding to float (2^-24) where entries
/// are stored; where they are evaluated in float, a few of its roundings per layer, each of which an
/// activation's second derivative (at most about 4 for these random rows) enlarges.
double entry_tolerance(const KernelOptions& options, Index depth) {
  const double layers = static_cast<double>(depth + 1);
  if (options.precision == Precision::float32) return 4e-6 * layers;
  return (options.storage == KernelStorage::float32 ? 6e-8 : 0.0) + 1e-13 * layers;
}

std::string name(const InfiniteArchitecture& architecture, const KernelOptions& options) {
  return fmt::format("{} storage {} float32 {}", to_string(architecture), static_cast<int>(options.storage),
                     options.precision == Precision::float32);
}

/// Largest error of H's entries and products against kernel_gram / n, in units of what is allowed.
void expect_agrees(const InfiniteArchitecture& architecture, const Matrix& X, const KernelOptions& options,
                   Index columns, double widening = 1.0) {
  const Index n = X.rows();
  const Matrix reference = kernel_gram(architecture, X) / static_cast<double>(n);
  const Matrix V = RandomStream(7, "block").normals(n, columns);
  const KernelOperator H(architecture, X, options);

  const Vector root = reference.diagonal().cwiseSqrt();
  const Matrix allowed = widening * entry_tolerance(options, architecture.depth) * root * root.transpose();
  const Matrix entry_error = (H.matrix() - reference).cwiseAbs() - allowed;
  const Matrix error = (applied(H, V) - reference * V).cwiseAbs() - 2.0 * allowed * V.cwiseAbs();

  EXPECT_LE(entry_error.maxCoeff(), 0.0) << name(architecture, options) << " n " << n;
  EXPECT_LE(error.maxCoeff(), 0.0) << name(architecture, options) << " n " << n;
}

TEST(KernelOperator, AgreesWithTheGramMatrixForEveryActivationAndDepth) {
  const Matrix X = RandomStream(1, "test").normals(65, 4);
  for (const InfiniteArchitecture& architecture : kernels_of({":0", ":1", ":2,sw2=1,sb2=0", ":3"}))
    for (const KernelOptions& options : all_kernel_options()) expect_agrees(architecture, X, options, 3);
}

TEST(KernelOperator, AgreesWithTheGramMatrixForEveryRemainderOfATile) {
  for (const Index n : {1, 2, 63, 64, 65, 127, 128, 129, 200, 517})
    for (const Index columns : {1, 3, 8})
      for (const KernelOptions& options : all_kernel_options())
        for (const char* text : {"ntk:relu:2", "nngp:erf:1"})
          expect_agrees(parse_infinite_architecture(text), RandomStream(2, "test").normals(n, 5), options,
                        columns);
}

TEST(KernelOperator, AgreesWithTheGramMatrixForManyFeatures) {
  for (const Index features : {127, 128, 129, 400})
    for (const Precision precision : {Precision::float64, Precision::float32})
      expect_agrees(InfiniteArchitecture{}, RandomStream(3, "test").normals(150, features),
                    {KernelStorage::none, precision}, 1);
}

TEST(KernelOperator, AgreesToAThousandthPerLayerInFloatWhereRowsAreNearlyParallel) {
  // The rows of one feature: rho is 1 but for the bias, and arccos turns a rounding error e into sqrt(e).
  const Matrix X = RandomStream(3, "test").normals(150, 1);
  for (const InfiniteArchitecture& architecture : kernels_of({":2"})) {
    expect_agrees(architecture, X, {KernelStorage::none, Precision::float32}, 1, 250.0);
    expect_agrees(architecture, X, {KernelStorage::none, Precision::float64}, 1, 10.0);
  }
}

TEST(KernelOperator, EveryWidthOfVectorsAgreesWithTheWidest) {
  const Matrix X = RandomStream(4, "test").normals(200, 6), V = RandomStream(4, "block").normals(200, 7);
  for (const InfiniteArchitecture& architecture : kernels_of({":2"}))
    for (const KernelOptions& options : all_kernel_options()) {
      const Matrix widest = applied(KernelOperator(architecture, X, options), V);
      for (const lanes::Level level : {lanes::Level::baseline, lanes::Level::avx2}) {
        lanes::limit(level);
        const Matrix product = applied(KernelOperator(architecture, X, options), V);
        lanes::limit(lanes::Level::avx512);
        EXPECT_LE((product - widest).norm(), entry_tolerance(options, 2) * widest.norm())
            << name(architecture, options);
      }
    }
}

TEST(KernelOperator, ObeysTheLaws) {
  RandomStream random(5, "test");
  const Matrix X = random.normals(150, 3);
  for (const InfiniteArchitecture& architecture : kernels_of({":1", ":3,sw2=1.5,sb2=0"}))
    for (const KernelOptions& options : all_kernel_options()) {
      const bool rounded =
          options.precision == Precision::float32 || options.storage == KernelStorage::float32;
      EXPECT_EQ(laws::broken_by(KernelOperator(architecture, X, options), random, rounded ? 2e-7 : 1e-12),
                std::vector<std::string>{})
          << name(architecture, options);
    }
}

TEST(KernelOperator, GivesTheSameBitsForAnyNumberOfThreads) {
  const int before = threads();
  const Matrix X = RandomStream(6, "test").normals(1100, 4), V = RandomStream(6, "block").normals(1100, 7);
  for (const KernelOptions& options : all_kernel_options()) {
    set_threads(1);
    const Matrix one = applied(KernelOperator(InfiniteArchitecture{}, X, options), V);
    for (const int count : {2, 5}) {
      set_threads(count);
      const Matrix many = applied(KernelOperator(InfiniteArchitecture{}, X, options), V);
      EXPECT_TRUE((one.array() == many.array()).all()) << name(InfiniteArchitecture{}, options);
    }
  }
  set_threads(before);
}

TEST(KernelOperator, BlockProductsEqualProductsColumnByColumn) {
  const Matrix X = RandomStream(8, "test").normals(300, 4), V = RandomStream(8, "block").normals(300, 5);
  for (const KernelOptions& options : all_kernel_options()) {
    const KernelOperator H(InfiniteArchitecture{}, X, options);
    const Matrix block = applied(H, V);
    for (Index j = 0; j < V.cols(); ++j)
      EXPECT_LE((applied(H, V.col(j)) - block.col(j)).norm(), 1e-14 * block.col(j).norm());
  }
}

TEST(KernelOperator, RepeatedRowsAndRowsOfZerosAreFiniteAndEqual) {
  RandomStream random(9, "test");
  for (const Index features : {3, 400}) {
    Matrix X = random.normals(260, features);
    X.bottomRows(60) = X.topRows(60);
    X.row(0).setZero();
    X.row(200).setZero();
    for (const InfiniteArchitecture& architecture : kernels_of({":1", ":3", ":2,sw2=1,sb2=0"}))
      for (const KernelOptions& options : all_kernel_options()) {
        const Matrix H = KernelOperator(architecture, X, options).matrix();
        const double scale = H.diagonal().maxCoeff();
        EXPECT_TRUE(H.allFinite()) << name(architecture, options);
        EXPECT_LE((H.topRows(60) - H.bottomRows(60)).cwiseAbs().maxCoeff(),
                  (entry_tolerance(options, architecture.depth) + 1e-12) * scale)
            << name(architecture, options);
      }
  }
}

TEST(KernelOperator, EntriesAndDiagonalAreThoseOfTheGramMatrix) {
  const Matrix X = RandomStream(10, "test").normals(150, 3);
  const std::vector<Index> rows{149, 0, 7, 128, 7}, cols{7, 149, 130};
  for (const InfiniteArchitecture& architecture : kernels_of({":2"})) {
    const Matrix reference = kernel_gram(architecture, X) / 150.0;
    for (const KernelOptions& options : all_kernel_options()) {
      const KernelOperator H(architecture, X, options);
      const double allowed = entry_tolerance(options, 2) * reference.diagonal().maxCoeff();
      EXPECT_LE((H.entries(rows, cols) - reference(rows, cols)).cwiseAbs().maxCoeff(), allowed)
          << name(architecture, options);
      EXPECT_LE((H.diagonal() - reference.diagonal()).cwiseAbs().maxCoeff(), 1e-14 * reference.trace());
    }
  }
  EXPECT_EQ(KernelOperator(InfiniteArchitecture{}, X).entries({}, {1, 2}).cols(), 2);
}

TEST(KernelOperator, CountsItsBytes) {
  EXPECT_EQ(KernelOperator::storage_bytes(50000, KernelStorage::none), 0.0);
  EXPECT_NEAR(KernelOperator::storage_bytes(50000, KernelStorage::float32), 5e9, 0.03e9);
  EXPECT_NEAR(KernelOperator::storage_bytes(50000, KernelStorage::float64), 1e10, 0.06e9);
  EXPECT_EQ(KernelOperator::storage_bytes(129, KernelStorage::float32), 3.0 * 128 * 128 * 4);
  const InfiniteArchitecture architecture;
  const double one = KernelOperator::working_bytes(architecture, 50000, 10, 1);
  EXPECT_GT(one, 50000 * 8.0 * (3 * 10 + 2));
  EXPECT_NEAR(KernelOperator::working_bytes(architecture, 50000, 10, 9) - one, 50000 * 8.0 * 16,
              128 * 8.0 * 16);
}

TEST(KernelOperator, DescribesItselfAsTheDenseOperatorDoes) {
  const Matrix X = RandomStream(11, "test").normals(4, 2);
  const InfiniteArchitecture architecture = parse_infinite_architecture("nngp:erf:3,sw2=1.5");

  EXPECT_EQ(KernelOperator(architecture, X).description(), make_operator(architecture, X)->description());
  EXPECT_EQ(KernelOperator(architecture, X).size(), 4);
}

std::string refusal(const InfiniteArchitecture& architecture, const Matrix& X, const KernelOptions& options) {
  try {
    const KernelOperator H(architecture, X, options);
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(KernelOperator, WrongInputIsRefusedInASentence) {
  const InfiniteArchitecture architecture;
  const KernelOptions in_float{KernelStorage::none, Precision::float32};
  Matrix missing = Matrix::Ones(3, 2);
  missing(2, 1) = std::numeric_limits<double>::quiet_NaN();
  InfiniteArchitecture negative;
  negative.sb2 = -1.0;

  EXPECT_EQ(refusal(architecture, Matrix(0, 2), {}),
            "rows of a training operator = 0: it needs at least one");
  EXPECT_EQ(refusal(architecture, Matrix(3, 0), {}), "number of features = 0: a kernel needs at least one");
  EXPECT_EQ(refusal(architecture, missing, {}),
            "features have the value nan in row 3, column 2: all must be finite");
  EXPECT_EQ(refusal(negative, Matrix::Ones(3, 2), {}), "kernel sb2 = -1: must be >= 0 and finite");
  EXPECT_TRUE(refusal(architecture, 1e8 * Matrix::Ones(3, 2), in_float)
                  .ends_with("use float64, or scale the features"));
  EXPECT_EQ(refusal(architecture, 1e8 * Matrix::Ones(3, 2), {}), "accepted");
}

TEST(KernelOperator, ProductsOfLargeAndSmallFeaturesInFloatAreFinite) {
  Matrix X = RandomStream(12, "test").normals(140, 3);
  X.row(1) *= 1e5;
  X.row(2) *= 1e-20;
  for (const InfiniteArchitecture& architecture : kernels_of({":1", ":2,sw2=1,sb2=0"}))
    EXPECT_TRUE(
        KernelOperator(architecture, X, {KernelStorage::none, Precision::float32}).matrix().allFinite())
        << to_string(architecture);
}

}  // namespace
}  // namespace gradflow
