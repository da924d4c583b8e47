#include "gradflow/inference/mixture_calibration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/quadrature/trapezoidal.hpp>
#include <cmath>
#include <utility>

#include "base/special_values.h"
#include "gradflow/base/error.h"
#include "gradflow/base/random.h"

namespace gradflow {
namespace {

using testing::HasSubstr;

// n rows that K fits miss by the noise, of standard deviation 1, and each by an amount of its own.
struct FitsThatDiffer {
  Matrix errors;
  std::vector<ErrorCalibration> fits;

  FitsThatDiffer(Index n, Index K, double spread, std::uint64_t seed) {
    RandomStream random(seed, "fits that differ");
    errors = spread * random.normals(n, K);
    errors.colwise() += random.normals(n).col(0);
    for (Index k = 0; k < K; ++k) fits.push_back(calibrate(errors.col(k)));
  }

  Vector normal_scores() const {
    Vector scores(errors.rows());
    for (Index i = 0; i < errors.rows(); ++i) {
      double lower = 0.0, upper = 0.0;
      for (Index k = 0; k < errors.cols(); ++k) {
        const ErrorCalibration& fit = fits[static_cast<std::size_t>(k)];
        lower += fit.shape.cdf(errors(i, k) / fit.factor, infinity) / static_cast<double>(errors.cols());
        upper += fit.shape.cdf(-errors(i, k) / fit.factor, infinity) / static_cast<double>(errors.cols());
      }
      scores(i) = normal_score(lower, upper);
    }
    return scores;
  }
};

double share_between(const Vector& values, double low, double high) {
  return (values.array() >= low && values.array() <= high).cast<double>().mean();
}

// Without what the choice costs.
MixtureCalibration calibrated(const FitsThatDiffer& planted) {
  MixtureCalibration found =
      calibrate_mixture(planted.fits, planted.errors, {planted.errors.col(0).cwiseAbs(), 5});
  found.left_out_factor = found.own_factor;
  return found;
}

TEST(MixtureCalibration, OfEqualFitsTakesTheLeftOutErrors) {
  const Vector z = RandomStream(3, "own errors").normals(100);
  ErrorCalibration one = calibrate(z);
  one.shape = {};

  const MixtureCalibration found = calibrate_mixture({one, one}, z.replicate(1, 2), {4.0 * z.cwiseAbs(), 5});

  // s = Phi^-1(Phi(z / c))
  EXPECT_NEAR(found.scores.factor, 1.0, 1e-9);
  EXPECT_NEAR(found.factor(), 4.0, 1e-8);
  EXPECT_EQ(found.own_factor, one.factor);
  EXPECT_EQ(found.folds, 5);
  EXPECT_THAT(found.sentence(), HasSubstr("chosen without their fold of 5"));
}

// An interval of 50 % of the mixture of the fits' own distributions has far more of the responses. Standard
// errors of shares of 4,000 rows: below 0.8 points.
TEST(MixtureCalibration, GivesTheMixtureOfFitsThatDifferItsLevels) {
  for (const double spread : {1.0, 2.0, 4.0}) {
    const FitsThatDiffer planted(4000, 6, spread, 11), fresh(4000, 6, spread, 12);
    Vector scores = fresh.normal_scores();
    ASSERT_GT(share_between(scores, -0.6745, 0.6745), 0.58) << spread;

    const MixtureCalibration found = calibrated(planted);

    EXPECT_LT(found.factor(), 0.85);
    for (const double level : {0.5, 0.8, 0.95}) {
      const double end =
          -boost::math::quantile(boost::math::normal(), found.mixture_share(0.5 - 0.5 * level));
      EXPECT_NEAR(share_between(scores, -end, end), level, 0.03) << level << " at spread " << spread;
    }
  }
}

// d/dU of G(Phi^-1(U) / f) = exp(log_density_ratio): integrates to what lies between two shares.
TEST(MixtureCalibration, HasTheDensityOfItsShares) {
  const MixtureCalibration found = calibrated(FitsThatDiffer(500, 3, 2.0, 13));
  const boost::math::normal normal;
  const double low = found.mixture_share(0.02), high = found.mixture_share(0.7);

  const auto density = [&](double share) {
    return std::exp(found.log_density_ratio(normal_score(share, 1.0 - share)));
  };

  EXPECT_NEAR(boost::math::quadrature::trapezoidal(density, low, high, 1e-9), 0.68, 1e-6);
}

// The normal density over itself at f: by the equation, (s^2 - (s/f)^2) / 2 - log f.
TEST(MixtureCalibration, HasADensityWhereSharesAreBelowWhatOneMinusThemResolves) {
  MixtureCalibration found;
  found.scores.rows = 50;
  found.scores.factor = 0.8;
  found.own_factor = found.left_out_factor = 1.0;
  const double share = boost::math::cdf(boost::math::normal(), -20.0);

  EXPECT_NEAR(normal_score(share, 1.0), -20.0, 1e-9);
  EXPECT_NEAR(normal_score(1.0, share), 20.0, 1e-9);
  EXPECT_NEAR(found.log_density_ratio(20.0), 0.5 * (400.0 - 400.0 / 0.64) - std::log(0.8), 1e-9);
  EXPECT_TRUE(std::isfinite(normal_score(0.0, 1.0)));
}

TEST(MixtureCalibration, SaysWhyItIsNotKnownAndThenChangesNothing) {
  FitsThatDiffer planted(40, 2, 1.0, 14);
  const Matrix errors = planted.errors;

  const MixtureCalibration few = calibrate_mixture(planted.fits, errors, {});
  planted.errors.topRows(20).setConstant(not_a_number);
  const MixtureCalibration rows = calibrate_mixture(planted.fits, planted.errors, {Vector::Ones(40), 5});
  planted.fits[1] = calibrate(Vector::Zero(50));
  const MixtureCalibration fit = calibrate_mixture(planted.fits, errors, {Vector::Ones(40), 5});

  EXPECT_FALSE(few.known());
  EXPECT_EQ(few.mixture_share(0.3), 0.3);
  EXPECT_EQ(few.factor(), 1.0);
  EXPECT_EQ(few.log_density_ratio(2.0), 0.0);
  EXPECT_THAT(few.sentence(),
              HasSubstr("0 rows have an error by a fit whose parameters were chosen without"));
  EXPECT_THAT(rows.sentence(), HasSubstr("20 rows are too few"));
  EXPECT_THAT(fit.sentence(), HasSubstr("half of the errors are zero"));
  EXPECT_THROW(calibrate_mixture(planted.fits, errors.leftCols(1), {}), InputError);
}

}  // namespace
}  // namespace gradflow
