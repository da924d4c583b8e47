#pragma once

#include <functional>
#include <vector>

#include "gradflow/inference/outcome.h"

namespace gradflow {

/// Global one-dimensional searches over a time >= 0, shared by the likelihoods and the stopping rules.

using TimeGrid = std::vector<double>;                  ///< positive, ascending
using Criterion = std::function<double(double time)>;  ///< smaller is better; +inf or NaN: not attained there

TimeGrid log_grid(double low, double high, int points);

struct Minimum {
  double time = 0.0;
  double value = 0.0;
  bool at_zero = false;   ///< no time beats 0
  bool at_bound = false;  ///< the last grid point is the best: the criterion still falls there
  long evaluations = 0;
  TimeGrid grid;
};

/// at_zero, on_boundary or converged.
Outcome outcome_of(const Minimum& minimum);

/// The grid's best point, refined between its neighbours by Brent's method in log time to about 1e-8
/// relative; `whole`: to the best whole number instead. Time 0 competes. Values within 1e-10 relative are
/// equal, and the earliest of equals wins.
Minimum minimise_over_time(const Criterion& criterion, TimeGrid grid, bool whole);

/// The same when the values on the grid are known already.
Minimum refine_minimum(const Criterion& criterion, TimeGrid grid, const std::vector<double>& values,
                       double value_at_zero, bool whole);

/// For criteria that are cheap only many times at once: the grid's best point, then twice 33 times between
/// its neighbours: to 0.05 % of the time where the grid's steps are 12 %.
using ManyCriteria = std::function<std::vector<double>(const TimeGrid& times)>;
Minimum minimise_by_zooming(const ManyCriteria& criteria, TimeGrid grid, bool whole);

/// Outermost times at which criterion <= best + drop: [0 or lower crossing, upper crossing or +inf].
Interval profile_interval(const Criterion& criterion, TimeGrid grid, double best_time, double best,
                          double drop, double level);

}  // namespace gradflow
