#include "gradflow/inference/score.h"

#include <gtest/gtest.h>

#include <boost/math/distributions/beta.hpp>
#include <boost/math/special_functions/beta.hpp>
#include <cmath>
#include <numbers>

#include "gradflow/base/random.h"

namespace gradflow {
namespace {

// Imhof (1961) on the real axis, in 64-bit-mantissa arithmetic: Pr(sum a chi2 > 0) =
// 1/2 + 1/pi Int_0^inf sin(theta)/(u rho) du, theta = 1/2 sum atan(a u), rho = prod (1 + a^2 u^2)^(1/4).
double imhof(const Vector& weights) {
  const long double scale = 1.0L / weights.cwiseAbs().maxCoeff();
  const auto integrand = [&](long double v) {
    const long double u = scale * std::sinh(v);
    long double theta = 0.0L, log_rho = 0.0L;
    for (const double a : weights) {
      theta += 0.5L * std::atan(static_cast<long double>(a) * u);
      log_rho += 0.25L * std::log1p(static_cast<long double>(a) * a * u * u);
    }
    return std::sin(theta) / std::tanh(v) * std::exp(-log_rho);
  };
  long double limit = 0.5L, mean = 0.0L;
  for (const double a : weights) mean += 0.5L * a;
  const long double step = 1.0L / 512.0L;
  long double sum = 0.5L * mean * scale;
  for (int k = 1; k < 40 * 512; ++k) sum += integrand(k * step);
  limit += step * sum / std::numbers::pi_v<long double>;
  return static_cast<double>(limit);
}

Vector decaying_spectrum(Index n, double power) {
  Vector values(n);
  for (Index i = 0; i < n; ++i) values(i) = std::pow(static_cast<double>(i + 1), -power);
  return values;
}

double p_value(const Vector& weights) { return std::exp(weighted_chi_square_tail(weights).log_p); }

TEST(ScoreTest, AgreesWithImhofIntegrationToTenDigitsFromOneHalfToOneInAMillion) {
  int compared = 0;
  for (const double power : {0.3, 1.0, 2.0})
    for (const double ratio : {0.02, 0.05, 0.08, 0.12, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8}) {
      const Vector values = decaying_spectrum(40, power);
      const Vector weights = values.array() - (values.mean() + ratio * (1.0 - values.mean()));
      const double expected = imhof(weights);
      if (expected < 1e-6) continue;

      EXPECT_NEAR(p_value(weights) / expected, 1.0, 1e-10) << "power " << power << ", ratio " << ratio;
      ++compared;
    }
  EXPECT_GE(compared, 15);
}

TEST(ScoreTest, LowerHalfIsTheComplement) {
  const Vector values = decaying_spectrum(30, 1.0);
  const Vector weights = values.array() - 0.5 * values.mean();

  EXPECT_NEAR(p_value(weights), imhof(weights), 1e-12);
  EXPECT_GT(p_value(weights), 0.5);
}

TEST(ScoreTest, TwoDegreesOfFreedomHaveTheCauchyRatio) {
  for (const double a : {1.0, 1e-3, 1e-6}) {
    const Vector weights = Vector{{a, -1.0}};

    EXPECT_NEAR(p_value(weights) / (2.0 / std::numbers::pi * std::atan(std::sqrt(a))), 1.0, 1e-10);
  }
}

TEST(ScoreTest, ProjectionOperatorHasTheBetaTailDownToTenToTheMinusTwoHundred) {
  // k eigenvalues 1 and N - k eigenvalues 0: w'Mw/w'w ~ Beta(k/2, (N - k)/2).
  const Index N = 400, k = 5;
  Vector values = Vector::Zero(N);
  values.head(k).setOnes();
  for (const double ratio : {0.02, 0.1, 0.5, 0.9}) {
    const double exact = std::log(boost::math::ibetac(0.5 * k, 0.5 * static_cast<double>(N - k), ratio));

    EXPECT_NEAR(weighted_chi_square_tail(values.array() - ratio).log_p, exact, 1e-9 * std::abs(exact));
  }
}

TEST(ScoreTest, AgreesWithExponentiallyTiltedMonteCarloAtTenToTheMinusTwelve) {
  const Vector values = decaying_spectrum(50, 1.0);
  const Vector weights = values.array() - 0.62;
  const double log_p = weighted_chi_square_tail(weights).log_p;
  ASSERT_NEAR(log_p / std::numbers::ln10, -12.0, 2.5);

  // Under the tilt exp(s x), component i has variance 1/(1 - 2 s a_i); s near the saddlepoint.
  const double s = 0.93 * 0.5 / weights.maxCoeff();
  const Eigen::ArrayXd sd = (1.0 - 2.0 * s * weights.array()).rsqrt();
  const double cumulant = -0.5 * (1.0 - 2.0 * s * weights.array()).log().sum();
  RandomStream random(11, "tilted");
  double sum = 0.0, square = 0.0;
  const int draws = 400000;
  for (int r = 0; r < draws; ++r) {
    double x = 0.0;
    for (Index i = 0; i < weights.size(); ++i) {
      const double e = sd(i) * random.normal();
      x += weights(i) * e * e;
    }
    const double value = x > 0.0 ? std::exp(cumulant - s * x - log_p) : 0.0;
    sum += value;
    square += value * value;
  }
  const double mean = sum / draws, error = std::sqrt((square / draws - mean * mean) / draws);

  EXPECT_LT(error, 0.02);
  EXPECT_NEAR(mean, 1.0, 4.0 * error);
}

TEST(ScoreTest, RescalingTheOperatorOrTheResponseChangesNothing) {
  const Vector values = decaying_spectrum(60, 1.2);
  const ScoreTest a = score_test(values, {}, 3.0, 20.0),
                  b = score_test(7.0 * values, {}, 7.0 * 3.0 * 4.0, 20.0 * 4.0);

  EXPECT_NEAR(a.log10_p_value, b.log10_p_value, 1e-11);
  EXPECT_NEAR(a.p_value_satterthwaite, b.p_value_satterthwaite, 1e-12);
}

TEST(ScoreTest, EqualEigenvaluesAreUnidentifiedNotSignificant) {
  const ScoreTest test = score_test(Vector::Constant(10, 2.0), {}, 4.0, 2.0);

  EXPECT_EQ(test.outcome, Outcome::unidentified);
  EXPECT_TRUE(std::isnan(test.p_value));
}

TEST(ScoreTest, ExtremeTailIsReportedOnTheLogScale) {
  const Vector values = decaying_spectrum(4000, 1.0);
  const ScoreTest test = score_test(values, {}, 0.98, 1.0);

  EXPECT_EQ(test.outcome, Outcome::converged);
  EXPECT_LT(test.log10_p_value, -400.0);
  EXPECT_TRUE(std::isfinite(test.log10_p_value));
}

}  // namespace
}  // namespace gradflow
