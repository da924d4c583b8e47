#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <utility>

#include "base/special_values.h"
#include "gradflow/inference/stopping.h"
#include "inference/search.h"

namespace gradflow {
namespace {

constexpr int grid_points = 120, interval_points = 240;
constexpr double smallest_share = 1e-14;  // of the largest time, below which none is sought

// exp(-x) = Re sum_k a_k / (1 + x / z_k), x >= 0, to 2e-7: the midpoint rule with twelve nodes, in conjugate
// pairs, on the cotangent contour of Weideman (2006), Optimizing Talbot's contours.
struct Pole {
  std::complex<double> a, inverse;  // a_k and 1/z_k
};
constexpr int pairs = 6;
std::array<Pole, pairs> poles_of_exponential() {
  constexpr double pi = 3.14159265358979323846, nodes = 2.0 * pairs;
  constexpr double sigma = 0.6122, mu = 0.5017, nu = 0.2645, alpha = 0.6407;
  std::array<Pole, pairs> poles;
  for (int k = 0; k < pairs; ++k) {
    const double theta = (2.0 * k + 1.0) * pi / nodes, cotangent = 1.0 / std::tan(alpha * theta),
                 sine = std::sin(alpha * theta);
    const std::complex<double> z = nodes * std::complex<double>(mu * theta * cotangent - sigma, nu * theta);
    const std::complex<double> slope =
        nodes * std::complex<double>(mu * (cotangent - alpha * theta / (sine * sine)), nu);
    // 2/nodes exp(z) dz/dtheta / (i (z + x))
    const std::complex<double> weight = std::exp(z) * slope / std::complex<double>(0.0, 0.5 * nodes);
    poles[static_cast<std::size_t>(k)] = {weight / z, 1.0 / z};
  }
  // exactly 1 at x = 0, where most directions may be
  double sum = 0.0;
  for (const Pole& pole : poles) sum += pole.a.real();
  for (Pole& pole : poles) pole.a /= sum;
  return poles;
}

Vector counts_of(const SpectralData& data) {
  return data.multiplicity.size() == 0 ? Vector(Vector::Ones(data.values.size())) : data.multiplicity;
}

// The values that a trace sees.
struct Counted {
  Vector values, multiplicity;
  double count;

  explicit Counted(const SpectralData& data) : count(data.count()) {
    const Vector counts = counts_of(data);
    std::vector<Index> used;
    for (Index i = 0; i < counts.size(); ++i)
      if (counts(i) != 0.0) used.push_back(i);
    values = data.values(used);
    multiplicity = counts(used);
  }
};

// G at each value.
Eigen::ArrayXd factors(const Counted& on, const Path& path) {
  const bool resolvent =
      path.kind == PathKind::ridge || (path.kind == PathKind::implicit && path.iterations == 1);
  if (resolvent) {
    const Eigen::ArrayXd phi = path.phi(on.values).array();
    return phi * (on.count / (on.multiplicity.array() * phi).sum());
  }
  static const std::array<Pole, pairs> poles = poles_of_exponential();
  const Eigen::ArrayXd x = -path.log_phi(on.values).array();
  Eigen::ArrayXd sum = Eigen::ArrayXd::Zero(x.size());
  for (const Pole& pole : poles) {
    // phi_k = 1 / (1 + x / z_k), its mean over the directions, and the real part of a_k phi_k / mean
    const Eigen::ArrayXd real = 1.0 + x * pole.inverse.real(), imaginary = x * pole.inverse.imag();
    const Eigen::ArrayXd size = (real.square() + imaginary.square()).inverse();
    const Eigen::ArrayXd phi_real = real * size, phi_imaginary = -imaginary * size;
    const std::complex<double> mean((on.multiplicity.array() * phi_real).sum() / on.count,
                                    (on.multiplicity.array() * phi_imaginary).sum() / on.count);
    const std::complex<double> factor = pole.a / mean;
    sum += factor.real() * phi_real - factor.imag() * phi_imaginary;
  }
  return sum;
}

double criterion(const Counted& on, const Path& path, const Eigen::ArrayXd& variances) {
  return (on.multiplicity.array() * variances * factors(on, path).square()).sum() / on.count;
}

// Times between which the least is sought. On the flow a direction is best at log(1 + prior)/lambda in
// sample; out of sample the others' divisors move it, either way.
struct TimeRange {
  double low, high;
};
TimeRange range_of(const SpectralData& data, const Counted& on, const Vector& prior,
                   const StoppingOptions& options) {
  // From eigenvectors small divisors are exact.
  const double high = data.multiplicity.size() == 0
                          ? largest_time(data, options.path, options.reml.largest_shrinkage)
                          : largest_time_for_ratios(data, options);
  double low = high;
  const double unit = options.path.kind == PathKind::descent ? options.path.learning_rate : 1.0;
  for (Index i = 0; i < on.values.size(); ++i)
    if (on.values(i) > 0.0 && prior(i) > 0.0)
      low = std::min(low, std::log1p(prior(i)) / (unit * on.values(i)));
  low = std::max(0.01 * low, smallest_share * high);
  if (options.path.kind == PathKind::descent) low = std::max(1.0, low);
  return {std::min(low, 0.5 * high), high};
}

Minimum minimise(const SpectralData& data, const Counted& on, const Vector& prior,
                 const StoppingOptions& options) {
  const TimeRange range = range_of(data, on, prior, options);
  const Eigen::ArrayXd variances = 1.0 + prior.array();
  const auto expected = [&](double time) { return criterion(on, options.path.at(time), variances); };
  return minimise_over_time(expected, log_grid(range.low, range.high, grid_points),
                            options.path.kind == PathKind::descent);
}

// Where the least of the values lies on the grid, by the parabola through it and its neighbours in log time:
// 0 before the first, infinity behind the last.
double least_between(const TimeGrid& grid, const Vector& values) {
  Index least = 0;
  values.minCoeff(&least);
  if (least == 0) return 0.0;
  if (least + 1 == values.size()) return infinity;
  const double left = values(least - 1) - values(least), right = values(least + 1) - values(least);
  const double step = std::log(grid[1] / grid[0]);
  const double shift = left + right > 0.0 ? 0.5 * (left - right) / (left + right) : 0.0;
  return grid[static_cast<std::size_t>(least)] * std::exp(step * shift);
}

struct WeightedTime {
  double time, weight;
};

// Linear between the middles of the weights.
double quantile_of(const std::vector<WeightedTime>& sorted, double probability) {
  double below = 0.0, middle_before = 0.0;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    const double middle = below + 0.5 * sorted[i].weight;
    if (middle >= probability) {
      if (i == 0 || !std::isfinite(sorted[i].time)) return sorted[i].time;
      const double part = (probability - middle_before) / (middle - middle_before);
      return sorted[i - 1].time + part * (sorted[i].time - sorted[i - 1].time);
    }
    below += sorted[i].weight;
    middle_before = middle;
  }
  return sorted.back().time;
}

// The time that is best under each model, by its posterior weight: the quantiles of that distribution.
Interval interval_of(const SpectralData& data, const Counted& on, const AveragedSignal& signal,
                     const StoppingOptions& options, double best) {
  const Path& family = options.path;
  const double level = options.reml.level;
  const TimeRange range = range_of(data, on, signal.prior(on.values), options);
  const TimeGrid grid = log_grid(0.1 * range.low, range.high, interval_points);
  Matrix squares(on.values.size(), interval_points);
  for (int t = 0; t < interval_points; ++t)
    squares.col(t) =
        on.multiplicity.array() * factors(on, family.at(grid[static_cast<std::size_t>(t)])).square();
  const Vector noise = squares.colwise().sum().transpose();
  std::vector<WeightedTime> times;
  Vector part;  // the signal's, of the first model of each power
  const SignalModel* first = nullptr;
  for (const SignalModel& model : signal.models) {
    if (first == nullptr || model.power == 0.0 || model.power != first->power) {
      first = &model;
      part = squares.transpose() * model.prior(on.values, signal.largest);
    }
    // Models of one power differ by a factor.
    const double factor = std::exp(model.power == 0.0 ? 0.0 : model.log_scale - first->log_scale);
    times.push_back({least_between(grid, noise + factor * part), model.weight});
  }
  std::sort(times.begin(), times.end(), [](const auto& a, const auto& b) { return a.time < b.time; });
  Interval interval{quantile_of(times, 0.5 * (1.0 - level)), quantile_of(times, 0.5 * (1.0 + level)), level};
  if (family.kind == PathKind::descent)
    interval = {std::floor(interval.lower), std::ceil(interval.upper), level};
  return {std::min(best, interval.lower), std::max(best, interval.upper), level};
}

}  // namespace

