#include "gradflow/inference/profile_intervals.h"

#include <algorithm>
#include <boost/math/distributions/chi_squared.hpp>
#include <boost/math/special_functions/lambert_w.hpp>
#include <boost/math/tools/minima.hpp>
#include <cmath>
#include <cstdint>

#include "base/special_values.h"
#include "gradflow/base/error.h"
#include "inference/search.h"

namespace gradflow {
namespace {

constexpr int interior_points = 200;

// Sum of (1 - phi) z^2 over that of z^2: the limits at infinite time are exact.
double signal_share(const SpectralData& data, const Path& path) {
  return (path.filter(data.values).array() * data.z.array().square()).sum() / data.z.squaredNorm();
}

// Times across the hull of S: its ends, and between them log-spaced points.
TimeGrid times_across(const SpectralData& data, const RemlFit& fit) {
  const double scale = 1.0 / data.values.maxCoeff();
  double high = fit.interval.upper;
  if (std::isinf(high))
    high = std::isinf(fit.upper_bound) ? 1e6 * std::max(fit.path.time, scale) : fit.upper_bound;
  const double low = fit.interval.lower;
  TimeGrid grid{low};
  if (high > low) {
    const double first = low > 0.0 ? low : std::min(1e-4 * scale, 1e-3 * high);
    const TimeGrid interior = log_grid(first, high, interior_points);
    grid.insert(grid.end(), interior.begin() + (low > 0.0 ? 1 : 0), interior.end());
  }
  grid.push_back(fit.path.time);
  std::sort(grid.begin(), grid.end());
  grid.erase(std::unique(grid.begin(), grid.end()), grid.end());
  return grid;
}

// Ends of { s2 : N log s2 + A/s2 + v <= Q_min + c } in terms of x = N s2 / A.
struct Ends {
  double low, high;
};
Ends noise_ends(double slack_per_row) {
  const double argument = -std::exp(-1.0 - slack_per_row);
  return {-1.0 / boost::math::lambert_wm1(argument), -1.0 / boost::math::lambert_w0(argument)};
}

class Profile {
 public:
  Profile(const SpectralData& data, const RemlFit& fit, double level)
      : data_(data),
        fit_(fit),
        ceiling_(fit.criterion + boost::math::quantile(boost::math::chi_squared(1.0), level)),
        grid_(times_across(data, fit)) {
    for (const double time : grid_) inside_.push_back(slack(time) >= -1e-7);
  }

  // The image of S, and whether the function increases over it.
  template <typename Function>
  std::pair<Interval, bool> image(Function function) const {
    double least = infinity, most = -infinity, previous = -infinity;
    bool monotone = true;
    for (std::size_t i = 0; i < grid_.size(); ++i) {
      const double value = function(fit_.path.at(grid_[i]));
      monotone = monotone && value >= previous - 1e-12 * std::abs(previous);
      previous = value;
      if (!inside_[i]) continue;
      least = std::min(least, value);
      most = std::max(most, value);
    }
    if (std::isinf(fit_.interval.upper)) most = std::max(most, function(fit_.path.at(infinity)));
    return {Interval{least, most, fit_.interval.level}, monotone};
  }

  Interval noise_variance() const {
    Interval interval{infinity, 0.0, fit_.interval.level};
    std::size_t lowest = 0, highest = 0;
    for (std::size_t i = 0; i < grid_.size(); ++i) {
      if (!inside_[i]) continue;
      const Ends ends = noise_ends_at(grid_[i]);
      if (ends.low < interval.lower) interval.lower = ends.low, lowest = i;
      if (ends.high > interval.upper) interval.upper = ends.high, highest = i;
    }
    interval.lower =
        std::min(interval.lower, refined(lowest, [&](double t) { return noise_ends_at(t).low; }));
    interval.upper =
        std::max(interval.upper, -refined(highest, [&](double t) { return -noise_ends_at(t).high; }));
    if (std::isinf(fit_.interval.upper)) interval.lower = 0.0;
    return interval;
  }

 private:
  double slack(double time) const { return ceiling_ - reml_criterion(data_, fit_.path.at(time)); }

