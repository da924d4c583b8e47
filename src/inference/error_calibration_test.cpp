#include "gradflow/inference/error_calibration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <numeric>

#include "base/special_values.h"
#include "gradflow/base/random.h"
#include "gradflow/inference/predictive.h"
#include "gradflow/operators/dense_operator.h"
#include "inference/test_support.h"

namespace gradflow {
namespace {

using testing::HasSubstr;

// s t_nu, as normal over the root of a mean square of nu normals
double student_draw(RandomStream& random, int dof) {
  double squares = 0.0;
  for (int j = 0; j < dof; ++j) squares += std::pow(random.normal(), 2);
  return random.normal() / std::sqrt(squares / dof);
}

Vector student_draws(Index n, int dof, std::uint64_t seed) {
  RandomStream random(seed, "student");
  Vector z(n);
  for (double& each : z) each = student_draw(random, dof);
  return z;
}

struct CalibrationFit {
  Matrix inputs, design;
  Vector response;
  FixedEffects fixed;
  DenseOperator H;
  ProjectedSpectrum spectrum;
  SpectralData data;
  RemlFit ridge;
  double log_time_sd;

  CalibrationFit(Matrix at, Matrix trend, Vector y)
      : inputs(std::move(at)),
        design(std::move(trend)),
        response(std::move(y)),
        fixed(design, {"one", "slope"}),
        H(gaussian_kernel(inputs, inputs)),
        spectrum(project(H, fixed)),
        data{spectrum.values, spectrum.coordinates(response).col(0)},
        ridge(fit_reml(data, {.kind = PathKind::ridge})),
        log_time_sd(log_time_standard_deviation(data, ridge.path)) {}
};

CalibrationFit make_calibration_fit(Index n) {
  RandomStream random(3, "calibration");
  Matrix inputs = random.normals(n, 2), design = Matrix::Ones(n, 2);
  design.col(1) = random.normals(n);
  Vector y = inputs.col(0).array().sin().matrix() + 0.5 * design.col(1) + 0.3 * random.normals(n);
  return {std::move(inputs), std::move(design), std::move(y)};
}

// RidgePredictive::delta fitted without the row has the same tau but a noise variance of its own: its scale^2
// is s2' (1 + var/s2) + (d mu/d log tau)^2 sd^2, of which the first part alone goes with s2.
TEST(StandardisedErrors, AreThoseOfRefitsWithoutTheRow) {
  const Index n = 30;
  const CalibrationFit all = make_calibration_fit(n);
  ASSERT_GT(all.log_time_sd, 0.0);

  const Vector z = standardised_errors(all.spectrum, all.data, all.ridge, all.log_time_sd);

  for (Index i = 0; i < n; ++i) {
    std::vector<Index> kept;
    for (Index j = 0; j < n; ++j)
      if (j != i) kept.push_back(j);
    const Matrix inputs = all.inputs(kept, Eigen::all);
    const DenseOperator H(gaussian_kernel(inputs, inputs));
    const FixedEffects fixed(all.design(kept, Eigen::all), {"one", "slope"});
    const NewPoints at{gaussian_kernel(all.inputs.row(i), inputs), Vector::Ones(1), all.design.row(i)};
    const double tau = all.ridge.path.time;
    const auto without = [&](double log_time_sd) {
      return RidgePredictive::delta(H, fixed, all.response(kept), tau, log_time_sd).at(at);
    };
    const StudentMixtures known = without(0.0), uncertain = without(all.log_time_sd);
    const double variance = PosteriorVariance::for_ridge(H, fixed, tau).at(at)(0);
    const double time_part = std::pow(uncertain.scales(0, 0), 2) - std::pow(known.scales(0, 0), 2);
    const double scale = std::sqrt(all.ridge.noise_variance * (1.0 + variance) + time_part);
    EXPECT_NEAR(z(i), (all.response(i) - known.locations(0, 0)) / scale, 1e-9) << i;
  }
}

TEST(StandardisedErrors, AreNotKnownOfARowThatAloneDeterminesAFixedEffect) {
  CalibrationFit fit = make_calibration_fit(40);
  Matrix design = fit.design;
  design.col(1).setZero();
  design(7, 1) = 1.0;
  const CalibrationFit alone(fit.inputs, design, fit.response);

  const Vector z = standardised_errors(alone.spectrum, alone.data, alone.ridge, 0.0);

  EXPECT_TRUE(std::isnan(z(7)));
  EXPECT_EQ(calibrate(z).rows, 39);
}

// The gain's 99 % quantile is below 4 (header): of 200 samples more than 8 above it have a chance of 1e-3.
TEST(ErrorCalibration, LeavesNormalErrorsNormal) {
  int mixtures = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    const Vector z = 0.8 * RandomStream(seed, "normal errors").normals(100);
    const ErrorCalibration found = calibrate(z);
    EXPECT_DOUBLE_EQ(found.factor, std::sqrt(z.squaredNorm() / 100.0));
    EXPECT_GT(found.gain, -0.1);  // the grid holds the single scale, and the search ends within 0.1
    mixtures += found.shape.is_single() ? 0 : 1;
    if (found.shape.is_single()) {
      EXPECT_DOUBLE_EQ(found.half_width(0.95, 60.0),
                       found.factor * boost::math::quantile(boost::math::students_t(60.0), 0.975));
    }
  }
  EXPECT_LE(mixtures, 8);
}

// Quantiles of |z| from 4,000 rows have standard errors below 3 % at each level; 10 % is beyond 3 of them.
TEST(ErrorCalibration, FindsThePlantedTailsOfStudentErrors) {
  const ErrorCalibration found = calibrate(0.5 * student_draws(4000, 3, 1));

  const boost::math::students_t truth(3.0);
  ASSERT_FALSE(found.shape.is_single());
  EXPECT_GT(found.gain, 100.0);
  for (const double level : {0.5, 0.8, 0.95, 0.99}) {
    const double expected = 0.5 * boost::math::quantile(truth, 0.5 + 0.5 * level);
    EXPECT_NEAR(found.half_width(level, infinity), expected, 0.1 * expected) << level;
  }
}

// Given the weights the likelihood of their best mixture rises at every step, so none is worse than its
// start, and the mixture's second moment at the optimum is that of the errors (its derivative by a common
// scale).
TEST(ErrorCalibration, KeepsTheErrorsMeanSquareButForTheGridAndTheEndOfTheSearch) {
  const Vector z = student_draws(500, 4, 2);

  const ErrorCalibration found = calibrate(z);

  ASSERT_FALSE(found.shape.is_single());
  EXPECT_NEAR(found.shape.weights.sum(), 1.0, 1e-12);
  EXPECT_NEAR(found.shape.weights.dot(found.shape.scales.cwiseAbs2()), 1.0, 0.05);
}

TEST(ErrorCalibration, GoesWithTheScaleOfTheErrors) {
  const Vector z = student_draws(300, 3, 5);

  const ErrorCalibration one = calibrate(z), other = calibrate(1e-9 * z);

  EXPECT_NEAR(other.factor, 1e-9 * one.factor, 1e-20);
  EXPECT_NEAR(other.gain, one.gain, 1e-6);
  EXPECT_NEAR(other.half_width(0.8, 50.0), 1e-9 * one.half_width(0.8, 50.0), 1e-15);
}

TEST(ErrorCalibration, AllowsForAChoiceOnlyWhereBothErrorsAreKnown) {
  ErrorCalibration own = calibrate(RandomStream(3, "own errors").normals(100)), unknown;
  const Vector sizes = 4.0 * RandomStream(3, "own errors").normals(100).cwiseAbs();
  const LeftOutErrors left_out{sizes, 5};
  const double before = own.factor;

  unknown.allow_for_choice(left_out);
  own.allow_for_choice({});
  EXPECT_FALSE(unknown.known());
  EXPECT_EQ(own.factor, before);
  EXPECT_EQ(own.folds, 0);
  own.allow_for_choice(left_out);
  EXPECT_NEAR(own.factor, 2.0 * before, 1e-12);
  EXPECT_EQ(own.folds, 5);
}

TEST(ErrorCalibration, SaysWhyItIsNotKnown) {
  const ErrorCalibration few = calibrate(Vector::LinSpaced(29, -1.0, 1.0));
  EXPECT_FALSE(few.known());
  EXPECT_EQ(few.sentence(),
            "Errors of predictions were not calibrated: 29 rows are too few to calibrate errors by; it takes "
            "30.");
  EXPECT_THAT(calibrate(Vector::Zero(50)).sentence(), HasSubstr("half of the errors are zero"));
}

TEST(ScaleMixture, OfOneMemberIsStudentsT) {
  EXPECT_NEAR(ScaleMixture{}.quantile(0.975, 7.0), boost::math::quantile(boost::math::students_t(7.0), 0.975),
              1e-12);
  EXPECT_NEAR(ScaleMixture{}.quantile(0.1, infinity), boost::math::quantile(boost::math::normal(), 0.1),
              1e-12);
}

// By the definition: half of the mass has scale 1, half 3.
TEST(ScaleMixture, HasTheQuantileAtWhichItsMembersSharesAddUp) {
  ScaleMixture two;
  two.weights = Vector::Constant(2, 0.5);
  two.scales = Vector::LinSpaced(2, 1.0, 3.0);

  const double q = two.quantile(0.9, infinity);

  const boost::math::normal normal;
  EXPECT_NEAR(0.5 * boost::math::cdf(normal, q) + 0.5 * boost::math::cdf(normal, q / 3.0), 0.9, 1e-9);
}

}  // namespace
}  // namespace gradflow