Vector leave_one_out_factors(const SpectralData& data, const Path& path) {
  const Counted on(data);
  return factors(on, path);
}

double expected_loo(const SpectralData& data, const Path& path, const Vector& prior) {
  const Counted on(data);
  const Vector counts = counts_of(data);
  std::vector<Index> used;
  for (Index i = 0; i < counts.size(); ++i)
    if (counts(i) != 0.0) used.push_back(i);
  return criterion(on, path, 1.0 + prior(used).array());
}

double expected_loo_time(const SpectralData& data, const RemlFit& ridge, const StoppingOptions& options) {
  if (ridge.outcome == Outcome::at_zero) return 0.0;
  const AveragedSignal signal = average_signal(data, ridge, options.reml);
  if (!usable(signal.outcome)) return not_a_number;
  const Counted on(data);
  return minimise(data, on, signal.prior(on.values), options).time;
}

StoppingRule stop_by_expected_loo(const StoppingProblem& problem, const RemlFit& ridge,
                                  const StoppingOptions& options) {
  StoppingRule rule;
  rule.kind = RuleKind::expected_loo;
  rule.name = rule_name(rule.kind, options.path.kind);
  rule.interval.level = options.reml.level;
  const SpectralData& data = problem.data;
  const AveragedSignal signal = average_signal(data, ridge, options.reml);
  rule.outcome = signal.outcome;
  rule.reason = ridge.reason;
  if (!usable(signal.outcome)) return rule;
  const Counted on(data);
  const Vector prior = signal.prior(on.values);
  const Minimum minimum = minimise(data, on, prior, options);
  rule.time = minimum.time;
  if (minimum.at_bound) rule.outcome = Outcome::on_boundary;
  rule.reason = fmt::format(
      "expected leave-one-out error, signal averaged over its posterior (powers of M: {:.2f} on average; "
      "probability of the flow's own covariance: {:.2f})",
      signal.power, signal.flow_probability);
  if (minimum.at_bound) rule.reason += ": still falling at the largest time that was searched";
  rule.interval = interval_of(data, on, signal, options, rule.time);
  if (ridge.outcome == Outcome::at_zero) {
    rule.outcome = Outcome::at_zero;
    rule.reason = "REML finds no signal along M: " + ridge.reason;
    rule.time = rule.interval.lower = 0.0;
  }
  const Path path = options.path.at(rule.time);
  rule.effective_dof = data.effective_dof(path);
  rule.estimated_rmse = std::sqrt(signal.noise_variance * criterion(on, path, 1.0 + prior.array()));
  return rule;
}

}  // namespace gradflow
