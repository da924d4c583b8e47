// Intervals for a kernel that was chosen on the training rows: the choice repeated without each fold.
#include <algorithm>
#include <cmath>

#include "gradflow/base/random.h"
#include "intervals.h"

namespace gradflow::calibration {
namespace {

constexpr Index folds = 5;

struct LeftOut {
  Eigen::ArrayXd residual, sd;  // n, of the fit without the row's fold
  Eigen::ArrayXi fold;          // n
  Matrix mean_at_new;           // m x folds
};

LeftOut leave_folds_out(const Trial& trial) {
  const Index n = trial.X.rows();
  LeftOut out{Eigen::ArrayXd(n), Eigen::ArrayXd(n), Eigen::ArrayXi(n), Matrix(trial.X_new.rows(), folds)};
  const auto order = RandomStream(31, "folds").permutation(n);
  for (Index k = 0; k < folds; ++k) {
    std::vector<Index> kept, held;
    for (Index i = 0; i < n; ++i)
      (i % folds == k ? held : kept).push_back(order[static_cast<std::size_t>(i)]);
    Trial part;
    part.X = trial.X(kept, Eigen::all);
    part.y = trial.y(kept);
    const RidgeModel model(chosen_kernel(part), part.X, part.y);
    const Normals at_held = model.plug_in(Matrix(trial.X(held, Eigen::all)));
    for (std::size_t j = 0; j < held.size(); ++j) {
      const auto from = static_cast<Index>(j);
      out.residual(held[j]) = trial.y(held[j]) - at_held.mean(from);
      out.sd(held[j]) = at_held.sd(from);
      out.fold(held[j]) = static_cast<int>(k);
    }
    out.mean_at_new.col(k) = model.plug_in(trial.X_new).mean;
  }
  return out;
}

// The k-th smallest, k = ceil(level (n + 1)).
double order_statistic(std::vector<double> values, double level) {
  const auto n = static_cast<double>(values.size());
  const auto k = static_cast<std::ptrdiff_t>(std::ceil(level * (n + 1.0) - 1e-9));
  if (k > static_cast<std::ptrdiff_t>(values.size())) return std::numeric_limits<double>::infinity();
  std::nth_element(values.begin(), values.begin() + (k - 1), values.end());
  return values[static_cast<std::size_t>(k - 1)];
}

IntervalScore score_plus(const LeftOut& left_out, const Vector& y_new) {
  IntervalScore out;
  const Index n = left_out.residual.size(), m = y_new.size();
  for (std::size_t level = 0; level < interval_levels.size(); ++level) {
    Vector lower(m), upper(m);
    std::vector<double> above(static_cast<std::size_t>(n)), below(above.size());
    for (Index x = 0; x < m; ++x) {
      for (Index i = 0; i < n; ++i) {
        const double mean = left_out.mean_at_new(x, left_out.fold(i)), r = std::abs(left_out.residual(i));
        above[static_cast<std::size_t>(i)] = mean + r;
        below[static_cast<std::size_t>(i)] = r - mean;
      }
      upper(x) = order_statistic(above, interval_levels[level]);
      lower(x) = -order_statistic(below, interval_levels[level]);
    }
    out.covered[level] = inside(lower, upper, y_new);
    out.width = (upper - lower).mean();
  }
  return out;
}

}  // namespace

IntervalScores score_remedies(const RidgeModel& chosen, const Trial& trial) {
  const LeftOut left_out = leave_folds_out(trial);
  const Eigen::ArrayXd ratio = left_out.residual.abs() / left_out.sd;
  IntervalScores scores;
  scores["cross-validation+"] = score_plus(left_out, trial.y_new);

  const Normals normals = chosen.plug_in(trial.X_new);
  IntervalScore& quantile = scores["cross-validated quantile"];
  for (std::size_t level = 0; level < interval_levels.size(); ++level) {
    const double q = order_statistic({ratio.begin(), ratio.end()}, interval_levels[level]);
    quantile.covered[level] =
        inside(normals.mean - q * normals.sd, normals.mean + q * normals.sd, trial.y_new);
    quantile.width = 2.0 * q * normals.sd.mean();
  }
  scores["integrated, widened"] =
      score(chosen.integrated(trial.X_new), trial.y_new, std::max(1.0, std::sqrt(ratio.square().mean())));
  return scores;
}

}  // namespace gradflow::calibration
