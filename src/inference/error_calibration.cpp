#include "gradflow/inference/error_calibration.h"

#include <algorithm>
#include <array>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <boost/math/special_functions/gamma.hpp>
#include <cmath>
#include <utility>
#include <vector>

#include "base/special_values.h"
#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/inference/path_leave_one_out.h"
#include "gradflow/inference/predictive.h"

namespace gradflow {
namespace {

constexpr double steps_per_doubling = 2.0;
constexpr double grid_start = 1.0 / 16.0;  // of the median size: the grid's lower end
constexpr int most_mixture_steps = 1000;
constexpr int most_scale_steps = 500;
constexpr double scale_tolerance = 1e-6;       // relative, at which a scale is at rest
constexpr double likelihood_gap = 0.1;         // of log-likelihood, at which the search ends
constexpr double least_mixture_weight = 1e-4;  // members below it are dropped
constexpr std::array student_dofs{2.0, 3.0, 4.0, 6.0, 10.0, 20.0};
constexpr double normal_prior = 0.8;
constexpr double log_free_prior = -8.0;  // of the mixture of largest likelihood

std::vector<double> sizes_of(const Vector& errors) {
  std::vector<double> sizes;
  for (const double e : errors)
    if (std::isfinite(e)) sizes.push_back(std::abs(e));
  std::sort(sizes.begin(), sizes.end());
  return sizes;
}

// factor 2^(k/2), with the factor itself among them: no mixture is then worse than the single normal.
Vector grid_of(double lower, double upper, double factor) {
  const auto place = [&](double scale) { return steps_per_doubling * std::log2(scale / factor); };
  const auto first = static_cast<Index>(std::floor(place(lower)));
  const auto last = std::max<Index>(0, static_cast<Index>(std::ceil(place(upper))));
  Vector grid(last - first + 1);
  for (Index k = 0; k < grid.size(); ++k)
    grid(k) = factor * std::exp2(static_cast<double>(first + k) / steps_per_doubling);
  return grid;
}

// Densities of the sizes (rows) under N(0, scale_k^2) (columns), without 1/sqrt(2 pi) and with the rows' own
// largest taken out, so that none underflows in every column; the largest's sum of logarithms is `shift`.
Matrix densities_of(const Eigen::ArrayXd& sizes, const Vector& scales, double& shift) {
  Matrix log_densities(sizes.size(), scales.size());
  for (Index k = 0; k < scales.size(); ++k)
    log_densities.col(k) = -0.5 * (sizes / scales(k)).square() - std::log(scales(k));
  const Vector largest = log_densities.rowwise().maxCoeff();
  shift = largest.sum();
  return (log_densities.colwise() - largest).array().exp();
}

struct MixtureFit {
  Vector weights;
  double log_likelihood = 0.0;
};

double log_likelihood(const Matrix& densities, const Vector& weights, double shift) {
  return (densities * weights).array().log().sum() + shift;
}

// w_k <- w_k D_k,  D_k = 1/n sum_i f_ik / sum_l w_l f_il;  max_k D_k = 1 at the largest likelihood.
MixtureFit maximise_mixture(const Matrix& densities, double shift) {
  const auto n = static_cast<double>(densities.rows());
  MixtureFit out{Vector::Constant(densities.cols(), 1.0 / static_cast<double>(densities.cols()))};
  for (int step = 0; step < most_mixture_steps; ++step) {
    const Vector mixed = densities * out.weights;
    const Vector gradient = densities.transpose() * mixed.cwiseInverse() / n;
    if (n * (gradient.maxCoeff() - 1.0) <= likelihood_gap) break;
    out.weights.array() *= gradient.array();
  }
  out.log_likelihood = log_likelihood(densities, out.weights, shift);
  return out;
}

// The s of largest likelihood of s t_dof: every step raises it (Lange, Little and Taylor).
double student_scale(const Eigen::ArrayXd& sizes, double dof, double start) {
  double scale = start;
  for (int step = 0; step < most_scale_steps; ++step) {
    const Eigen::ArrayXd squares = (sizes / scale).square();
    const double next = scale * std::sqrt((squares * (dof + 1.0) / (dof + squares)).mean());
    const bool at_rest = std::abs(next - scale) <= scale_tolerance * scale;
    scale = next;
    if (at_rest) break;
  }
  return scale;
}

// Shares of scale (dof/chi^2_dof)^1/2 nearest to each of the grid's, in logarithms; its ends have what is
// beyond.
Vector student_weights(const Vector& grid, double dof, double scale) {
  const auto share_below = [&](double size) {  // P(chi^2 >= dof (scale/size)^2)
    return boost::math::gamma_q(0.5 * dof, 0.5 * dof * std::pow(scale / size, 2));
  };
  Vector weights(grid.size());
  double below = 0.0;
  for (Index k = 0; k < grid.size(); ++k) {
    const double next = k + 1 < grid.size() ? share_below(std::sqrt(grid(k) * grid(k + 1))) : 1.0;
    weights(k) = next - below;
    below = next;
  }
  return weights;
}

ScaleMixture without_trifles(const Vector& weights, const Vector& scales) {
  std::vector<Index> kept;
  for (Index k = 0; k < weights.size(); ++k)
    if (weights(k) >= least_mixture_weight) kept.push_back(k);
  ScaleMixture shape{weights(kept), scales(kept)};
  shape.weights /= shape.weights.sum();
  return shape;
}

// What `of_member` makes of the members' common distribution: t_dof, or normal.
template <typename OfMember>
double of_members(double dof, const OfMember& of_member) {
  if (std::isinf(dof)) return of_member(boost::math::normal());
  return of_member(boost::math::students_t(dof));
}

ErrorCalibration not_known(std::string reason) {
  ErrorCalibration unknown;
  unknown.reason = std::move(reason);
  return unknown;
}

// Of the chosen path, where there is a point on it.
Vector errors_of(const Analysis& analysis, const ProjectedSpectrum& spectrum, const SpectralData& data) {
  const double sd = log_time_standard_deviation(analysis.data, analysis.ridge.path);
  const bool trained = analysis.is_usable() && std::isfinite(analysis.chosen_path.time);
  return standardised_errors(spectrum, data, analysis.ridge, std::isfinite(sd) ? sd : 0.0,
                             trained ? analysis.chosen_path : analysis.ridge.path);
}

}  // namespace

double ScaleMixture::quantile(double probability, double dof) const {
  return StudentMixtures{weights, Matrix::Zero(1, weights.size()), scales.transpose(), dof}.quantile(
      probability)(0);
}

std::string ErrorCalibration::sentence() const {
  if (!known()) return fmt::format("Errors of predictions were not calibrated: {}.", reason);
  const std::string which =
      sampled_from > 0
          ? fmt::format("{} of {} rows, each predicted from the others of this sample", rows, sampled_from)
          : fmt::format("{} rows, each predicted from the others", rows);
  return fmt::format("Errors of {}: {:.3g} times the model's standard deviations, and {}.", which, factor,
                     shape_sentence());
}

std::string ErrorCalibration::shape_sentence() const {
  return fmt::format(
      "{}: half are within {:.3g} of them, 95 % within {:.3g} (normal: 0.674 and 1.96)",
      nearly_normal() ? fmt::format("as good as normal (probability {:.2g})", normal_probability)
                      : fmt::format("not normal (a mixture of scales gains {:.1f} in log-likelihood)", gain),
      half_width(0.5, infinity), half_width(0.95, infinity));
}

double ScaleMixture::cdf(double z, double dof) const {
  if (std::isinf(z)) return z > 0.0 ? 1.0 : 0.0;
  return of_members(dof, [&](const auto& member) {
    double sum = 0.0;
    for (Index k = 0; k < weights.size(); ++k) sum += weights(k) * boost::math::cdf(member, z / scales(k));
    return sum;
  });
}

double ScaleMixture::density(double z, double dof) const {
  return of_members(dof, [&](const auto& member) {
    double sum = 0.0;
    for (Index k = 0; k < weights.size(); ++k)
      sum += weights(k) / scales(k) * boost::math::pdf(member, z / scales(k));
    return sum;
  });
}

ErrorCalibration calibrate(const Vector& errors) {
  const std::vector<double> sorted = sizes_of(errors);
  const auto n = static_cast<Index>(sorted.size());
  if (n < ErrorCalibration::fewest_rows)
    return not_known(fmt::format("{} rows are too few to calibrate errors by; it takes {}", n,
                                 ErrorCalibration::fewest_rows));
  const double median = sorted[sorted.size() / 2];
  if (!(median > 0.0)) return not_known("half of the errors are zero");
  ErrorCalibration result;
  const Eigen::ArrayXd sizes = Eigen::Map<const Eigen::ArrayXd>(sorted.data(), n);
  const auto count = static_cast<double>(n);
  result.reason.clear();
  result.rows = n;
  result.factor = std::sqrt(sizes.square().mean());
  const Vector grid = grid_of(grid_start * median, sorted.back(), result.factor);
  double shift = 0.0;
  const Matrix densities = densities_of(sizes, grid, shift);
  const double log_normal = -count * (0.5 + std::log(result.factor));
  const MixtureFit best = maximise_mixture(densities, shift);
  result.gain = best.log_likelihood - log_normal;

  constexpr auto students = static_cast<Index>(student_dofs.size());
  Matrix weights(grid.size(), students + 2);  // normal, Student's t, any mixture
  Vector log_posterior(weights.cols());       // above the normal's likelihood
  weights.col(0) = (grid.array() == result.factor).cast<double>();
  log_posterior(0) = std::log(normal_prior);
  for (Index j = 0; j < students; ++j) {
    const double dof = student_dofs[static_cast<std::size_t>(j)];
    weights.col(j + 1) = student_weights(grid, dof, student_scale(sizes, dof, result.factor));
    log_posterior(j + 1) = std::log((1.0 - normal_prior) / static_cast<double>(students)) +
                           log_likelihood(densities, weights.col(j + 1), shift) - log_normal;
  }
  weights.rightCols(1) = best.weights;
  log_posterior(students + 1) = log_free_prior + result.gain;
  Vector posterior = (log_posterior.array() - log_posterior.maxCoeff()).exp();
  posterior /= posterior.sum();
  result.normal_probability = posterior(0);
  result.shape = without_trifles(weights * posterior, grid / result.factor);
  return result;
}

Vector standardised_errors(const ProjectedSpectrum& spectrum, const SpectralData& data, const RemlFit& ridge,
                           double log_time_sd, const Path& predictor) {
  const Index n = spectrum.basis.rows(), N = spectrum.values.size();
  require(data.z.size() >= N, "data.z.size()", data.z.size(), "must be at least the eigenvalues");
  const Vector phi = ridge.path.phi(spectrum.values);
  // d phi / d log tau = -phi (1 - phi)
  const Vector slope = -phi.array() * (1.0 - phi.array());
  Matrix f(N, 2);  // P and dP / d log tau
  f << phi, slope;
  const Matrix diagonals = spectrum.diagonals(f);
  const Matrix fitted =
      multiply(spectrum.basis, Transpose::no, Matrix(data.z.head(N).asDiagonal() * f), Transpose::no);
  const Vector errors =
      path_leave_one_out(spectrum, data, has_leave_one_out(predictor.kind) ? predictor : ridge.path);
  Vector z(n);
  for (Index i = 0; i < n; ++i) {
    const double P = diagonals(i, 0), e_slope = (fitted(i, 1) - fitted(i, 0) / P * diagonals(i, 1)) / P;
    z(i) = errors(i) / std::sqrt(ridge.noise_variance / P + e_slope * e_slope * log_time_sd * log_time_sd);
  }
  return z;
}

Vector standardised_errors(const Analysis& analysis) {
  return errors_of(analysis, analysis.spectrum, analysis.data);
}

ErrorCalibration calibrate(const Analysis& analysis) {
  if (analysis.krylov)
    return not_known("the Krylov engine does not compute the variances of leave-one-out errors");
  return calibrate(analysis, analysis.spectrum, analysis.data);
}

ErrorCalibration calibrate(const Analysis& analysis, const ProjectedSpectrum& spectrum,
                           const SpectralData& data) {
  if (!usable(analysis.ridge.outcome) || !std::isfinite(analysis.ridge.path.time) ||
      !(analysis.ridge.noise_variance > 0.0))
    return not_known("the variance components have no estimate");
  if (const Index N = spectrum.values.size(); N < ErrorCalibration::fewest_rows)
    return not_known(
        fmt::format("{} rows, without those that the fixed effects take, are too few; it takes {}", N,
                    ErrorCalibration::fewest_rows));
  return calibrate(errors_of(analysis, spectrum, data));
}

}  // namespace gradflow
