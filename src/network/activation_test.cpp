#include "gradflow/network/activation.h"

#include <gtest/gtest.h>

#include <limits>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"

namespace gradflow {
namespace {

const char* const all_names[] = {
    "relu", "leaky-relu", "leaky-relu@0.2", "leaky-relu@-0.5", "abs", "gelu", "erf", "tanh",
    "sin",  "cos",        "identity"};

TEST(Activation, TextFormsAreInverse) {
  for (const char* name : all_names) EXPECT_EQ(to_string(parse_activation(name)), name);
  EXPECT_EQ(parse_activation("leaky-relu@0.01"), parse_activation("leaky-relu"));
  EXPECT_EQ(parse_activation(to_string(Activation{ActivationKind::leaky_relu, 1.0 / 3.0})).slope, 1.0 / 3.0);
}

TEST(Activation, UnknownNamesAreRefusedWithTheList) {
  try {
    parse_activation("swish");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_STREQ(
        error.what(),
        "activation 'swish' is unknown: must be one of relu, leaky-relu, leaky-relu@SLOPE, abs, gelu, erf, "
        "tanh, sin, cos, identity");
  }
  for (const char* bad : {"", "relu@0.2", "leaky-relu@", "leaky-relu@x", "leaky-relu@0.1x", "leaky-relu@inf",
                          "leaky-relu@nan", "Relu"})
    EXPECT_THROW(parse_activation(bad), InputError) << bad;
}

TEST(Activation, ValuesAtPointsComputedByHand) {
  EXPECT_DOUBLE_EQ(parse_activation("gelu").value(1.0), 0.8413447460685429);
  EXPECT_DOUBLE_EQ(parse_activation("erf").value(0.5), 0.5204998778130465);
  EXPECT_DOUBLE_EQ(parse_activation("leaky-relu@0.2").value(-3.0), -0.6000000000000001);
  EXPECT_EQ(parse_activation("relu").derivative(0.0), 0.0);
  EXPECT_EQ(parse_activation("abs").derivative(0.0), 0.0);
  EXPECT_EQ(parse_activation("leaky-relu@0.2").derivative(0.0), 0.2);
}

TEST(Activation, DerivativeAgreesWithCentralDifferences) {
  for (const char* name : all_names) {
    const Activation phi = parse_activation(name);
    for (const double u : {-2.3, -0.7, 0.4, 1.1, 3.0})
      EXPECT_NEAR(phi.derivative(u), (phi.value(u + 1e-6) - phi.value(u - 1e-6)) / 2e-6, 1e-8)
          << name << " at " << u;
  }
}

TEST(Activation, BlocksAgreeWithSingleValuesAndNaNIsKept) {
  RandomStream random(1, "test");
  for (const char* name : all_names) {
    const Activation phi = parse_activation(name);
    Matrix Z = random.normals(700, 101);
    const Matrix before = Z;
    Matrix slopes(700, 101);
    activate(phi, Z, slopes);
    for (const Index i : {0, 350, 699})
      for (const Index j : {0, 50, 100}) {
        EXPECT_EQ(Z(i, j), phi.value(before(i, j))) << name;
        EXPECT_EQ(slopes(i, j), phi.derivative(before(i, j))) << name;
      }
    Matrix again = before;
    activate(phi, again.middleRows(3, 600));
    EXPECT_EQ(again.middleRows(3, 600), Z.middleRows(3, 600)) << name;
    EXPECT_EQ(again.topRows(3), before.topRows(3)) << name;
    EXPECT_TRUE(std::isnan(phi.value(std::numeric_limits<double>::quiet_NaN()))) << name;
  }
}

}  // namespace
}  // namespace gradflow