  Ends noise_ends_at(double time) const {
    const Path path = fit_.path.at(time);
    const double s2 = reml_noise_variance(data_, path);
    const Ends ends = noise_ends(std::max(0.0, slack(time)) / data_.count());
    return {ends.low * s2, ends.high * s2};
  }

  // The least value between the neighbours of grid point i, both within the hull of S.
  template <typename Function>
  double refined(std::size_t i, Function function) const {
    const double low = grid_[i == 0 ? 0 : i - 1], high = grid_[std::min(i + 1, grid_.size() - 1)];
    if (!(high > low)) return function(grid_[i]);
    std::uintmax_t iterations = 60;
    const auto inside = [&](double time) { return slack(time) >= 0.0 ? function(time) : infinity; };
    return boost::math::tools::brent_find_minima(inside, low, high, 26, iterations).second;
  }

  const SpectralData& data_;
  const RemlFit& fit_;
  double ceiling_;
  TimeGrid grid_;
  std::vector<bool> inside_;
};

std::string time_reason(const RemlFit& fit) {
  if (fit.outcome == Outcome::at_zero)
    return "the estimate is zero: the lower end is zero and the interval covers more than its level";
  if (fit.outcome == Outcome::on_boundary || std::isinf(fit.interval.upper))
    return fmt::format("the likelihood does not bound the time from above (searched up to {:.6g})",
                       fit.upper_bound);
  if (fit.interval.lower == 0.0) return "zero is inside the interval: the data do not exclude no training";
  return "profile likelihood";
}

std::string noise_reason(const RemlFit& fit) {
  if (std::isinf(fit.interval.upper))
    return "the time is not bounded from above: the noise variance is not bounded away from zero";
  return "profile likelihood over the time, with the noise variance free";
}

std::string image_reason(const RemlFit& fit, bool monotone) {
  if (!monotone) return "range over the times that the profile likelihood does not exclude";
  if (fit.outcome == Outcome::at_zero) return "image of the time's interval, whose lower end is zero";
  if (std::isinf(fit.interval.upper))
    return "image of the time's interval, which has no upper end: the upper end here is the limit";
  return "image of the time's interval";
}

ProfileInterval with(const RemlFit& fit, std::string reason, double estimate, const Interval& interval) {
  return {fit.outcome, std::move(reason), estimate, interval};
}

}  // namespace

ProfileIntervals profile_intervals(const SpectralData& data, const RemlFit& fit, const RemlOptions& options) {
  options.check();
  ProfileIntervals result;
  result.fit = fit;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Interval none{nan, nan, options.level};
  if (!usable(fit.outcome) || std::isinf(fit.path.time)) {
    const bool infinite = usable(fit.outcome);
    const auto without = [&](double estimate) { return with(fit, fit.reason, estimate, none); };
    result.time = without(fit.path.time);
    result.signal_share = without(infinite ? signal_share(data, fit.path) : nan);
    result.effective_dof = without(infinite ? data.effective_dof(fit.path) : nan);
    result.noise_variance = without(nan);
    return result;
  }
  require(fit.interval.level == options.level, "level of the fit's interval", fit.interval.level,
          "must be that of the options");
  const Profile profile(data, fit, options.level);
  const auto [share, share_monotone] =
      profile.image([&](const Path& path) { return signal_share(data, path); });
  const auto [dof, dof_monotone] = profile.image([&](const Path& path) { return data.effective_dof(path); });
  const std::string image = image_reason(fit, share_monotone && dof_monotone);
  result.images_are_monotone = share_monotone && dof_monotone;
  result.time = with(fit, time_reason(fit), fit.path.time, fit.interval);
  result.signal_share = with(fit, image, fit.signal_share, share);
  result.effective_dof = with(fit, image, fit.effective_dof, dof);
  result.noise_variance = with(fit, noise_reason(fit), fit.noise_variance, profile.noise_variance());
  return result;
}

ProfileIntervals profile_intervals(const SpectralData& data, const Path& family, const RemlOptions& options) {
  return profile_intervals(data, fit_reml(data, family, options), options);
}

}  // namespace gradflow
