#include "gradflow/inference/response_transform.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/special_values.h"
#include "gradflow/base/error.h"
#include "gradflow/base/random.h"

namespace gradflow {
namespace {

const Vector lambdas{{-2.0, -0.5, -1e-7, 0.0, 1e-9, 0.3, 1.0, 1.7, 2.0, 2.0 + 1e-8, 3.0}};

Vector skewed() { return (0.8 * RandomStream(1, "y").normals(60).array() + 7.0).exp(); }

ResponseTransform transform(TransformKind kind) { return ResponseTransform::for_response(kind, skewed()); }

TEST(ResponseTransform, InverseReturnsTheResponse) {
  const Vector y = skewed();
  for (const TransformKind kind : {TransformKind::none, TransformKind::box_cox, TransformKind::yeo_johnson})
    for (const double lambda : lambdas) {
      const ResponseTransform g = transform(kind).at(lambda);
      const Vector back = g.inverse(g.forward(y));

      EXPECT_LT(((back - y).array() / y.array()).abs().maxCoeff(), 1e-9) << to_string(kind) << ' ' << lambda;
    }
}

TEST(ResponseTransform, DerivativesEqualCentralDifferences) {
  for (const TransformKind kind : {TransformKind::box_cox, TransformKind::yeo_johnson})
    for (const double lambda : lambdas)
      for (const double y : {200.0, 900.0, 1300.0, 5000.0}) {
        const ResponseTransform g = transform(kind).at(lambda);
        const double h = 1e-5, step = h * g.scale;

        EXPECT_NEAR(std::exp(g.log_derivative(y)) * 2.0 * step / (g.forward(y + step) - g.forward(y - step)),
                    1.0, 1e-8);
        EXPECT_NEAR(g.forward_by_lambda(y) / g.scale,
                    (g.at(lambda + h).forward(y) - g.at(lambda - h).forward(y)) / (2.0 * h * g.scale),
                    1e-7 * (1.0 + std::abs(g.forward(y) / g.scale)));
        EXPECT_NEAR(g.log_derivative_by_lambda(y),
                    (g.at(lambda + h).log_derivative(y) - g.at(lambda - h).log_derivative(y)) / (2.0 * h),
                    1e-9);
      }
}

TEST(ResponseTransform, TakesTheTextbookFormsAtWholeLambda) {
  ResponseTransform g{TransformKind::box_cox, 0.0, 1.0, 0.0};
  EXPECT_DOUBLE_EQ(g.forward(5.0), std::log(5.0));
  EXPECT_DOUBLE_EQ(g.at(2.0).forward(5.0), 12.0);
  EXPECT_DOUBLE_EQ(g.at(-1.0).forward(4.0), 0.75);
  g.kind = TransformKind::yeo_johnson;
  EXPECT_DOUBLE_EQ(g.forward(3.0), std::log(4.0));
  EXPECT_DOUBLE_EQ(g.forward(-1.0), -1.5);
  EXPECT_DOUBLE_EQ(g.at(2.0).forward(-1.0), -std::log(2.0));
  EXPECT_DOUBLE_EQ(g.at(1.0).forward(-0.7), -0.7);
}

TEST(ResponseTransform, GivesTheEndOfTheRangeOutsideIt) {
  for (const TransformKind kind : {TransformKind::box_cox, TransformKind::yeo_johnson})
    for (const double lambda : {-1.0, 0.5, 2.5}) {
      const ResponseTransform g = transform(kind).at(lambda);
      const ResponseTransform::Range range = g.range();
      const double lowest = kind == TransformKind::box_cox ? 0.0 : -infinity;

      if (std::isfinite(range.lower)) {
        EXPECT_EQ(g.inverse(range.lower - 1.0), lowest);
        EXPECT_TRUE(std::isfinite(g.inverse(range.lower + 1e-3 * g.scale)));
      }
      if (std::isfinite(range.upper)) {
        EXPECT_EQ(g.inverse(range.upper + 1.0), infinity);
        EXPECT_TRUE(std::isfinite(g.inverse(range.upper - 1e-3 * g.scale)));
      }
    }
  EXPECT_TRUE(std::isfinite(transform(TransformKind::box_cox).at(0.5).range().lower));
  EXPECT_TRUE(std::isfinite(transform(TransformKind::yeo_johnson).at(-1.0).range().upper));
  EXPECT_TRUE(std::isfinite(transform(TransformKind::yeo_johnson).at(2.5).range().lower));
}

const std::vector<TransformKind> powers{TransformKind::box_cox, TransformKind::yeo_johnson};

TEST(ResponseTransform, IsThePowerItselfForTheResponsesItIsContinuedBeyond) {
  const Vector y = skewed();
  for (const TransformKind kind : powers)
    for (const double lambda : lambdas) {
      const ResponseTransform power = transform(kind).at(lambda), g = power.continued(y);

      EXPECT_EQ(g.forward(y), power.forward(y)) << to_string(kind) << ' ' << lambda;
      EXPECT_EQ(g.inverse(power.forward(1000.0)), power.inverse(power.forward(1000.0)));
      EXPECT_EQ(g.log_derivative(1000.0), power.log_derivative(1000.0));
    }
}

TEST(ResponseTransform, GoesOnSmoothlyAlongItsTangent) {
  const Vector y = skewed();
  int tangents = 0;
  for (const TransformKind kind : powers)
    for (const double lambda : lambdas) {
      const ResponseTransform g = transform(kind).at(lambda).continued(y);
      for (const double end : {g.below, g.beyond}) {
        if (!std::isfinite(end)) continue;
        ++tangents;
        const double h = 1e-5 * std::abs(end), slope = std::exp(g.log_derivative(end));
        EXPECT_NEAR((g.forward(end + h) - g.forward(end - h)) / (2.0 * h * slope), 1.0, 1e-4);
        const double far = end == g.beyond ? 1e4 * g.scale : -1e4 * g.scale;
        EXPECT_NEAR((g.forward(end + far) - g.forward(end)) / (slope * far), 1.0, 1e-9);
        EXPECT_EQ(g.log_derivative(end + far), g.log_derivative(end));
        EXPECT_NEAR(g.inverse(g.forward(end + far)) / (end + far), 1.0, 1e-9);
      }
    }
  EXPECT_EQ(tangents, 6 + 6 + 5 + 1);  // above: 6 lambdas < 1, twice; below: yeo-johnson's 5 > 1; box-cox 0.3
}

// The inverse is what turns a far prediction into a response.
TEST(ResponseTransform, HasAnInverseThatGrowsNoFasterThanALine) {
  const Vector y = skewed();
  for (const TransformKind kind : powers)
    for (const double lambda : lambdas) {
      const ResponseTransform g = transform(kind).at(lambda).continued(y);
      const double high = g.forward(y.maxCoeff()), span = high - g.forward(y.minCoeff());
      const double once = g.inverse(high + 10.0 * span) - y.maxCoeff(),
                   twice = g.inverse(high + 20.0 * span) - y.maxCoeff();

      EXPECT_TRUE(std::isfinite(twice)) << to_string(kind) << ' ' << lambda;
      EXPECT_LT(twice, 2.1 * once) << to_string(kind) << ' ' << lambda;
    }
}

TEST(ResponseTransform, OfAPowerGivesAResponseOfZeroAFiniteDensityAndOfALogarithmNone) {
  const ResponseTransform root = transform(TransformKind::box_cox).at(0.3),
                          logarithm = transform(TransformKind::box_cox).at(0.0);
  const Vector with_zero{{0.0, 2.0, 50.0}};

  EXPECT_EQ(root.log_derivative(0.0), infinity);
  EXPECT_TRUE(std::isfinite(root.continued(with_zero).log_derivative(0.0)));
  EXPECT_TRUE(std::isfinite(root.continued(with_zero).forward(-1.0)));
  EXPECT_EQ(root.continued(with_zero).below, 2.0);
  EXPECT_FALSE(std::isfinite(logarithm.continued(with_zero).forward(0.0)));
  EXPECT_GT(logarithm.continued(with_zero).inverse(-1e3), 0.0);
}

TEST(ResponseTransform, MeansTheSameInEveryUnit) {
  const Vector y = skewed();
  for (const TransformKind kind : {TransformKind::box_cox, TransformKind::yeo_johnson}) {
    const ResponseTransform a = ResponseTransform::for_response(kind, y).at(0.3);
    const ResponseTransform b = ResponseTransform::for_response(kind, 1e-6 * y).at(0.3);

    EXPECT_LT((a.forward(y) - 1e6 * b.forward(1e-6 * y)).cwiseAbs().maxCoeff(), 1e-8 * a.scale);
  }
}

// A response of zero, standardised and back, may be 4e-16: its logarithm and its share of the Jacobian
// decided the choice of the transform, and a logarithm was taken of it without a word.
TEST(ResponseTransform, TakesAZeroThatRoundingRaisedForAZero) {
  const Vector y{{4e-16, 1.0, 7.0}};

  EXPECT_FALSE(ResponseTransform::all_positive(y));
  EXPECT_THROW(ResponseTransform::for_response(TransformKind::box_cox, y), InputError);
  EXPECT_TRUE(ResponseTransform::all_positive(Vector{{1e-9, 1.0, 7.0}}));
  const ResponseTransform root{.kind = TransformKind::box_cox, .lambda = 0.3};
  EXPECT_EQ(root.continued(y).below, 1.0);
}

TEST(ResponseTransform, RefusesWhatItCannotTransform) {
  EXPECT_THROW(ResponseTransform::for_response(TransformKind::box_cox, Vector{{1.0, 0.0}}), InputError);
  EXPECT_THROW(ResponseTransform::for_response(TransformKind::yeo_johnson, Vector{{1.0, 1.0}}), InputError);
  EXPECT_THROW(ResponseTransform::for_response(TransformKind::none, Vector{{1.0, infinity}}), InputError);
  EXPECT_THROW(parse_transform("log"), InputError);
  EXPECT_EQ(parse_transform("box-cox"), TransformKind::box_cox);
}

}  // namespace
}  // namespace gradflow
