#include <boost/math/distributions/chi_squared.hpp>
#include <boost/math/tools/minima.hpp>
#include <cmath>
#include <cstdint>

#include "base/special_values.h"
#include "gradflow/inference/reml.h"
#include "inference/search.h"

namespace gradflow {
namespace {

// Of kappa lambda_1 / tau: besides these, 0 is the ridge fit and infinity is M^2 alone.
constexpr int ratios = 25;
constexpr double smallest_ratio = 0.1, largest_ratio = 1e6;
constexpr int scales = 40;
constexpr double smallest_scale = 1e-7;

// (tau, kappa) = u (first, second), u in (0, bound].
struct Direction {
  double first = 0.0, second = 0.0;
  double low = 0.0, bound = 0.0;
};

// tau lambda_1 <= S and kappa lambda_1^2 <= S^2 keep the roots of 1 + tau lambda + kappa lambda^2 some
// lambda_1 / S away from the spectrum, as ridge's is: what a Krylov space resolves for the one it does for
// the other.
Direction direction_of(double ratio, double largest, double shrinkage) {
  const double square = largest * largest;
  if (std::isinf(ratio)) return {0.0, 1.0 / square, smallest_scale, shrinkage * shrinkage};
  return {1.0 / largest, ratio / square, smallest_scale / (1.0 + ratio),
          std::min(shrinkage, shrinkage * shrinkage / ratio)};
}

struct Candidate {
  Direction direction;
  Minimum scale;
};

class ShareSearch {
 public:
  ShareSearch(const SpectralData& data, const RemlOptions& options)
      : data_(data), largest_(data.values.maxCoeff()), shrinkage_(options.largest_shrinkage) {}

  // The best over all ratios but 0.
  Candidate best() const {
    TimeGrid grid = log_grid(smallest_ratio, largest_ratio, ratios);
    std::size_t least = 0;
    Candidate best = at(infinity);
    bool interior = false;
    for (std::size_t i = 0; i < grid.size(); ++i) {
      const Candidate candidate = at(grid[i]);
      if (!(candidate.scale.value < best.scale.value)) continue;
      best = candidate;
      least = i;
      interior = true;
    }
    if (!interior) return best;
    const double low = std::log(least == 0 ? 0.01 * grid[0] : grid[least - 1]);
    const double high = std::log(least + 1 == grid.size() ? 100.0 * grid.back() : grid[least + 1]);
    std::uintmax_t iterations = 40;
    const double log_ratio =
        boost::math::tools::brent_find_minima([&](double x) { return at(std::exp(x)).scale.value; }, low,
                                              high, 20, iterations)
            .first;
    const Candidate refined = at(std::exp(log_ratio));
    return refined.scale.value < best.scale.value ? refined : best;
  }

 private:
  Candidate at(double ratio) const {
    const Direction d = direction_of(ratio, largest_, shrinkage_);
    const auto criterion = [&](double u) {
      return two_component_criterion(data_, u * d.first, u * d.second);
    };
    return {d, minimise_over_time(criterion, log_grid(d.low, d.bound, scales), false)};
  }

  const SpectralData& data_;
  double largest_, shrinkage_;
};

double signal_free_squares(const SpectralData& data, double tau, double kappa) {
  const Eigen::ArrayXd lambda = data.values.array();
  return (data.z.array().square() / (1.0 + lambda * (tau + kappa * lambda))).sum();
}

}  // namespace

Vector TwoComponentFit::prior(const Vector& lambda) const {
  return lambda.array() * (tau + kappa * lambda.array());
}

TwoComponentFit TwoComponentFit::of(const RemlFit& ridge) {
  TwoComponentFit fit;
  fit.outcome = ridge.outcome;
  fit.tau = ridge.path.time;
  fit.kappa = 0.0;
  fit.criterion = ridge.criterion;
  fit.noise_variance = ridge.noise_variance;
  return fit;
}

double two_component_criterion(const SpectralData& data, double tau, double kappa) {
  const Eigen::ArrayXd lambda = data.values.array();
  const Eigen::ArrayXd variance = 1.0 + lambda * (tau + kappa * lambda);
  // A sum of logarithms around 1: its rounding is that of the variances, and log is vectorised where log1p is
  // not.
  const Vector log_variance = variance.log();
  const double squares = (data.z.array().square() / variance).sum();
  return data.count() * std::log(squares / data.count()) + data.trace_of(log_variance);
}

TwoComponentFit fit_two_components(const SpectralData& data, const RemlFit& ridge,
                                   const RemlOptions& options) {
  TwoComponentFit fit = TwoComponentFit::of(ridge);
  fit.scale.level = options.level;
  if (!usable(ridge.outcome)) return fit;
  const auto [direction, scale] = ShareSearch(data, options).best();
  // Beyond rounding only: where M^2 adds nothing the ridge fit stays to the bit.
  if (!(scale.time > 0.0 && scale.value < ridge.criterion - 1e-9 * data.count())) return fit;
  fit.outcome = outcome_of(scale);
  fit.tau = scale.time * direction.first;
  fit.kappa = scale.time * direction.second;
  fit.criterion = scale.value;
  fit.noise_variance = signal_free_squares(data, fit.tau, fit.kappa) / data.count();
  if (!options.interval) return fit;
  const double drop = boost::math::quantile(boost::math::chi_squared(1.0), options.level);
  const auto criterion = [&](double c) { return two_component_criterion(data, c * fit.tau, c * fit.kappa); };
  fit.scale =
      profile_interval(criterion, log_grid(direction.low / scale.time, direction.bound / scale.time, 200),
                       1.0, fit.criterion, drop, options.level);
  return fit;
}

}  // namespace gradflow
