#include "gradflow/inference/reml.h"

#include <array>
#include <boost/math/distributions/chi_squared.hpp>
#include <cmath>
#include <utility>

#include "gradflow/base/error.h"
#include "inference/search.h"

namespace gradflow {
namespace {

// Coordinates below this share of |z| are rounding, not data.
constexpr double negligible = 1e-14;

RemlFit without_estimate(Outcome outcome, std::string reason, const Path& family) {
  RemlFit fit;
  fit.outcome = outcome;
  fit.reason = std::move(reason);
  fit.path = family.at(std::numeric_limits<double>::quiet_NaN());
  return fit;
}

// Empty when the likelihood can tell times apart.
std::string why_unidentified(const SpectralData& data) {
  if (data.values.size() == 0) return "no degrees of freedom are left after the fixed effects";
  if (!(data.z.squaredNorm() > 0.0)) return "the fixed effects explain the response exactly";
  const double largest = data.values.maxCoeff();
  if (!(largest > 0.0)) return "the training operator is zero after the fixed effects";
  if (largest - data.values.minCoeff() <= 1e-12 * data.count() * largest)
    return "all eigenvalues of the training operator are equal: signal and noise cannot be told apart";
  return {};
}

void check_descent(const SpectralData& data, const Path& family) {
  if (family.kind != PathKind::descent) return;
  const double product = family.learning_rate * data.values.maxCoeff();
  if (!(product > 0.0 && product < 1.0))
    throw InputError(
        fmt::format("path 'descent' needs 0 < learning rate x largest eigenvalue < 1, but {} x {:.6g} = "
                    "{:.6g}: give --learning-rate "
                    "a positive value below {:.6g}",
                    family.learning_rate, data.values.maxCoeff(), product, 1.0 / data.values.maxCoeff()));
}

void describe(const SpectralData& data, RemlFit& fit) {
  fit.criterion = reml_criterion(data, fit.path);
  fit.criterion_at_zero = reml_criterion(data, fit.path.at(0.0));
  fit.noise_variance = reml_noise_variance(data, fit.path);
  fit.effective_dof = data.effective_dof(fit.path);
  fit.signal_share = 1.0 - fit.noise_variance * data.count() / data.z.squaredNorm();
}

double drop_at(double level) { return boost::math::quantile(boost::math::chi_squared(1.0), level); }

// dQ/dt and d2Q/dt2 of the flow: tr M - N E[lambda], N Var[lambda] under weights exp(-t lambda) z^2.
std::pair<double, double> flow_derivatives(const SpectralData& data, double t) {
  const Eigen::ArrayXd exponent = -t * data.values.array();
  const Eigen::ArrayXd square = data.z.array().square();
  const double shift = (square > 0.0).select(exponent, -std::numeric_limits<double>::infinity()).maxCoeff();
  const Eigen::ArrayXd weight = (square > 0.0).select((exponent - shift).exp() * square, 0.0);
  const double total = weight.sum();
  const double mean = (weight * data.values.array()).sum() / total;
  const double variance = (weight * (data.values.array() - mean).square()).sum() / total;
  return {data.trace_of_M() - data.count() * mean, data.count() * variance};
}

// Root of dQ/dt, which increases: Newton's step where it stays inside the bracket, bisection where not.
double flow_root(const SpectralData& data, RemlFit& fit) {
  double low = 0.0, high = data.count() / data.trace_of_M();
  while (flow_derivatives(data, high).first < 0.0) {
    low = high;
    high *= 2.0;
    ++fit.evaluations;
  }
  double t = 0.5 * (low + high);
  for (int iteration = 0; iteration < 200; ++iteration) {
    const auto [slope, curvature] = flow_derivatives(data, t);
    ++fit.evaluations;
    (slope < 0.0 ? low : high) = t;
    double next = t - slope / curvature;
    if (!(next > low && next < high)) next = 0.5 * (low + high);
    const double moved = std::abs(next - t);
    t = next;
    if (moved <= 4.0 * std::numeric_limits<double>::epsilon() * t) return t;
  }
  fit.outcome = Outcome::iteration_limit;
  fit.reason = "the root of the likelihood's derivative was not reached in 200 iterations";
  return t;
}

// What decides the flow's estimate before any iteration.
Outcome flow_outcome(const SpectralData& data) {
  const Eigen::ArrayXd square = data.z.array().square();
  const double mean_eigenvalue = data.trace_of_M() / data.count();
  const Eigen::Array<bool, Eigen::Dynamic, 1> present = square > negligible * negligible * square.sum();
  const double smallest_present =
      present.select(data.values.array(), std::numeric_limits<double>::infinity()).minCoeff();
  if (smallest_present >= mean_eigenvalue) return Outcome::on_boundary;
  const bool at_zero = (square * data.values.array()).sum() <= mean_eigenvalue * square.sum();
  return at_zero ? Outcome::at_zero : Outcome::converged;
}

RemlFit fit_flow(const SpectralData& data, const Path& family, const RemlOptions& options) {
  RemlFit fit;
  fit.outcome = flow_outcome(data);
  fit.reason = "root of the derivative of the convex profile likelihood";
  fit.upper_bound = std::numeric_limits<double>::infinity();
  if (fit.outcome == Outcome::on_boundary) {
    fit = without_estimate(
        Outcome::on_boundary,
        "the residual has weight only on eigenvalues above the mean: the likelihood rises for ever and "
        "the time is infinite",
        family.at(0.0));
    fit.path.time = std::numeric_limits<double>::infinity();
    return fit;
  }
  if (fit.outcome == Outcome::at_zero) {
    fit.reason = "N w'Mw / w'w is at most tr M: no training is warranted by the likelihood";
    fit.path = family.at(0.0);
  } else {
    fit.path = family.at(flow_root(data, fit));
  }
  describe(data, fit);
  if (!options.interval) return fit;
  const double reference = std::max(fit.path.time, 1.0 / data.values.maxCoeff());
  const TimeGrid grid = log_grid(1e-6 * reference, 1e6 * reference, 200);
  fit.interval = profile_interval([&](double t) { return reml_criterion(data, family.at(t)); }, grid,
                                  fit.path.time, fit.criterion, drop_at(options.level), options.level);
  return fit;
}

Minimum minimise(const SpectralData& data, const Path& family, double bound, int points) {
  const TimeGrid grid = log_grid(1e-8 * bound / std::max(1.0, bound * data.values.maxCoeff()), bound, points);
  return minimise_over_time([&](double time) { return reml_criterion(data, family.at(time)); }, grid,
                            family.kind == PathKind::descent);
}

// dQ/du and d2Q/du2 of ridge in u = log tau: with g = tau lambda / (1 + tau lambda) and weights (1 - g) z^2,
// tr g - N E[g] and tr g (1 - g) - N (E[g (1 - 2g)] + E[g]^2).
std::pair<double, double> ridge_derivatives(const SpectralData& data, double tau) {
  const Vector g = (tau * data.values.array() / (1.0 + tau * data.values.array())).matrix();
  const Eigen::ArrayXd weight = (1.0 - g.array()) * data.z.array().square();
  const double total = weight.sum(), mean = (weight * g.array()).sum() / total;
  const double bent = (weight * g.array() * (1.0 - 2.0 * g.array())).sum() / total;
  return {data.trace_of(g) - data.count() * mean,
          data.trace_of(g.cwiseProduct((1.0 - g.array()).matrix())) - data.count() * (bent + mean * mean)};
}

// A search by values knows the minimum to the root of the rounding only: Newton's steps on the derivative
// from there, as long as they shrink.
double polished_ridge(const SpectralData& data, double tau) {
  double log_tau = std::log(tau), last = 1e-2;
  for (int step = 0; step < 8; ++step) {
    const auto [slope, curvature] = ridge_derivatives(data, std::exp(log_tau));
    const double move = -slope / curvature;
    if (!(curvature > 0.0) || !(std::abs(move) <= last)) break;
    log_tau += move;
    last = std::abs(move);
  }
  return std::exp(log_tau);
}

RemlFit from_minimum(const SpectralData& data, const Path& family, const Minimum& minimum, double bound,
                     const RemlOptions& options) {
  RemlFit fit;
  const bool interior = !minimum.at_zero && !minimum.at_bound;
  const double time = family.kind == PathKind::ridge && interior
                          ? std::min(bound, polished_ridge(data, minimum.time))
                          : minimum.time;
  fit.path = family.at(time);
  fit.upper_bound = bound;
  fit.evaluations = minimum.evaluations;
  fit.outcome = outcome_of(minimum);
  fit.reason = "minimum of minus twice the restricted log-likelihood";
  if (minimum.at_zero)
    fit.reason = "the restricted likelihood is largest at zero: no training is warranted by it";
  if (minimum.at_bound)
    fit.reason = fmt::format(
        "the restricted likelihood still rises at the bound psi(0) lambda_1 = {:g} (time {:.6g}): the data "
        "nearly "
        "interpolate, and the noise variance is not identified",
        options.largest_shrinkage, bound);
  describe(data, fit);
  if (!options.interval) return fit;
  fit.interval = profile_interval([&](double t) { return reml_criterion(data, family.at(t)); }, minimum.grid,
                                  time, fit.criterion, drop_at(options.level), options.level);
  return fit;
}

}  // namespace

void RemlOptions::check() const {
  require(level > 0.0 && level < 1.0, "level", level, "must be between 0 and 1");
  require(largest_shrinkage > 1.0, "largest_shrinkage", largest_shrinkage, "must be > 1");
}

SpectralData SpectralData::with(const PureError& pure) const {
  if (pure.dof == 0) return *this;
  const Index size = values.size();
  SpectralData all{Vector(size + 1), Vector(size + 1), Vector::Ones(size + 1), trace};
  all.values << values, 0.0;
  all.z << z, std::sqrt(pure.squares);
  if (multiplicity.size() > 0) all.multiplicity.head(size) = multiplicity;
  all.multiplicity(size) = static_cast<double>(pure.dof);
  return all;
}

double SpectralData::count() const {
  return multiplicity.size() == 0 ? static_cast<double>(values.size()) : multiplicity.sum();
}

double SpectralData::trace_of_M() const { return std::isnan(trace) ? trace_of(values) : trace; }

double SpectralData::trace_of(const Vector& f) const {
  return multiplicity.size() == 0 ? f.sum() : f.dot(multiplicity);
}

double flow_time(const SpectralData& data) {
  switch (flow_outcome(data)) {
    case Outcome::at_zero: return 0.0;
    case Outcome::on_boundary: return std::numeric_limits<double>::infinity();
    default: break;
  }
  RemlFit fit;
  return flow_root(data, fit);
}

double flow_slope(const SpectralData& data, double t) { return flow_derivatives(data, t).first; }

double reml_criterion(const SpectralData& data, const Path& path) {
  if (path.kind == PathKind::ridge) return two_component_criterion(data, path.time, 0.0);
  const Vector log_phi = path.log_phi(data.values);
  const Eigen::ArrayXd square = data.z.array().square();
  const double shift =
      (square > 0.0).select(log_phi.array(), -std::numeric_limits<double>::infinity()).maxCoeff();
  const double sum = (square > 0.0).select((log_phi.array() - shift).exp() * square, 0.0).sum();
  // On the flow the log-determinant is t tr M, exact however M is known.
  const double log_determinant =
      path.kind == PathKind::flow ? path.time * data.trace_of_M() : -data.trace_of(log_phi);
  return data.count() * (shift + std::log(sum / data.count())) + log_determinant;
}

double reml_noise_variance(const SpectralData& data, const Path& path) {
  return (path.phi(data.values).array() * data.z.array().square()).sum() / data.count();
}

double largest_time(const SpectralData& data, const Path& family, double shrinkage) {
  const double largest = data.values.maxCoeff();
  if (family.kind == PathKind::descent)
    return std::max(1.0, std::floor(shrinkage / (family.learning_rate * largest)));
  if (family.kind == PathKind::implicit) return shrinkage / (family.iterations * largest);
  return shrinkage / largest;
}

RemlFit fit_reml(const SpectralData& data, const Path& family, const RemlOptions& options) {
  options.check();
  if (std::string reason = why_unidentified(data); !reason.empty())
    return without_estimate(Outcome::unidentified, std::move(reason), family);
  check_descent(data, family);
  if (family.kind == PathKind::flow) return fit_flow(data, family, options);
  const double bound = largest_time(data, family, options.largest_shrinkage);
  // The interval is sought on the same grid.
  return from_minimum(data, family, minimise(data, family, bound, options.interval ? 400 : 120), bound,
                      options);
}

RemlFit fit_reml_two_parameters(const SpectralData& data, PathKind kind, const RemlOptions& options) {
  options.check();
  Path family{.kind = kind};
  require(kind == PathKind::decay || kind == PathKind::implicit, "path", to_string(kind),
          "only decay and implicit have a second parameter");
  if (std::string reason = why_unidentified(data); !reason.empty())
    return without_estimate(Outcome::unidentified, std::move(reason), family);
  const auto profile = [&](const Path& candidate) {
    return minimise(data, candidate, largest_time(data, candidate, options.largest_shrinkage), 60).value;
  };
  if (kind == PathKind::implicit) {
    double best = std::numeric_limits<double>::infinity();
    for (const int m : std::array{1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 64}) {
      Path candidate = family;
      candidate.iterations = m;
      const double value = profile(candidate);
      if (value < best) {
        best = value;
        family = candidate;
      }
    }
  } else {
    const auto at_decay = [&](double d) {
      Path candidate = family;
      candidate.decay = d;
      return profile(candidate);
    };
    const double largest = data.values.maxCoeff();
    family.decay =
        minimise_over_time(at_decay, log_grid(largest / options.largest_shrinkage, largest, 60), false).time;
  }
  return fit_reml(data, family, options);
}

}  // namespace gradflow
