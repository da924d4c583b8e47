#include "inference/search.h"
#include "base/special_values.h"

#include <algorithm>
#include <boost/math/tools/minima.hpp>
#include <boost/math/tools/toms748_solve.hpp>
#include <cmath>
#include <cstdint>
#include <utility>

namespace gradflow {
namespace {

double or_infinite(double value) { return std::isnan(value) ? infinity : value; }

// Better by more than rounding: where a criterion is flat the earliest time wins, on any machine.
bool better(double value, double best) {
  if (std::isinf(best)) return value < best;
  return or_infinite(value) < best - 1e-10 * std::abs(best);
}

// The first of the best values.
std::size_t index_of_best(const std::vector<double>& values) {
  std::size_t best = 0;
  double least = infinity;
  for (std::size_t i = 0; i < values.size(); ++i)
    if (better(values[i], least)) {
      best = i;
      least = values[i];
    }
  return best;
}

// The whole number nearest to a continuous minimiser that does best.
void round_to_whole(const Criterion& criterion, Minimum& minimum) {
  const double low = std::floor(minimum.time), high = low + 1.0;
  const double at_low = low > 0.0 ? or_infinite(criterion(low)) : infinity;
  const double at_high = or_infinite(criterion(high));
  minimum.evaluations += 2;
  minimum.time = at_low <= at_high ? low : high;
  minimum.value = std::min(at_low, at_high);
}

// Where criterion - ceiling changes sign between an inside and an outside point.
double crossing(const Criterion& criterion, double ceiling, double inside, double outside) {
  const auto excess = [&](double time) { return std::min(or_infinite(criterion(time)) - ceiling, 1e300); };
  const double low = std::min(inside, outside), high = std::max(inside, outside);
  const double at_low = excess(low), at_high = excess(high);
  if (at_low == 0.0) return low;
  if (at_high == 0.0) return high;
  if ((at_low > 0.0) == (at_high > 0.0)) return outside;
  std::uintmax_t iterations = 200;
  const auto root = boost::math::tools::toms748_solve(
      excess, low, high, at_low, at_high, boost::math::tools::eps_tolerance<double>(40), iterations);
  return 0.5 * (root.first + root.second);
}

}  // namespace

TimeGrid log_grid(double low, double high, int points) {
  TimeGrid grid(static_cast<std::size_t>(points));
  const double step = std::log(high / low) / (points - 1);
  for (int i = 0; i < points; ++i) grid[static_cast<std::size_t>(i)] = low * std::exp(step * i);
  grid.back() = high;
  return grid;
}

Outcome outcome_of(const Minimum& minimum) {
  if (minimum.at_zero) return Outcome::at_zero;
  return minimum.at_bound ? Outcome::on_boundary : Outcome::converged;
}

Minimum refine_minimum(const Criterion& criterion, TimeGrid grid, const std::vector<double>& values,
                       double value_at_zero, bool whole) {
  Minimum minimum;
  const std::size_t best = index_of_best(values);
  minimum.at_bound = best + 1 == grid.size();
  minimum.time = grid[best];
  minimum.value = or_infinite(values[best]);
  if (!minimum.at_bound) {
    const double low = std::log(best == 0 ? 1e-6 * grid[0] : grid[best - 1]), high = std::log(grid[best + 1]);
    std::uintmax_t iterations = 100;
    const auto [log_time, value] = boost::math::tools::brent_find_minima(
        [&](double x) { return or_infinite(criterion(std::exp(x))); }, low, high, 26, iterations);
    minimum.evaluations += static_cast<long>(iterations);
    if (better(value, minimum.value)) {
      minimum.time = std::exp(log_time);
      minimum.value = value;
    }
    if (whole) round_to_whole(criterion, minimum);
  }
  if (or_infinite(value_at_zero) <= minimum.value) {
    minimum.at_zero = true;
    minimum.at_bound = false;
    minimum.time = 0.0;
    minimum.value = value_at_zero;
  }
  minimum.grid = std::move(grid);
  return minimum;
}

Minimum minimise_over_time(const Criterion& criterion, TimeGrid grid, bool whole) {
  std::vector<double> values;
  values.reserve(grid.size());
  if (whole)
    for (double& time : grid) time = std::max(1.0, std::round(time));
  for (const double time : grid) values.push_back(criterion(time));
  const double at_zero = criterion(0.0);
  Minimum minimum = refine_minimum(criterion, std::move(grid), values, at_zero, whole);
  minimum.evaluations += static_cast<long>(values.size()) + 1;
  return minimum;
}

Minimum minimise_by_zooming(const ManyCriteria& criteria, TimeGrid grid, bool whole) {
  Minimum minimum;
  const double bound = grid.back();
  for (int pass = 0; pass < 3; ++pass) {
    if (whole)
      for (double& time : grid) time = std::max(1.0, std::round(time));
    const std::vector<double> values = criteria(grid);
    minimum.evaluations += static_cast<long>(values.size());
    const std::size_t best = index_of_best(values);
    minimum.time = grid[best];
    minimum.value = or_infinite(values[best]);
    minimum.at_bound = minimum.time == bound;
    const double low = grid[best == 0 ? 0 : best - 1], high = grid[std::min(best + 1, grid.size() - 1)];
    if (minimum.at_bound || !(high > low)) break;
    grid = log_grid(low, high, 33);
  }
  const double at_zero = or_infinite(criteria({0.0}).front());
  if (at_zero <= minimum.value) {
    minimum.time = 0.0;
    minimum.value = at_zero;
    minimum.at_zero = true;
    minimum.at_bound = false;
  }
  return minimum;
}

Interval profile_interval(const Criterion& criterion, TimeGrid grid, double best_time, double best,
                          double drop, double level) {
  const double ceiling = best + drop;
  grid.push_back(best_time);
  grid.push_back(0.0);
  std::sort(grid.begin(), grid.end());
  std::size_t first = grid.size(), last = 0;
  for (std::size_t i = 0; i < grid.size(); ++i) {
    if (grid[i] != best_time && !(criterion(grid[i]) <= ceiling)) continue;
    first = std::min(first, i);
    last = i;
  }
  Interval interval{0.0, infinity, level};
  if (first > 0) interval.lower = crossing(criterion, ceiling, grid[first], grid[first - 1]);
  if (last + 1 < grid.size()) interval.upper = crossing(criterion, ceiling, grid[last], grid[last + 1]);
  return interval;
}

}  // namespace gradflow
