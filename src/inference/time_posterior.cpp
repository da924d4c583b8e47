#include <algorithm>
#include <cmath>

#include "gradflow/base/error.h"
#include "gradflow/inference/predictive.h"

namespace gradflow {
namespace {

// Everything below this share of the largest density is left out: exp(-40) = 4e-18.
constexpr double log_cutoff = 40.0;
constexpr double coarse_step = 1.0 / 16.0;
constexpr double smallest_weight = 1e-10;
constexpr double tolerance = 1e-6;
constexpr int largest_nodes = 8193;

// log density of u = log tau, up to a constant: -Q/2 + log Beta(a, a) density of h = e^u m/(1 + e^u m).
class LogDensity {
 public:
  LogDensity(const SpectralData& data, double shape)
      : data_(data), shape_(shape), log_mean_(std::log(data.trace_of_M() / data.count())) {}

  double operator()(double log_time) const {
    const double v = std::abs(log_time + log_mean_);
    const double log_prior = shape_ * (-v - 2.0 * std::log1p(std::exp(-v)));
    return log_prior - 0.5 * reml_criterion(data_, Path{.kind = PathKind::ridge, .time = std::exp(log_time)});
  }
  double log_mean() const { return log_mean_; }

 private:
  const SpectralData& data_;
  double shape_, log_mean_;
};

struct Rule {
  Vector nodes, density;  // relative to the largest
  double log_evidence, mean, sd;
};

Rule summarise(Vector nodes, const Vector& log_density, double step) {
  Rule rule;
  const double largest = log_density.maxCoeff();
  rule.density = (log_density.array() - largest).exp();
  const double sum = rule.density.sum();
  rule.log_evidence = largest + std::log(sum * step);
  rule.mean = rule.density.dot(nodes) / sum;
  rule.sd = std::sqrt(rule.density.dot((nodes.array() - rule.mean).square().matrix()) / sum);
  rule.nodes = std::move(nodes);
  return rule;
}

// The part of [low, high] where the density is above the cutoff, one coarse step wider.
std::pair<double, double> support(const LogDensity& log_density, double low, double high) {
  const auto points = static_cast<Index>(std::ceil((high - low) / coarse_step)) + 1;
  const Vector u = Vector::LinSpaced(points, low, high), f = u.unaryExpr(log_density);
  const double floor = f.maxCoeff() - log_cutoff;
  Index first = 0, last = points - 1;
  while (f(first) < floor) ++first;
  while (f(last) < floor) --last;
  return {u(std::max<Index>(0, first - 1)), u(std::min(points - 1, last + 1))};
}

// Every second node is known already: f at the midpoints is added.
Vector interleave(const Vector& known, const Vector& between) {
  Vector all(known.size() + between.size());
  for (Index i = 0; i < known.size(); ++i) all(2 * i) = known(i);
  for (Index i = 0; i < between.size(); ++i) all(2 * i + 1) = between(i);
  return all;
}

TimePosterior of_rule(const Rule& rule) {
  TimePosterior posterior;
  const double sum = rule.density.sum();
  std::vector<Index> kept;
  for (Index k = 0; k < rule.nodes.size(); ++k)
    if (rule.density(k) > smallest_weight * sum) kept.push_back(k);
  posterior.times = rule.nodes(kept).array().exp();
  posterior.weights = rule.density(kept);
  posterior.weights /= posterior.weights.sum();
  posterior.log_time_mean = rule.mean;
  posterior.log_time_sd = rule.sd;
  return posterior;
}

}  // namespace

void PredictiveOptions::check() const {
  require(prior_shape > 0.0 && std::isfinite(prior_shape), "prior_shape", prior_shape,
          "must be positive and finite");
  require(largest_shrinkage > 0.0 && std::isfinite(largest_shrinkage), "largest_shrinkage", largest_shrinkage,
          "must be positive and finite");
}

TimePosterior time_posterior(const SpectralData& data, const PredictiveOptions& options) {
  options.check();
  if (!(data.z.squaredNorm() > 0.0))
    throw InputError("the fixed effects explain the response exactly: there is nothing to predict from");
  const double largest = data.values.maxCoeff();
  if (!(largest > 0.0)) {
    TimePosterior posterior;
    posterior.times = Vector::Zero(1);
    posterior.weights = Vector::Ones(1);
    posterior.error = 0.0;
    posterior.outcome = Outcome::converged;
    return posterior;
  }
  const LogDensity log_density(data, options.prior_shape);
  const double reach = log_cutoff / options.prior_shape;
  const double bound = std::log(options.largest_shrinkage / largest);
  const double high = std::min(bound, reach - log_density.log_mean());
  const auto [low, top] = support(log_density, std::min(-log_density.log_mean(), high) - reach, high);
  // The prior's end inside the density: half the weight there, by Euler and Maclaurin; the step's error is
  // then of second order, and the loop below sees it.
  const double end_weight = top == bound ? std::log(0.5) : 0.0;
  Vector nodes = Vector::LinSpaced(33, low, top), values = nodes.unaryExpr(log_density);
  values(32) += end_weight;
  double step = (top - low) / 32.0;
  Rule rule = summarise(nodes, values, step);
  double error = std::numeric_limits<double>::infinity();
  while (error > tolerance && 2 * rule.nodes.size() - 1 <= largest_nodes) {
    const Vector middles = nodes.head(nodes.size() - 1).array() + 0.5 * step;
    values = interleave(values, middles.unaryExpr(log_density));
    nodes = interleave(nodes, middles);
    step *= 0.5;
    const Rule finer = summarise(nodes, values, step);
    error = std::max({std::abs(finer.log_evidence - rule.log_evidence), std::abs(finer.mean - rule.mean),
                      std::abs(finer.sd - rule.sd)});
    rule = finer;
  }
  TimePosterior posterior = of_rule(rule);
  posterior.error = error;
  posterior.outcome = error > tolerance ? Outcome::iteration_limit : Outcome::converged;
  return posterior;
}

double log_time_standard_deviation(const SpectralData& data, const Path& ridge) {
  require(ridge.kind == PathKind::ridge, "path", to_string(ridge.kind), "must be ridge");
  if (!(ridge.time > 0.0) || std::isinf(ridge.time)) return std::numeric_limits<double>::quiet_NaN();
  // With u = log tau: phi' = -phi (1 - phi), phi'' = phi (1 - phi)(1 - 2 phi)
  const Eigen::ArrayXd phi = ridge.phi(data.values).array(), filter = ridge.filter(data.values).array();
  const Eigen::ArrayXd square = data.z.array().square();
  const double A = (phi * square).sum(), first = (phi * filter * square).sum() / A;
  const double second = (phi * filter * (filter - phi) * square).sum() / A;
  const double curvature = data.count() * (second - first * first) + data.trace_of(phi * filter);
  return curvature > 0.0 ? std::sqrt(2.0 / curvature) : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace gradflow
