// Intervals for a kernel that was chosen on the training rows: the choice repeated without each fold.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "gradflow/inference/left_out.h"
#include "intervals.h"

namespace gradflow::calibration {
namespace {

constexpr int folds = 5;

struct Repeated {
  LeftOutErrors errors;
  Eigen::ArrayXd residual;  // n, of the fit without the row's fold
  std::vector<Index> fold;  // n
  Matrix mean_at_new;       // m x folds
};

Repeated repeat(const Trial& trial) {
  const Index n = trial.X.rows();
  std::vector<Index> rows(static_cast<std::size_t>(n));
  std::iota(rows.begin(), rows.end(), Index{0});
  Repeated out{.errors = {},
               .residual = Eigen::ArrayXd(n),
               .fold = assign_folds(rows, folds, 31),
               .mean_at_new = Matrix(trial.X_new.rows(), folds)};
  const auto fit = [&](int k, const std::vector<Index>& kept, const std::vector<Index>& held) {
    Trial part;
    part.X = trial.X(kept, Eigen::all);
    part.y = trial.y(kept);
    const RidgeModel model(chosen_kernel(part), part.X, part.y);
    const Normals at_held = model.plug_in(Matrix(trial.X(held, Eigen::all)));
    const Vector residual = Vector(trial.y(held)) - at_held.mean;
    out.residual(held) = residual.array();
    out.mean_at_new.col(k) = model.plug_in(trial.X_new).mean;
    return Vector(residual.cwiseQuotient(at_held.sd));
  };
  out.errors = leave_folds_out(out.fold, fit).errors;
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

IntervalScore score_plus(const Repeated& repeated, const Vector& y_new) {
  IntervalScore out;
  const Index n = repeated.residual.size(), m = y_new.size();
  for (std::size_t level = 0; level < interval_levels.size(); ++level) {
    Vector lower(m), upper(m);
    std::vector<double> above(static_cast<std::size_t>(n)), below(above.size());
    for (Index x = 0; x < m; ++x) {
      for (Index i = 0; i < n; ++i) {
        const double mean = repeated.mean_at_new(x, repeated.fold[static_cast<std::size_t>(i)]),
                     r = std::abs(repeated.residual(i));
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
  const Repeated repeated = repeat(trial);
  IntervalScores scores;
  scores["cross-validation+"] = score_plus(repeated, trial.y_new);

  const Normals normals = chosen.plug_in(trial.X_new);
  IntervalScore& quantile = scores["cross-validated quantile"];
  for (std::size_t level = 0; level < interval_levels.size(); ++level) {
    const double q = repeated.errors.quantile(interval_levels[level]);
    quantile.covered[level] =
        inside(normals.mean - q * normals.sd, normals.mean + q * normals.sd, trial.y_new);
    quantile.width = 2.0 * q * normals.sd.mean();
  }
  scores["integrated, widened"] =
      score(chosen.integrated(trial.X_new), trial.y_new, repeated.errors.widening());
  return scores;
}

}  // namespace gradflow::calibration
