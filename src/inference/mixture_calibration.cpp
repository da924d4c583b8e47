#include "gradflow/inference/mixture_calibration.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/math/distributions/normal.hpp>
#include <cmath>
#include <numbers>

#include "base/special_values.h"
#include "gradflow/base/error.h"

namespace gradflow {
namespace {

constexpr double least_share = 1e-300;

double log_normal_density(double z) { return -0.5 * z * z - 0.5 * std::log(2.0 * std::numbers::pi); }

// Normal scores of the rows whose errors are all finite.
Vector normal_scores(const std::vector<ErrorCalibration>& fits, const Matrix& errors) {
  std::vector<double> scores;
  for (Index i = 0; i < errors.rows(); ++i) {
    if (!errors.row(i).allFinite()) continue;
    double lower = 0.0, upper = 0.0;
    for (Index k = 0; k < errors.cols(); ++k) {
      const ErrorCalibration& fit = fits[static_cast<std::size_t>(k)];
      const double z = errors(i, k) / fit.factor;
      lower += fit.shape.cdf(z, infinity) / static_cast<double>(errors.cols());
      upper += fit.shape.cdf(-z, infinity) / static_cast<double>(errors.cols());
    }
    scores.push_back(normal_score(lower, upper));
  }
  return Eigen::Map<const Vector>(scores.data(), static_cast<Index>(scores.size()));
}

}  // namespace

double normal_score(double lower, double upper) {
  const double least =
      boost::math::quantile(boost::math::normal(), std::clamp(std::min(lower, upper), least_share, 0.5));
  return lower <= upper ? least : -least;
}

double MixtureCalibration::factor() const {
  return known() ? scores.factor * left_out_factor / own_factor : 1.0;
}

double MixtureCalibration::mixture_share(double probability) const {
  if (!known()) return probability;
  return boost::math::cdf(boost::math::normal(), factor() * scores.shape.quantile(probability, infinity));
}

double MixtureCalibration::log_density_ratio(double score) const {
  if (!known()) return 0.0;
  return std::log(scores.shape.density(score / factor(), infinity) / factor()) - log_normal_density(score);
}

std::string MixtureCalibration::sentence() const {
  if (!known()) return fmt::format("The mixture of fits was not calibrated: {}.", scores.reason);
  return fmt::format(
      "Errors of {} rows, each predicted from the others: {:.3g} times the fits' standard deviations, {:.3g} "
      "times by the fits whose parameters were chosen without their fold of {}. Those of the mean of fits "
      "are "
      "{:.3g} times the standard deviations that the mixture of the fits gives, and {}.",
      scores.rows, own_factor, left_out_factor, folds, scores.factor, scores.shape_sentence());
}

MixtureCalibration calibrate_mixture(const std::vector<ErrorCalibration>& fits, const Matrix& errors,
                                     const LeftOutErrors& left_out) {
  require(errors.cols() == static_cast<Index>(fits.size()), "columns of the errors", errors.cols(),
          "must be as many as the fits");
  MixtureCalibration result;
  for (const ErrorCalibration& fit : fits)
    if (!fit.known()) {
      result.scores.reason = fit.reason;
      return result;
    }
  if (left_out.sizes.size() < ErrorCalibration::fewest_rows) {
    result.scores.reason =
        fmt::format("{} rows have an error by a fit whose parameters were chosen without them; it takes {}",
                    left_out.sizes.size(), ErrorCalibration::fewest_rows);
    return result;
  }
  result.scores = calibrate(normal_scores(fits, errors));
  result.folds = left_out.folds;
  double log_factors = 0.0;
  for (const ErrorCalibration& fit : fits) log_factors += std::log(fit.factor);
  result.own_factor = std::exp(log_factors / static_cast<double>(fits.size()));
  result.left_out_factor = left_out.root_mean_square();
  return result;
}

}  // namespace gradflow
