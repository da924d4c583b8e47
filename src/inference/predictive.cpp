#include "gradflow/inference/predictive.h"

#include <boost/math/distributions/students_t.hpp>
#include <boost/math/tools/toms748_solve.hpp>
#include <cmath>
#include <cstdint>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"
#include "inference/new_point_projection.h"

namespace gradflow {
namespace {

using Student = boost::math::students_t;

// Calls value(point) for every point, on all threads.
template <typename Function>
Vector for_points(Index m, Function value) {
  Vector out(m);
  parallel_for(m, 16, [&](Index begin, Index end) {
    for (Index x = begin; x < end; ++x) out(x) = value(x);
  });
  return out;
}

double step_or_cdf(const Student& student, double y, double location, double scale) {
  if (scale == 0.0) return y >= location ? 1.0 : 0.0;
  return boost::math::cdf(student, (y - location) / scale);
}

void check_length(const Vector& y, Index m) {
  require(y.size() == m, "y.size()", y.size(), "must be one value per point");
}

}  // namespace

Vector StudentMixtures::mean() const {
  if (dof <= 1.0) return Vector::Constant(locations.rows(), std::numeric_limits<double>::quiet_NaN());
  return locations * weights;
}

Vector StudentMixtures::sd() const {
  if (dof <= 2.0) return Vector::Constant(locations.rows(), std::numeric_limits<double>::infinity());
  const Matrix centred = locations.colwise() - Vector(locations * weights);
  return ((dof / (dof - 2.0) * scales.cwiseAbs2() + centred.cwiseAbs2()) * weights).cwiseSqrt();
}

Vector StudentMixtures::cdf(const Vector& y) const {
  check_length(y, locations.rows());
  const Student student(dof);
  return for_points(y.size(), [&](Index x) {
    double sum = 0.0;
    for (Index k = 0; k < weights.size(); ++k)
      sum += weights(k) * step_or_cdf(student, y(x), locations(x, k), scales(x, k));
    return std::min(1.0, sum);
  });
}

Vector StudentMixtures::log_density(const Vector& y) const {
  check_length(y, locations.rows());
  const bool normal = std::isinf(dof);
  const double constant =
      normal ? -0.5 * std::log(2.0 * M_PI)
             : std::lgamma(0.5 * (dof + 1.0)) - std::lgamma(0.5 * dof) - 0.5 * std::log(dof * M_PI);
  Vector out(y.size());
  for (Index x = 0; x < y.size(); ++x) {
    const Eigen::ArrayXd t = (y(x) - locations.row(x).array()) / scales.row(x).array();
    const Eigen::ArrayXd far = normal ? Eigen::ArrayXd(0.5 * t.square())
                                      : Eigen::ArrayXd(0.5 * (dof + 1.0) * (t.square() / dof).log1p());
    const Eigen::ArrayXd terms = weights.array().log() - scales.row(x).transpose().array().log() - far;
    const double largest = terms.maxCoeff();
    out(x) = constant + largest + std::log((terms - largest).exp().sum());
  }
  return out;
}

Vector StudentMixtures::quantile(double probability) const {
  require(probability > 0.0 && probability < 1.0, "probability", probability, "must be between 0 and 1");
  const Student student(dof);
  const double standard = boost::math::quantile(student, probability);
  return for_points(locations.rows(), [&](Index x) {
    // The mixture's quantile lies between the least and the largest of its members'.
    const Eigen::ArrayXd members = locations.row(x).array() + standard * scales.row(x).array();
    const double low = members.minCoeff(), high = members.maxCoeff();
    if (high - low <= 1e-12 * scales.row(x).maxCoeff()) return 0.5 * (low + high);
    const auto excess = [&](double y) {
      double sum = -probability;
      for (Index k = 0; k < weights.size(); ++k)
        sum += weights(k) * step_or_cdf(student, y, locations(x, k), scales(x, k));
      return sum;
    };
    const double at_low = excess(low), at_high = excess(high);
    if (!(at_low < 0.0)) return low;
    if (!(at_high > 0.0)) return high;
    std::uintmax_t iterations = 200;
    const auto root = boost::math::tools::toms748_solve(
        excess, low, high, at_low, at_high, boost::math::tools::eps_tolerance<double>(40), iterations);
    return 0.5 * (root.first + root.second);
  });
}

RidgePredictive::RidgePredictive(const TrainingOperator& H, const FixedEffects& fixed, const Vector& response)
    : projection_(std::make_shared<NewPointProjection>(H, fixed)),
      dof_(static_cast<double>(fixed.residual_dimension())) {
  require(response.size() == H.size(), "response.size()", response.size(), "must equal H.size()");
  coefficients_ = fixed.coefficients(response);
}

RidgePredictive RidgePredictive::integrated(const TrainingOperator& H, const FixedEffects& fixed,
                                            const ProjectedSpectrum& spectrum, const Vector& response,
                                            const PredictiveOptions& options) {
  RidgePredictive predictive(H, fixed, response);
  require(spectrum.basis.rows() == H.size(), "spectrum.basis.rows()", spectrum.basis.rows(),
          "must equal H.size()");
  SpectralData data;
  data.values = spectrum.values;
  data.z = spectrum.coordinates(response);
  predictive.posterior_ = time_posterior(data, options);
  const Vector& times = predictive.posterior_.times;
  predictive.noise_variance_.resize(times.size());
  for (Index k = 0; k < times.size(); ++k)
    predictive.noise_variance_(k) =
        reml_noise_variance(data, Path{.kind = PathKind::ridge, .time = times(k)});
  predictive.basis_ = spectrum.basis;
  predictive.values_ = data.values;
  predictive.z_ = data.z;
  return predictive;
}

RidgePredictive RidgePredictive::delta(const TrainingOperator& H, const FixedEffects& fixed,
                                       const Vector& response, double tau, double log_time_sd,
                                       const PureError& pure) {
  require(tau >= 0.0 && std::isfinite(tau), "tau", tau, "must be finite and >= 0");
  if (tau == 0.0) log_time_sd = 0.0;
  require(log_time_sd >= 0.0 && std::isfinite(log_time_sd), "log_time_sd", log_time_sd,
          "must be finite and >= 0");
  RidgePredictive predictive(H, fixed, response);
  predictive.factor_ = tau * fixed.project(H.matrix());
  predictive.factor_.diagonal().array() += 1.0;
  if (!cholesky_lower(predictive.factor_))
    throw InternalError(fmt::format("I + tau M is not positive definite at tau = {}", tau));
  const Matrix w = fixed.reduce(response);
  Matrix once = w;
  solve_lower(predictive.factor_, Transpose::no, once);
  predictive.dof_ += static_cast<double>(pure.dof);
  const double s2 = (once.squaredNorm() + pure.squares) / predictive.dof_;
  if (!(s2 > 0.0))
    throw InputError("the fixed effects explain the response exactly: there is nothing to predict from");
  solve_lower(predictive.factor_, Transpose::yes, once);
  Matrix twice = once;
  solve_lower(predictive.factor_, Transpose::no, twice);
  solve_lower(predictive.factor_, Transpose::yes, twice);
  predictive.alpha_ = tau * fixed.lift(once);
  predictive.slope_ = log_time_sd * tau * fixed.lift(twice);
  predictive.noise_variance_ = Vector::Constant(1, s2);
  predictive.posterior_.times = Vector::Constant(1, tau);
  predictive.posterior_.weights = Vector::Ones(1);
  predictive.posterior_.log_time_mean = std::log(tau);
  predictive.posterior_.log_time_sd = log_time_sd;
  predictive.posterior_.outcome = Outcome::converged;
  return predictive;
}

// mu += sum_i C_i dual(lambda_i) z_i and var/s2 += sum_i C_i^2 g(lambda_i), C in the eigenvectors.
void RidgePredictive::add_spectral_terms(const Matrix& C, Matrix& means, Matrix& variances) const {
  const Matrix coordinates = multiply(C, Transpose::no, basis_, Transpose::no);
  Matrix duals(values_.size(), means.cols()), gs(values_.size(), means.cols());
  for (Index k = 0; k < means.cols(); ++k) {
    const Path path{.kind = PathKind::ridge, .time = posterior_.times(k)};
    duals.col(k) = path.dual(values_).cwiseProduct(z_);
    gs.col(k) = path.g(values_);
  }
  multiply(coordinates, Transpose::no, duals, Transpose::no, means, 1.0, 1.0);
  multiply(coordinates.cwiseAbs2(), Transpose::no, gs, Transpose::no, variances, 1.0, 1.0);
}

StudentMixtures RidgePredictive::at(const NewPoints& points, const Vector& f0, Target target) const {
  const ProjectedPoints projected = (*projection_)(points);
  const Index m = projected.prior.size(), K = posterior_.times.size();
  StudentMixtures result;
  result.weights = posterior_.weights;
  result.dof = dof_;
  Vector trend = offsets(f0, m);
  if (coefficients_.size() > 0) trend += points.design * coefficients_;
  result.locations = trend.replicate(1, K);
  // var(x)/s2 = tau hq_xx + hq_x'g(M)hq_x + x'(X'X)^-1 x
  result.scales = projected.prior * posterior_.times.transpose();
  result.scales.colwise() += projected.leverage;
  Vector uncertain_time = Vector::Zero(m);
  if (factor_.size() == 0) {
    add_spectral_terms(projected.C, result.locations, result.scales);
  } else {
    const double tau = posterior_.times(0);
    Matrix solved = projection_->fixed().reduce(projected.C.transpose());
    solve_lower(factor_, Transpose::no, solved);
    result.scales.col(0) -= tau * tau * solved.colwise().squaredNorm().transpose();
    result.locations.col(0) += projected.C * alpha_;
    uncertain_time = (projected.C * slope_).cwiseAbs2();
  }
  const double noise = target == Target::response ? 1.0 : 0.0;
  for (Index k = 0; k < K; ++k) clamp_rounding(result.scales.col(k), projected.prior, posterior_.times(k));
  result.scales = (result.scales.array() + noise).matrix() * noise_variance_.asDiagonal();
  result.scales.colwise() += uncertain_time;
  result.scales = result.scales.cwiseSqrt();
  return result;
}

}  // namespace gradflow
