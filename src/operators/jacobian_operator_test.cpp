#include "gradflow/operators/jacobian_operator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/operators/finite_ntk.h"
#include "gradflow/operators/make_operator.h"
#include "laws/training_operator_laws.h"
#include "operators/test_support.h"

namespace gradflow {
namespace {

/// Depths 0 to 3, widths 1, both parameterizations, with and without biases. The inputs are 3.
const char* const dense_networks[] = {"linear",
                                      "linear,no-bias",
                                      "linear,ntk,sw2=0.5,sb2=2",
                                      "relu:40",
                                      "relu:1",
                                      "tanh:9,no-bias",
                                      "relu:30-20",
                                      "gelu:16x2,ntk",
                                      "leaky-relu@0.2:12-1-8",
                                      "erf:11-7-5,no-bias,ntk",
                                      "sin:24-1,ntk,sb2=0",
                                      "abs:7x2",
                                      "cos:6-5",
                                      "identity:4x2"};

/// float32 rounds to 2^-24; a product sums up to a few hundred terms through up to four layers.
constexpr double float32_tolerance = 1e-5;

DenseNetwork dense_network_of(const char* text, Index inputs = 3) {
  return DenseNetwork::initialise(parse_architecture(text), inputs, 5);
}

class JacobianOperatorAt : public testing::TestWithParam<JacobianOptions> {
 protected:
  double tolerance() const { return GetParam().precision == Precision::float64 ? 1e-12 : float32_tolerance; }
};

INSTANTIATE_TEST_SUITE_P(PrecisionAndCache, JacobianOperatorAt,
                         testing::Values(JacobianOptions{Precision::float64, 0.0},
                                         JacobianOptions{Precision::float64, keep_all},
                                         JacobianOptions{Precision::float32, 0.0},
                                         JacobianOptions{Precision::float32, keep_all}));

TEST_P(JacobianOperatorAt, ProductsEqualThoseWithTheGramMatrix) {
  RandomStream random(1, "test");
  const Matrix X = random.normals(37, 3), V = random.normals(37, 3);
  for (const char* text : dense_networks) {
    const DenseNetwork network = dense_network_of(text);
    const JacobianOperator H(network, X, GetParam());
    const Matrix gram = ntk_gram(network, X) / 37.0;

    EXPECT_EQ(H.cached(), GetParam().cache_bytes > 0.0 || parse_architecture(text).widths.empty());
    EXPECT_LT(relative_error(applied(H, V), gram * V), tolerance()) << text;
    EXPECT_LT(relative_error(H.diagonal(), ntk_diagonal(network, X) / 37.0), tolerance()) << text;
    EXPECT_LT(relative_error(H.output(), network.output(X)), tolerance()) << text;
    EXPECT_LT(relative_error(H.matrix(), gram), tolerance()) << text;
    EXPECT_LT(relative_error(H.entries({5, 0, 36}, {1, 5}),
                             gram(std::vector<Index>{5, 0, 36}, std::vector<Index>{1, 5})),
              tolerance())
        << text;
  }
}

TEST_P(JacobianOperatorAt, ObeysTheLawsOfATrainingOperator) {
  RandomStream random(2, "test");
  const Matrix X = random.normals(50, 3);
  for (const char* text : dense_networks) {
    const JacobianOperator H(dense_network_of(text), X, GetParam());

    EXPECT_EQ(laws::broken_by(H, random, tolerance()), std::vector<std::string>{}) << text;
  }
}

TEST_P(JacobianOperatorAt, ManyBatchesAndGroupsEqualTheDenseOperator) {
  RandomStream random(3, "test");
  const Matrix X = random.normals(2717, 4), V = random.normals(2717, 2);
  const DenseNetwork network = dense_network_of("tanh:20-30", 4);
  const JacobianOperator H(network, X, GetParam());
  const auto dense = make_operator(network, X);

  EXPECT_LT(relative_error(applied(H, V), applied(*dense, V)), tolerance());
  EXPECT_LT(relative_error(H.diagonal(), dense->diagonal()), tolerance());
  EXPECT_LT(relative_error(H.output(), network.output(X)), tolerance());
}

TEST_P(JacobianOperatorAt, OneExampleIsEnough) {
  const Matrix X = Matrix::Constant(1, 3, 0.3);
  const DenseNetwork network = dense_network_of("relu:8-6");
  const JacobianOperator H(network, X, GetParam());

  EXPECT_LT(relative_error(applied(H, Matrix::Ones(1, 1)), ntk_gram(network, X)), tolerance());
}

TEST_P(JacobianOperatorAt, MoreInputsThanUnitsEqualTheGramMatrix) {
  RandomStream random(4, "test");
  const Matrix X = random.normals(23, 700), V = random.normals(23, 1);
  const DenseNetwork network = dense_network_of("relu:5-9", 700);
  const JacobianOperator H(network, X, GetParam());

  EXPECT_LT(relative_error(applied(H, V), ntk_gram(network, X) * V / 23.0), tolerance());
}

TEST_P(JacobianOperatorAt, PullbackPredictsWhatTheOperatorGives) {
  RandomStream random(5, "test");
  const Matrix X = random.normals(600, 3);
  const Vector alpha = random.normals(600);
  for (const char* text : dense_networks) {
    const DenseNetwork network = dense_network_of(text);
    const JacobianOperator H(network, X, GetParam());

    EXPECT_LT(relative_error(network.jvp(X, H.pullback(alpha)), applied(H, alpha)), tolerance()) << text;
    EXPECT_LT(relative_error(H.pullback(alpha).flatten(), network.vjp(X, alpha).flatten() / 600.0),
              tolerance())
        << text;
  }
}

TEST_P(JacobianOperatorAt, ColumnsOfVeryDifferentSizesKeepTheirDigits) {
  RandomStream random(6, "test");
  const Matrix X = random.normals(40, 3);
  const Vector v = random.normals(40);
  const JacobianOperator H(dense_network_of("relu:30-20"), X, GetParam());
  Matrix V(40, 4);
  V << v, 1e-60 * v, 1e60 * v, Vector::Zero(40);

  const Matrix HV = applied(H, V);

  EXPECT_LT(relative_error(1e60 * HV.col(1), HV.col(0)), tolerance());
  EXPECT_LT(relative_error(1e-60 * HV.col(2), HV.col(0)), tolerance());
  EXPECT_EQ(HV.col(3).norm(), 0.0);
}

TEST_P(JacobianOperatorAt, GradientInOnePassEqualsTheNetworks) {
  RandomStream random(7, "test");
  const Matrix X = random.normals(1300, 3);
  const Vector residual = random.normals(1300);
  for (const char* text : dense_networks) {
    const DenseNetwork network = dense_network_of(text);
    const JacobianOperator H(network, X, GetParam());
    const Vector gradient = full_batch_gradient(network, X, residual, GetParam().precision).flatten();

    EXPECT_LT(relative_error(gradient, network.vjp(X, residual).flatten() / 1300.0), tolerance()) << text;
    EXPECT_EQ(gradient, H.pullback(residual).flatten()) << text;
  }
}

TEST_P(JacobianOperatorAt, KeptAndRecomputedSweepsAndAnyNumberOfThreadsGiveTheSameBits) {
  RandomStream random(8, "test");
  const Matrix X = random.normals(5003, 4), V = random.normals(5003, 3);
  const DenseNetwork network = dense_network_of("relu:24-48", 4);
  JacobianOptions other = GetParam();
  other.cache_bytes = keep_all - other.cache_bytes;
  set_threads(1);
  const JacobianOperator one(network, X, GetParam());
  const Matrix expected = applied(one, V);
  set_threads(2);
  const JacobianOperator two(network, X, GetParam()), recomputed(network, X, other);
  const Matrix with_two = applied(two, V), with_other = applied(recomputed, V);
  set_threads(5);
  const Matrix with_five = applied(two, V);
  set_threads(0);

  EXPECT_NE(two.cached(), recomputed.cached());
  EXPECT_EQ(with_two, expected);
  EXPECT_EQ(with_five, expected);
  EXPECT_EQ(with_other, expected);
  EXPECT_EQ(two.output(), one.output());
  EXPECT_EQ(two.diagonal(), one.diagonal());
}

TEST(JacobianOperator, BlocksWiderThanAPassEqualSingleColumns) {
  RandomStream random(9, "test");
  const Matrix X = random.normals(30, 3), V = random.normals(30, 150);
  const JacobianOperator H(dense_network_of("relu:8"), X, {Precision::float64, 0.0});

  const Matrix HV = applied(H, V);

  for (const Index c : {0, 63, 64, 149}) EXPECT_EQ(HV.col(c), applied(H, V.col(c)).col(0)) << c;
}

TEST(JacobianOperator, DescriptionIsThatOfTheNetwork) {
  const JacobianOperator H(dense_network_of("relu:128x2"), Matrix::Ones(2, 3));

  EXPECT_EQ(H.description(), "NTK of a network relu:128x2 with 17153 parameters");
  EXPECT_EQ(H.size(), 2);
  EXPECT_EQ(H.network().inputs(), 3);
}

TEST(JacobianOperator, CacheIsUsedFromTheBytesOfTheSweepsOn) {
  const Architecture architecture = parse_architecture("relu:10-6");
  const Matrix X = Matrix::Ones(100, 3);
  // per example a and df/dz of 16 units, and a row of ones per hidden layer
  const double bytes = 4.0 * 100.0 * (2.0 * 16.0 + 2.0);
  const auto cached = [&](double cache) {
    return JacobianOperator(dense_network_of("relu:10-6"), X, {Precision::float32, cache}).cached();
  };

  EXPECT_EQ(JacobianOperator::sweep_bytes(architecture, 3, 100, Precision::float32), bytes);
  EXPECT_EQ(JacobianOperator::sweep_bytes(architecture, 3, 100, Precision::float64), 2.0 * bytes);
  EXPECT_TRUE(cached(bytes));
  EXPECT_FALSE(cached(bytes - 1.0));
}

TEST(JacobianOperator, CostsGrowWithWhatIsComputed) {
  const Architecture architecture = parse_architecture("relu:10-6");
  const double P = 4.0 * 10.0 + 11.0 * 6.0 + 7.0;

  EXPECT_EQ(JacobianOperator::flops_per_apply(architecture, 3, 100, true), 400.0 * P);
  EXPECT_EQ(JacobianOperator::flops_per_apply(architecture, 3, 100, false), 800.0 * P + 400.0 * 60.0);
  EXPECT_GT(JacobianOperator::working_bytes(architecture, 3, 100, Precision::float32), 4.0 * 100.0 * 4.0);
  EXPECT_GT(JacobianOperator::working_bytes(architecture, 3, 100, Precision::float64),
            JacobianOperator::working_bytes(architecture, 3, 100, Precision::float32));
}

TEST(JacobianOperator, WrongInputsAreRefusedInOneSentence) {
  const DenseNetwork network = dense_network_of("relu:4");
  const JacobianOperator H(network, Matrix::Ones(5, 3));

  EXPECT_EQ(message_of([&] { JacobianOperator(network, Matrix::Ones(5, 2)); }),
            "the features have 2 columns: the network takes 3 inputs");
  EXPECT_EQ(message_of([&] { JacobianOperator(network, Matrix(0, 3)); }), "examples = 0: must be >= 1");
  EXPECT_EQ(message_of([&] {
              JacobianOperator(network, Matrix::Ones(5, 3), {Precision::float32, -1.0});
            }),
            "JacobianOptions::cache_bytes = -1: must be >= 0");
  EXPECT_EQ(message_of([&] { JacobianOperator(network, Matrix::Constant(5, 3, 1e39)); }),
            "example 0 (0-based): the network's output or gradient is not finite in float32");
  EXPECT_EQ(message_of([&] { H.pullback(Vector::Ones(4)); }),
            "JacobianOperator::pullback alpha.size = 4: must equal size()");
  EXPECT_EQ(message_of([&] {
              full_batch_gradient(network, Matrix::Ones(5, 2), Vector::Ones(5), Precision::float32);
            }),
            "the features have 2 columns: the network takes 3 inputs");
  EXPECT_EQ(message_of([&] {
              full_batch_gradient(network, Matrix::Ones(5, 3), Vector::Ones(6), Precision::float32);
            }),
            "full_batch_gradient residual.size = 6: must equal the number of examples");
}

TEST(Precision, TextFormsAreInverseAndUnknownNamesAreRefusedWithTheList) {
  for (const char* name : {"float32", "float64"}) EXPECT_EQ(to_string(parse_precision(name)), name);
  EXPECT_EQ(message_of([] { parse_precision("double"); }),
            "precision 'double' is unknown: must be one of float32, float64");
}

}  // namespace
}  // namespace gradflow
