#include "gradflow/inference/predictive.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <vector>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/operators/dense_operator.h"
#include "inference/test_support.h"
#include "support/reference.h"

namespace gradflow {
namespace {

struct RidgeProblem {
  Matrix inputs, new_inputs, design, new_design;
  Vector response;

  NewPoints points() const {
    return {gaussian_kernel(new_inputs, inputs), Vector::Ones(new_inputs.rows()), new_design};
  }
  FixedEffects fixed() const { return {design, {"one", "slope"}}; }
};

RidgeProblem make_ridge_problem(Index n, Index m, std::uint64_t seed) {
  RandomStream random(seed, "predictive");
  RidgeProblem p{random.normals(n, 1), random.normals(m, 1), Matrix::Ones(n, 2), Matrix::Ones(m, 2),
                 Vector(n)};
  p.design.col(1) = random.normals(n);
  p.new_design.col(1) = random.normals(m);
  p.response =
      (1.5 * p.inputs.col(0).array()).sin().matrix() + 0.5 * p.design.col(1) + 0.4 * random.normals(n);
  return p;
}

TEST(TimePosterior, HasTheMomentsOfABruteForceSum) {
  SpectralData data{Vector(50), RandomStream(1, "posterior").normals(50)};
  for (Index i = 0; i < 50; ++i) {
    data.values(i) = 2.0 / static_cast<double>((i + 1) * (i + 1));
    data.z(i) *= std::sqrt(1.0 + 30.0 * data.values(i));
  }
  const TimePosterior posterior = time_posterior(data);
  // The density of log tau written out: |I + tau M|^-1/2 (w'(I + tau M)^-1 w)^(-N/2) h (1 - h).
  const double m = data.values.mean();
  double sum = 0.0, first = 0.0, second = 0.0;
  for (double u = -30.0; u < 30.0; u += 0.001) {
    const double tau = std::exp(u), h = tau * m / (1.0 + tau * m);
    const Eigen::ArrayXd one_plus = 1.0 + tau * data.values.array();
    const double density =
        std::exp(-0.5 * one_plus.log().sum() - 25.0 * std::log((data.z.array().square() / one_plus).mean())) *
        h * (1.0 - h);
    sum += density;
    first += u * density;
    second += u * u * density;
  }
  first /= sum;

  ASSERT_EQ(posterior.outcome, Outcome::converged);
  EXPECT_NEAR(posterior.weights.sum(), 1.0, 1e-14);
  EXPECT_NEAR(posterior.log_time_mean, first, 1e-6);
  EXPECT_NEAR(posterior.log_time_sd, std::sqrt(second / sum - first * first), 1e-6);
}

TEST(TimePosterior, MovesWithTheScaleOfTheOperatorOnly) {
  SpectralData data{Vector::LinSpaced(30, 3.0, 0.1), RandomStream(2, "posterior").normals(30)};
  SpectralData scaled = data;
  scaled.values *= 100.0;
  scaled.z *= 7.0;
  const TimePosterior a = time_posterior(data), b = time_posterior(scaled);

  EXPECT_NEAR(b.log_time_mean + std::log(100.0), a.log_time_mean, 1e-6);
  EXPECT_NEAR(b.log_time_sd, a.log_time_sd, 1e-6);
}

TEST(LogTimeStandardDeviation, IsTheCurvatureOfTheCriterion) {
  SpectralData data{Vector::LinSpaced(40, 3.0, 0.01), RandomStream(3, "curvature").normals(40)};
  data.z.array() *= (1.0 + 5.0 * data.values.array()).sqrt();
  const Path path = fit_reml(data, Path{.kind = PathKind::ridge}).path;
  const double h = 1e-3;
  const auto Q = [&](double shift) { return reml_criterion(data, path.at(path.time * std::exp(shift))); };
  const double curvature = (Q(h) - 2.0 * Q(0.0) + Q(-h)) / (h * h);

  EXPECT_NEAR(log_time_standard_deviation(data, path), std::sqrt(2.0 / curvature), 1e-5);
  EXPECT_TRUE(std::isnan(log_time_standard_deviation(data, path.at(0.0))));
}

TEST(StudentMixtures, QuantilesInvertTheDistributionWhoseDensityIntegratesToIt) {
  const StudentMixtures mixture{Vector{{0.3, 0.7}}, Matrix{{-1.0, 2.0}}, Matrix{{0.5, 1.5}}, 6.0};
  for (const double p : {1e-6, 0.025, 0.5, 0.9, 0.999})
    EXPECT_NEAR(mixture.cdf(mixture.quantile(p))(0), p, 1e-10);
  double integral = 0.0, mean = 0.0, square = 0.0;
  for (double y = -400.0; y < 400.0; y += 0.01) {
    const double mass = 0.01 * std::exp(mixture.log_density(Vector::Constant(1, y))(0));
    integral += mass;
    mean += y * mass;
    square += y * y * mass;
  }

  EXPECT_NEAR(integral, 1.0, 1e-8);
  EXPECT_NEAR(mixture.mean()(0), mean, 1e-6);
  EXPECT_NEAR(mixture.sd()(0), std::sqrt(square - mean * mean), 1e-5);
  EXPECT_THROW(mixture.quantile(1.0), InputError);
}

TEST(RidgePredictive, WithoutASignalIsTheStudentIntervalOfOrdinaryRegression) {
  const RidgeProblem p = make_ridge_problem(12, 4, 4);
  const DenseOperator H(gaussian_kernel(p.inputs, p.inputs));
  const FixedEffects fixed = p.fixed();
  // tau lambda_1 at most 1e-7, or 0: ordinary least squares.
  const RidgePredictive integrated =
      RidgePredictive::integrated(H, fixed, project(H, fixed), p.response, {.largest_shrinkage = 1e-7});
  const RidgePredictive delta = RidgePredictive::delta(H, fixed, p.response, 0.0, 0.0);
  const Matrix inverse = reference::inverse(p.design.transpose() * p.design);
  const Vector beta = inverse * p.design.transpose() * p.response;
  const double s2 = (p.response - p.design * beta).squaredNorm() / 10.0;
  const double t = boost::math::quantile(boost::math::students_t(10.0), 0.975);

  for (const RidgePredictive& predictive : {integrated, delta}) {
    const Vector upper = predictive.at(p.points()).quantile(0.975);
    for (Index x = 0; x < 4; ++x) {
      const Vector row = p.new_design.row(x);
      const double classical = row.dot(beta) + t * std::sqrt(s2 * (1.0 + row.dot(inverse * row)));
      EXPECT_NEAR(upper(x), classical, 1e-5);
    }
  }
}

// Largest difference of the integrated quantiles from the plug-in normal's, in its standard deviations.
double distance_from_plug_in(Index N) {
  // Half of the directions carry signal, tau lambda = 3: the profile of tau is sharp, sd about N^-1/2.
  Vector values = Vector::Constant(N, 0.0);
  values.head(N / 2).setOnes();
  ProjectedSpectrum spectrum{values, Matrix::Identity(N, N)};
  const FixedEffects fixed = FixedEffects::none(N);
  const DenseOperator H(Matrix(values.asDiagonal()));
  Vector y = RandomStream(5, "sharp").normals(N);
  y.head(N / 2) *= 2.0;
  SpectralData data;
  data.values = values;
  data.z = y;
  const RemlFit fit = fit_reml(data, Path{.kind = PathKind::ridge});
  NewPoints points{Matrix::Zero(2, N), Vector::Ones(2), Matrix(2, 0)};
  points.H_cross(0, 0) = 0.8;
  const StudentMixtures mixture = RidgePredictive::integrated(H, fixed, spectrum, y).at(points);
  const Vector mean = points.H_cross * (fit.path.dual(values).cwiseProduct(y));
  const Vector variance = PosteriorVariance::from_spectrum(H, fixed, spectrum, fit.path).at(points);
  double largest = 0.0;
  for (const double p : {0.025, 0.5, 0.9}) {
    const double z = boost::math::quantile(boost::math::normal(), p);
    const Vector sd = (fit.noise_variance * (1.0 + variance.array())).sqrt();
    largest =
        std::max(largest, ((mixture.quantile(p) - mean - z * sd).array() / sd.array()).abs().maxCoeff());
  }
  return largest;
}

TEST(RidgePredictive, BecomesThePlugInNormalAsTheProfileSharpens) {
  const double at_100 = distance_from_plug_in(100), at_1600 = distance_from_plug_in(1600);

  // Both the t and the mixture differ from it by a few parts of 1/N.
  EXPECT_LT(at_1600, 8.0 / 1600.0);
  EXPECT_LT(at_1600, at_100 / 4.0);
}

TEST(RidgePredictive, DeltaMethodHasTheSlopeOfThePredictionInLogTau) {
  const RidgeProblem p = make_ridge_problem(30, 5, 6);
  const DenseOperator H(gaussian_kernel(p.inputs, p.inputs));
  const double tau = 2.0, h = 1e-5;
  const auto at = [&](double time, double sd) {
    return RidgePredictive::delta(H, p.fixed(), p.response, time, sd).at(p.points());
  };
  const Vector slope =
      (at(tau * std::exp(h), 0.0).locations - at(tau * std::exp(-h), 0.0).locations).col(0) / (2.0 * h);
  const Vector added = at(tau, 0.7).scales.cwiseAbs2() - at(tau, 0.0).scales.cwiseAbs2();

  EXPECT_LT((added - 0.49 * slope.cwiseAbs2()).cwiseAbs().maxCoeff(), 1e-8);
}

TEST(RidgePredictive, DeltaAgreesWithThePosteriorAtTheSameTau) {
  const RidgeProblem p = make_ridge_problem(30, 5, 7);
  const DenseOperator H(gaussian_kernel(p.inputs, p.inputs));
  const FixedEffects fixed = p.fixed();
  const Path path{.kind = PathKind::ridge, .time = 2.0};
  const StudentMixtures mixture = RidgePredictive::delta(H, fixed, p.response, 2.0, 0.0)
                                      .at(p.points(), {}, RidgePredictive::Target::mean_function);
  const ProjectedSpectrum spectrum = project(H, fixed);
  const DualFit fit = dual_fit(H, fixed, spectrum, p.response, path);
  const NewPoints points = p.points();
  const SpectralData data{spectrum.values, spectrum.coordinates(p.response)};
  const Vector variance =
      reml_noise_variance(data, path) * PosteriorVariance::for_ridge(H, fixed, 2.0).at(points);

  EXPECT_LT((mixture.locations.col(0) - points.design * fit.beta - points.H_cross * fit.alpha)
                .cwiseAbs()
                .maxCoeff(),
            1e-10);
  EXPECT_LT((mixture.scales.col(0).cwiseAbs2() - variance).cwiseAbs().maxCoeff(), 1e-10);
}

TEST(RidgePredictive, IsCalibratedOverItsPriorWhereThePlugInNormalIsNot) {
  // With tau from the prior the distribution at the new response is uniform exactly, at any N: here 8.
  constexpr int replicates = 600;
  const Index n = 10;
  int integrated = 0, plug_in = 0;
  std::vector<double> u;
  for (int r = 0; r < replicates; ++r) {
    RidgeProblem p = make_ridge_problem(n, 1, 500 + static_cast<std::uint64_t>(r));
    RandomStream random(static_cast<std::uint64_t>(r), "model");
    const DenseOperator H(gaussian_kernel(p.inputs, p.inputs));
    const FixedEffects fixed = p.fixed();
    const ProjectedSpectrum spectrum = project(H, fixed);
    const double share = random.uniform(), tau = share / (1.0 - share) / spectrum.values.mean();
    Matrix all(n + 1, 1);
    all << p.inputs, p.new_inputs;
    Matrix V = tau * gaussian_kernel(all, all);
    V.diagonal().array() += 1.0;
    const Vector y = reference::cholesky(V) * random.normals(n + 1);
    p.response = y.head(n);
    u.push_back(RidgePredictive::integrated(H, fixed, spectrum, p.response).at(p.points()).cdf(y.tail(1))(0));
    integrated += u.back() > 0.05 && u.back() < 0.95 ? 1 : 0;
    const RemlFit fit =
        fit_reml({spectrum.values, spectrum.coordinates(p.response)}, Path{.kind = PathKind::ridge});
    const StudentMixtures at_estimate =
        RidgePredictive::delta(H, fixed, p.response, fit.path.time, 0.0).at(p.points());
    plug_in += std::abs(y(n) - at_estimate.locations(0, 0)) < 1.6449 * at_estimate.scales(0, 0) ? 1 : 0;
  }
  std::sort(u.begin(), u.end());
  double distance = 0.0;
  for (std::size_t i = 0; i < u.size(); ++i)
    distance = std::max(distance, std::abs(u[i] - (static_cast<double>(i) + 0.5) / replicates));
  RecordProperty("integrated", integrated);
  RecordProperty("plug_in", plug_in);

  // Kolmogorov-Smirnov at level 0.001; 3.3 binomial standard errors at 0.9.
  const double bound = 3.3 * std::sqrt(0.09 / replicates);
  EXPECT_LT(distance, 1.95 / std::sqrt(static_cast<double>(replicates)));
  EXPECT_NEAR(static_cast<double>(integrated) / replicates, 0.9, bound);
  EXPECT_LT(static_cast<double>(plug_in) / replicates, 0.9 - bound);
}

TEST(RidgePredictive, RefusesAResponseThatTheFixedEffectsExplain) {
  RidgeProblem p = make_ridge_problem(10, 1, 8);
  p.response.setZero();
  const DenseOperator H(gaussian_kernel(p.inputs, p.inputs));

  EXPECT_THROW(RidgePredictive::integrated(H, p.fixed(), project(H, p.fixed()), p.response), InputError);
  EXPECT_THROW(RidgePredictive::delta(H, p.fixed(), p.response, 1.0, 0.1), InputError);
  EXPECT_THROW(RidgePredictive::delta(H, p.fixed(), p.response, -1.0, 0.1), InputError);
}

}  // namespace
}  // namespace gradflow
