#include "gradflow/inference/error_calibration.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/special_values.h"
#include "gradflow/base/error.h"
#include "gradflow/inference/predictive.h"
#include "inference/leverage.h"

namespace gradflow {
namespace {

constexpr double steps_per_doubling = 2.0;
constexpr double grid_start = 1.0 / 16.0;  // of the median size: the grid's lower end
constexpr int most_mixture_steps = 1000;
constexpr double likelihood_gap = 0.1;         // of log-likelihood, at which the search ends
constexpr double least_mixture_weight = 1e-4;  // members below it are dropped

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
  out.log_likelihood = (densities * out.weights).array().log().sum() + shift;
  return out;
}

ScaleMixture without_trifles(const Vector& weights, const Vector& scales) {
  std::vector<Index> kept;
  for (Index k = 0; k < weights.size(); ++k)
    if (weights(k) >= least_mixture_weight) kept.push_back(k);
  ScaleMixture shape{weights(kept), scales(kept)};
  shape.weights /= shape.weights.sum();
  return shape;
}

}  // namespace

double ScaleMixture::quantile(double probability, double dof) const {
  return StudentMixtures{weights, Matrix::Zero(1, weights.size()), scales.transpose(), dof}.quantile(
      probability)(0);
}

std::string ErrorCalibration::sentence() const {
  if (!known()) return fmt::format("Errors of predictions were not calibrated: {}.", reason);
  std::string size = fmt::format(
      "Errors of {} rows, each predicted from the others: {:.3g} times the model's standard deviations", rows,
      folds > 0 ? factor * factor / left_out_factor : factor);
  if (folds > 0)
    size += fmt::format(
        " by the kernel that was chosen with all rows, {:.3g} times by those chosen without their fold of "
        "{}, "
        "of which the geometric mean is taken",
        left_out_factor, folds);
  if (shape.is_single())
    return fmt::format("{}, and normal (a mixture of scales gains at most {:g} in log-likelihood).", size,
                       least_gain);
  return fmt::format(
      "{}, and not normal: half are within {:.3g} of them, 95 % within {:.3g} (normal: 0.674 and 1.96); a "
      "mixture of {} scales gains {:.1f} in log-likelihood.",
      size, half_width(0.5, infinity), half_width(0.95, infinity), shape.weights.size(), gain);
}

void ErrorCalibration::allow_for_choice(const LeftOutErrors& left_out) {
  if (!known() || left_out.sizes.size() < fewest_rows) return;
  folds = left_out.folds;
  left_out_factor = left_out.root_mean_square();
  factor = std::sqrt(factor * left_out_factor);
}

ErrorCalibration calibrate(const Vector& errors) {
  ErrorCalibration result;
  const std::vector<double> sorted = sizes_of(errors);
  const auto n = static_cast<Index>(sorted.size());
  if (n < ErrorCalibration::fewest_rows) {
    result.reason = fmt::format("{} rows are too few to calibrate errors by; it takes {}", n,
                                ErrorCalibration::fewest_rows);
    return result;
  }
  const double median = sorted[sorted.size() / 2];
  if (!(median > 0.0)) {
    result.reason = "half of the errors are zero";
    return result;
  }
  const Eigen::ArrayXd sizes = Eigen::Map<const Eigen::ArrayXd>(sorted.data(), n);
  const auto count = static_cast<double>(n);
  result.reason.clear();
  result.rows = n;
  result.factor = std::sqrt(sizes.square().mean());
  const Vector grid = grid_of(grid_start * median, sorted.back(), result.factor);
  double shift = 0.0;
  const Matrix densities = densities_of(sizes, grid, shift);
  const MixtureFit best = maximise_mixture(densities, shift);
  result.gain = best.log_likelihood + count * (0.5 + std::log(result.factor));
  if (result.gain > ErrorCalibration::least_gain)
    result.shape = without_trifles(best.weights, grid / result.factor);
  return result;
}

Vector standardised_errors(const ProjectedSpectrum& spectrum, const SpectralData& data, const RemlFit& ridge,
                           double log_time_sd) {
  const Index n = spectrum.basis.rows(), N = spectrum.values.size();
  require(data.z.size() >= N, "data.z.size()", data.z.size(), "must be at least the eigenvalues");
  const Vector phi = ridge.path.phi(spectrum.values);
  // d phi / d log tau = -phi (1 - phi)
  const Vector slope = -phi.array() * (1.0 - phi.array());
  // Columns: QQ', P and dP / d log tau.
  Matrix f(N, 3);
  f << Vector::Ones(N), phi, slope;
  const Matrix diagonals = spectrum.diagonals(f);
  const Matrix fitted = spectrum.basis * (data.z.head(N).asDiagonal() * f.rightCols(2));
  Vector z(n);
  for (Index i = 0; i < n; ++i) {
    const double P = diagonals(i, 1), e = fitted(i, 0) / P,
                 e_slope = (fitted(i, 1) - e * diagonals(i, 2)) / P;
    const double variance = ridge.noise_variance / P + e_slope * e_slope * log_time_sd * log_time_sd;
    z(i) = diagonals(i, 0) > leverage_one ? e / std::sqrt(variance) : not_a_number;
  }
  return z;
}

Vector standardised_errors(const Analysis& analysis) {
  const double sd = log_time_standard_deviation(analysis.data, analysis.ridge.path);
  return standardised_errors(analysis.spectrum, analysis.data, analysis.ridge, std::isfinite(sd) ? sd : 0.0);
}

ErrorCalibration calibrate(const Analysis& analysis) {
  ErrorCalibration unknown;
  if (analysis.krylov) {
    unknown.reason = "the Krylov engine does not compute the variances of leave-one-out errors";
    return unknown;
  }
  if (!usable(analysis.ridge.outcome) || !std::isfinite(analysis.ridge.path.time) ||
      !(analysis.ridge.noise_variance > 0.0)) {
    unknown.reason = "the variance components have no estimate";
    return unknown;
  }
  if (const Index N = analysis.spectrum.values.size(); N < ErrorCalibration::fewest_rows) {
    unknown.reason =
        fmt::format("{} rows, without those that the fixed effects take, are too few; it takes {}", N,
                    ErrorCalibration::fewest_rows);
    return unknown;
  }
  return calibrate(standardised_errors(analysis));
}

}  // namespace gradflow
