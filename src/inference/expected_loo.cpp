#include "gradflow/inference/expected_loo.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <utility>

#include "base/special_values.h"
#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/inference/stopping.h"
#include "inference/measures.h"
#include "inference/search.h"

namespace gradflow {
namespace {

constexpr int grid_points = 120, interval_points = 240;
constexpr double nearby = 1.5;  // factor of a time that resampled data are searched within first
constexpr int nearby_points = 7;
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

// A spectrum that a trace sees, and where functions of it are wanted.
struct Places {
  const Vector &values, &multiplicity, &wanted;
  double count;
};

double mean(const Places& at, const Eigen::ArrayXd& f) {
  return (at.multiplicity.array() * f).sum() / at.count;
}

// 1 / (1 + x / z)
struct Resolvent {
  Eigen::ArrayXd real, imaginary;
  Resolvent(const Eigen::ArrayXd& x, std::complex<double> inverse) {
    const Eigen::ArrayXd above = 1.0 + x * inverse.real(), beside = x * inverse.imag();
    const Eigen::ArrayXd size = (above.square() + beside.square()).inverse();
    real = above * size;
    imaginary = -beside * size;
  }
};

// G where it is wanted.
Vector factors_at(const Places& at, const Path& path) {
  const bool resolvent =
      path.kind == PathKind::ridge || (path.kind == PathKind::implicit && path.iterations == 1);
  if (resolvent) return path.phi(at.wanted) / mean(at, path.phi(at.values).array());
  static const std::array<Pole, pairs> poles = poles_of_exponential();
  const Eigen::ArrayXd x = -path.log_phi(at.values).array(), x_wanted = -path.log_phi(at.wanted).array();
  Eigen::ArrayXd sum = Eigen::ArrayXd::Zero(x_wanted.size());
  for (const Pole& pole : poles) {
    const Resolvent counted(x, pole.inverse), wanted(x_wanted, pole.inverse);
    const std::complex<double> factor =
        pole.a / std::complex<double>(mean(at, counted.real), mean(at, counted.imaginary));
    sum += factor.real() * wanted.real - factor.imag() * wanted.imaginary;
  }
  return sum;
}

// Times between which the least is sought. On the flow a direction is best at log(1 + prior)/lambda in
// sample; out of sample the others' divisors move it, either way.
struct TimeRange {
  double low, high;
};
TimeRange range_of(const SpectralData& data, const AveragedSignal& signal, const StoppingOptions& options) {
  // Beyond 99 % of N degrees of freedom more training changes next to nothing, and the time is not
  // determined.
  StoppingOptions within = options;
  within.reml.largest_shrinkage = std::min(options.reml.largest_shrinkage, options.reach);
  const double high = largest_time_for_ratios(data, within);
  double low = high;
  const double unit = options.path.kind == PathKind::descent ? options.path.learning_rate : 1.0;
  const Vector prior = signal.prior(data.values);
  for (Index i = 0; i < data.values.size(); ++i)
    if (data.values(i) > 0.0 && prior(i) > 0.0)
      low = std::min(low, std::log1p(prior(i)) / (unit * data.values(i)));
  low = std::max(0.01 * low, smallest_share * high);
  if (options.path.kind == PathKind::descent) low = std::max(1.0, low);
  return {std::min(low, 0.5 * high), high};
}

Minimum minimise(const ExpectedLoo& expected, const TimeRange& range, const Path& family) {
  return minimise_over_time([&](double time) { return expected(family.at(time)); },
                            log_grid(range.low, range.high, grid_points), family.kind == PathKind::descent);
}

// Where the least of the values lies on the grid, by the parabola through it and its neighbours in log time:
// 0 before the first, infinity behind the last.
double least_between(const std::vector<double>& grid, Eigen::Ref<const Vector> values) {
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
Interval interval_of(const ExpectedLoo& expected, const AveragedSignal& signal, const TimeRange& range,
                     const StoppingOptions& options, double best) {
  const double level = options.reml.level;
  const std::vector<double> at =
      expected.best_times(log_grid(0.1 * range.low, range.high, interval_points), options.path);
  std::vector<WeightedTime> times;
  for (std::size_t c = 0; c < at.size(); ++c) times.push_back({at[c], signal.models[c].weight});
  std::sort(times.begin(), times.end(), [](const auto& a, const auto& b) { return a.time < b.time; });
  Interval interval{quantile_of(times, 0.5 * (1.0 - level)), quantile_of(times, 0.5 * (1.0 + level)), level};
  if (options.path.kind == PathKind::descent)
    interval = {std::floor(interval.lower), std::ceil(interval.upper), level};
  return {std::min(best, interval.lower), std::max(best, interval.upper), level};
}

}  // namespace

Vector leave_one_out_factors(const SpectralData& data, const Path& path) {
  const Measures on(data);
  return factors_at({on.values, on.multiplicity, data.values, data.count()}, path);
}

ExpectedLoo::ExpectedLoo(const SpectralData& data, const AveragedSignal& signal) : count_(data.count()) {
  Measures on(data);
  values_ = std::move(on.values);
  multiplicity_ = std::move(on.multiplicity);
  seen_ = std::move(on.seen);
  squares_ = std::move(on.squares);
  const Places at{values_, multiplicity_, seen_, count_};
  left_out_.resize(seen_.size(), static_cast<Index>(signal.models.size()));
  averaged_ = Vector::Zero(seen_.size());
  const SignalModel* first = nullptr;  // of those of one power, which differ by a factor
  Eigen::ArrayXd prior, prior_seen;
  for (Index c = 0; c < left_out_.cols(); ++c) {
    const SignalModel& model = signal.models[static_cast<std::size_t>(c)];
    if (first == nullptr || model.power == 0.0 || model.power != first->power) {
      first = &model;
      prior = model.prior(values_, signal.largest);
      prior_seen = model.prior(seen_, signal.largest);
    }
    const double factor = model.power == 0.0 ? 1.0 : std::exp(model.log_scale - first->log_scale);
    const double divisor = mean(at, (1.0 + factor * prior).inverse());
    left_out_.col(c) = (divisor * (1.0 + factor * prior_seen)).inverse();
    averaged_ += model.weight * left_out_.col(c);
    variance_ += model.weight * model.noise_variance / divisor;
  }
  for (Index c = 0; c < left_out_.cols(); ++c)
    variance_ += signal.models[static_cast<std::size_t>(c)].weight *
                 squares_.dot((left_out_.col(c) - averaged_).cwiseAbs2()) / at.count;
}

Vector ExpectedLoo::factors(const Path& path) const {
  return factors_at({values_, multiplicity_, seen_, count_}, path);
}

double ExpectedLoo::operator()(const Path& path) const {
  return variance_ + squares_.dot((factors(path) - averaged_).cwiseAbs2()) / count_;
}

std::vector<double> ExpectedLoo::best_times(const std::vector<double>& times, const Path& family) const {
  const auto count = static_cast<Index>(times.size());
  Matrix weighted(seen_.size(), count);
  Vector own(count);
  for (Index t = 0; t < count; ++t) {
    const Vector G = factors(family.at(times[static_cast<std::size_t>(t)]));
    weighted.col(t) = squares_.cwiseProduct(G);
    own(t) = weighted.col(t).dot(G);
  }
  // sum z^2 (G - R_c)^2 less what does not depend on the time
  Matrix distances = multiply(weighted, Transpose::yes, left_out_, Transpose::no);
  distances = (-2.0 * distances).colwise() + own;
  std::vector<double> best;
  for (Index c = 0; c < distances.cols(); ++c) best.push_back(least_between(times, distances.col(c)));
  return best;
}

double expected_loo_time(const SpectralData& data, const AveragedSignal& signal,
                         const StoppingOptions& options) {
  if (!usable(signal.outcome)) return not_a_number;
  if (signal.outcome == Outcome::at_zero) return 0.0;
  return minimise(ExpectedLoo(data, signal), range_of(data, signal, options), options.path).time;
}

double expected_loo_time(const SpectralData& data, const AveragedSignal& signal, double time,
                         const StoppingOptions& options) {
  const AveragedSignal weighted = signal.weighted_by(data);
  const ExpectedLoo expected(data, weighted);
  const TimeRange whole = range_of(data, weighted, options),
                  near{time / nearby, std::min(time * nearby, whole.high)};
  if (!(near.high > near.low)) return minimise(expected, whole, options.path).time;
  const Minimum minimum = minimise_over_time([&](double t) { return expected(options.path.at(t)); },
                                             log_grid(near.low, near.high, nearby_points),
                                             options.path.kind == PathKind::descent);
  const bool inside = !minimum.at_zero && !minimum.at_bound && minimum.time > near.low;
  return inside ? minimum.time : minimise(expected, whole, options.path).time;
}

StoppingRule stop_by_expected_loo(const StoppingProblem& problem, const AveragedSignal& signal,
                                  const StoppingOptions& options) {
  StoppingRule rule;
  rule.kind = RuleKind::expected_loo;
  rule.name = rule_name(rule.kind, options.path.kind);
  rule.interval.level = options.reml.level;
  rule.outcome = signal.outcome;
  rule.reason = "expected leave-one-out error: " + signal.reason;
  if (!usable(signal.outcome)) return rule;
  const SpectralData& data = problem.data;
  const ExpectedLoo expected(data, signal);
  const TimeRange range = range_of(data, signal, options);
  const Minimum minimum = minimise(expected, range, options.path);
  rule.time = minimum.time;
  if (minimum.at_bound) {
    rule.outcome = Outcome::on_boundary;
    rule.reason += fmt::format(
        ": still falling at the largest time that was searched ({:.4g}; 99 % of N degrees of freedom at "
        "most)",
        range.high);
  }
  rule.interval = interval_of(expected, signal, range, options, rule.time);
  if (minimum.at_zero || signal.outcome == Outcome::at_zero) {
    rule.outcome = Outcome::at_zero;
    rule.time = rule.interval.lower = 0.0;
  }
  const Path path = options.path.at(rule.time);
  rule.effective_dof = data.effective_dof(path);
  rule.estimated_rmse = std::sqrt(expected(path));
  return rule;
}

}  // namespace gradflow
