#include "gradflow/inference/error_calibration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <numeric>

#include "base/special_values.h"
#include "gradflow/base/random.h"
#include "gradflow/inference/path_leave_one_out.h"
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

// Of errors, with normal members.
double density(const ErrorCalibration& found, double z) {
  return found.shape.density(z / found.factor, infinity) / found.factor;
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

  const Vector z = standardised_errors(all.spectrum, all.data, all.ridge, all.log_time_sd, all.ridge.path);

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

// What is predicted is what its errors are of, in units of the same scale.
TEST(StandardisedErrors, AreThoseOfThePathThatPredicts) {
  const CalibrationFit all = make_calibration_fit(40);
  const Path flow{.kind = PathKind::flow, .time = 20.0};
  const Path descent{.kind = PathKind::descent, .time = 20.0, .learning_rate = 0.1};
  const auto errors = [&](const Path& path) {
    return standardised_errors(all.spectrum, all.data, all.ridge, all.log_time_sd, path);
  };

  const Vector of_flow = errors(flow), of_ridge = errors(all.ridge.path);

  const Vector e_flow = path_leave_one_out(all.spectrum, all.data, flow),
               e_ridge = path_leave_one_out(all.spectrum, all.data, all.ridge.path);
  EXPECT_LT((of_flow.cwiseQuotient(of_ridge) - e_flow.cwiseQuotient(e_ridge)).cwiseAbs().maxCoeff(), 1e-9);
  EXPECT_EQ(errors(descent), of_ridge);
  // `ridge` at a time of another rule, too, in units of the scale at the likelihood's.
  const Path later = all.ridge.path.at(3.0 * all.ridge.path.time);
  const Vector e_later = path_leave_one_out(all.spectrum, all.data, later);
  EXPECT_GT((e_later - e_ridge).cwiseAbs().maxCoeff(), 1e-3);
  EXPECT_LT((errors(later).cwiseQuotient(of_ridge) - e_later.cwiseQuotient(e_ridge)).cwiseAbs().maxCoeff(),
            1e-9);
}

TEST(StandardisedErrors, AreNotKnownOfARowThatAloneDeterminesAFixedEffect) {
  CalibrationFit fit = make_calibration_fit(40);
  Matrix design = fit.design;
  design.col(1).setZero();
  design(7, 1) = 1.0;
  const CalibrationFit alone(fit.inputs, design, fit.response);

  const Vector z = standardised_errors(alone.spectrum, alone.data, alone.ridge, 0.0, alone.ridge.path);

  EXPECT_TRUE(std::isnan(z(7)));
  EXPECT_EQ(calibrate(z).rows, 39);
}

// Expected log density under the distribution of standard normal errors, by the trapezoidal rule.
double expected_log_density(const ErrorCalibration& found, const boost::math::normal& truth) {
  constexpr double step = 0.01;
  double sum = 0.0;
  for (double z = -8.0; z <= 8.0; z += step)
    sum += step * boost::math::pdf(truth, z) * std::log(density(found, z));
  return sum;
}

// What the average over what errors can be costs where they are normal, against one normal of the same
// factor: quantiles within 3 %, and hardly any density. The gain's 99 % quantile is below 4.
TEST(ErrorCalibration, CostsLittleWhereErrorsAreNormal) {
  const boost::math::normal truth;
  constexpr int samples = 200;
  int large_gains = 0, taken_for_normal = 0;
  double half = 0.0, most = 0.0, cost = 0.0;
  for (std::uint64_t seed = 1; seed <= samples; ++seed) {
    const Vector z = RandomStream(seed, "normal errors").normals(100);
    const ErrorCalibration found = calibrate(z);
    EXPECT_DOUBLE_EQ(found.factor, std::sqrt(z.squaredNorm() / 100.0));
    EXPECT_GT(found.gain, -0.1);  // the grid holds the single scale, and the search ends within 0.1
    large_gains += found.gain > 4.0 ? 1 : 0;
    taken_for_normal += found.nearly_normal() ? 1 : 0;
    ErrorCalibration plain = found;
    plain.shape = {};
    half += found.half_width(0.5, infinity) / plain.half_width(0.5, infinity) / samples;
    most += found.half_width(0.95, infinity) / plain.half_width(0.95, infinity) / samples;
    cost += (expected_log_density(plain, truth) - expected_log_density(found, truth)) / samples;
  }
  EXPECT_LE(large_gains, 8);  // more have a chance of 1e-3
  EXPECT_GE(taken_for_normal, 180);
  EXPECT_NEAR(half, 1.0, 0.03);
  EXPECT_NEAR(most, 1.0, 0.03);
  EXPECT_LT(cost, 0.003);
}

// Errors a little heavier in the tails than normal, in samples too small to tell: t_6, 100 rows.
TEST(ErrorCalibration, GainsDensityWhereTailsAreHeavierBeforeATestCanTell) {
  constexpr int samples = 100;
  double gained = 0.0;
  int could_tell = 0;
  for (std::uint64_t seed = 1; seed <= samples; ++seed) {
    const ErrorCalibration found = calibrate(student_draws(100, 6, seed));
    ErrorCalibration plain = found;
    plain.shape = {};
    could_tell += found.gain > 4.0 ? 1 : 0;
    for (const double z : student_draws(200, 6, 1000 + seed))
      gained += std::log(density(found, z) / density(plain, z)) / (200.0 * samples);
  }
  EXPECT_GT(gained, 0.005);
  EXPECT_LT(could_tell, 50);
}

// Quantiles of |z| from 4,000 rows have standard errors below 3 % at each level; 10 % is beyond 3 of them.
TEST(ErrorCalibration, FindsThePlantedTailsOfStudentErrors) {
  const ErrorCalibration found = calibrate(0.5 * student_draws(4000, 3, 1));

  const boost::math::students_t truth(3.0);
  ASSERT_FALSE(found.nearly_normal());
  EXPECT_GT(found.gain, 100.0);
  for (const double level : {0.5, 0.8, 0.95, 0.99}) {
    const double expected = 0.5 * boost::math::quantile(truth, 0.5 + 0.5 * level);
    EXPECT_NEAR(found.half_width(level, infinity), expected, 0.1 * expected) << level;
  }
}

// 90 % of scale 0.1 and 10 % of scale 1, far from every Student's t. The mean square of the mixture of
// largest likelihood is that of the errors, the derivative by a common scale being 0 there.
TEST(ErrorCalibration, FindsAPlantedMixtureThatIsNoStudentsT) {
  RandomStream random(7, "two scales");
  Vector z = random.normals(4000);
  z.head(3600) *= 0.1;

  const ErrorCalibration found = calibrate(z);

  const boost::math::normal normal;
  for (const double level : {0.5, 0.8, 0.95}) {
    const double q = found.half_width(level, infinity);
    EXPECT_NEAR(0.9 * (2.0 * boost::math::cdf(normal, 10.0 * q) - 1.0) +
                    0.1 * (2.0 * boost::math::cdf(normal, q) - 1.0),
                level, 0.03)
        << level;
  }
  EXPECT_LT(found.normal_probability, 1e-6);
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

TEST(ErrorCalibration, SaysWhyItIsNotKnown) {
  const ErrorCalibration few = calibrate(Vector::LinSpaced(29, -1.0, 1.0));
  EXPECT_FALSE(few.known());
  EXPECT_EQ(few.sentence(),
            "Errors of predictions were not calibrated: 29 rows are too few to calibrate errors by; it takes "
            "30.");
  EXPECT_THAT(calibrate(Vector::Zero(50)).sentence(), HasSubstr("half of the errors are zero"));
  EXPECT_FALSE(few.nearly_normal());
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
