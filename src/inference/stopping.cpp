#include "gradflow/inference/stopping.h"

#include <algorithm>
#include <boost/math/tools/toms748_solve.hpp>
#include <cmath>
#include <utility>

#include "base/special_values.h"
#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "inference/search.h"

namespace gradflow {
namespace {

constexpr int grid_points = 240;         // a step of 12 % in time
constexpr int loo_grid_points = 80;      // 35 %, before zooming: each costs 4 n^2 flops
constexpr double smallest_share = 1e-8;  // of the best time's largest bound, below which none is searched

StoppingRule named(RuleKind kind, const StoppingOptions& options) {
  StoppingRule rule;
  rule.kind = kind;
  rule.name = rule_name(kind, options.path.kind);
  rule.interval.level = options.reml.level;
  return rule;
}

// phi up to a factor common to all eigenvalues: criteria that are ratios survive where exp(-t lambda)
// underflows.
Vector scaled_phi(const Vector& values, const Path& path) {
  const Vector log_phi = path.log_phi(values);
  return (log_phi.array() - log_phi.maxCoeff()).exp();
}

double gcv(const SpectralData& data, const Path& path) {
  const Eigen::ArrayXd phi = scaled_phi(data.values, path);
  const double residual = (phi * data.z.array()).square().sum(), left = data.trace_of(phi);
  return data.count() * residual / (left * left);
}

TimeGrid search_grid(double bound, const StoppingOptions& options, int points) {
  return log_grid(bound / options.reml.largest_shrinkage * 1e-4, bound, points);
}

void finish(StoppingRule& rule, const Minimum& minimum, const SpectralData& data,
            const StoppingOptions& options) {
  rule.time = minimum.time;
  rule.outcome = outcome_of(minimum);
  if (minimum.at_zero) rule.reason += ": smallest at time 0";
  if (minimum.at_bound)
    rule.reason +=
        fmt::format(": still falling at the bound psi(0) lambda_1 = {:g}", options.reml.largest_shrinkage);
  rule.effective_dof = data.effective_dof(options.path.at(minimum.time));
}

}  // namespace

std::string rule_name(RuleKind kind, PathKind path) {
  switch (kind) {
    case RuleKind::expected_loo: return "expected-loo";
    case RuleKind::reml_risk: return "reml-risk";
    case RuleKind::reml_path: return fmt::format("reml-{}", to_string(path));
    case RuleKind::gcv: return "gcv";
    case RuleKind::loo: return "loo";
    case RuleKind::validation: return "validation";
  }
  throw InternalError("unnamed stopping rule");
}

double largest_time_for_ratios(const SpectralData& data, const StoppingOptions& options) {
  const double bound = largest_time(data, options.path, options.reml.largest_shrinkage);
  const auto left = [&](double time) { return data.count() - data.effective_dof(options.path.at(time)); };
  const double least = 0.01 * data.count();
  if (left(bound) >= least) return bound;
  double low = std::log(bound / options.reml.largest_shrinkage), high = std::log(bound);
  for (int halving = 0; halving < 30; ++halving) {
    const double middle = 0.5 * (low + high);
    (left(std::exp(middle)) >= least ? low : high) = middle;
  }
  return std::exp(low);
}

RuleKind default_rule(PathKind path) {
  return path == PathKind::flow ? RuleKind::expected_loo : RuleKind::reml_risk;
}

bool needs_traces(RuleKind kind, PathKind path) {
  return kind != RuleKind::reml_path || path != PathKind::flow;
}

RuleKind parse_rule(const std::string& text, PathKind path) {
  for (const RuleKind kind : all_rules)
    if (text == rule_name(kind, path)) return kind;
  throw InputError(fmt::format(
      "rule '{}' is not known on path '{}': must be expected-loo, reml-risk, {}, gcv, loo or validation",
      text, to_string(path), rule_name(RuleKind::reml_path, path)));
}

double expected_risk(const SpectralData& data, const Path& path, const Vector& prior) {
  double risk = 0.0;
  for (Index i = 0; i < data.values.size(); ++i) {
    const double count = data.multiplicity.size() == 0 ? 1.0 : data.multiplicity(i);
    if (count == 0.0) continue;
    // 1 - phi cancels only where its square is nothing beside phi^2 tau lambda.
    const double phi = path.phi(data.values(i)), fitted = 1.0 - phi;
    risk += count * (phi * phi * prior(i) + fitted * fitted);
  }
  return risk;
}

double expected_risk(const SpectralData& data, const Path& path, double tau) {
  return expected_risk(data, path, Vector(tau * data.values));
}

double risk_minimiser(const SpectralData& data, const Path& family, const Vector& prior) {
  double low = infinity, high = 0.0;
  for (Index i = 0; i < data.values.size(); ++i) {
    if (!(data.values(i) > 0.0 && prior(i) > 0.0)) continue;
    // On the flow a direction's best time is log(1 + prior)/lambda; the other paths shrink no faster per unit
    // of psi(0), and two further decades hold those of decay and implicit.
    const double best = (family.kind == PathKind::ridge ? prior(i) : std::log1p(prior(i))) / data.values(i);
    low = std::min(low, best);
    high = std::max(high, best);
  }
  if (!(high > 0.0)) return 0.0;
  low = std::max(low, smallest_share * high);
  if (family.kind == PathKind::descent) {
    low = std::max(1.0, std::floor(0.5 * low / family.learning_rate));
    high /= family.learning_rate;
  }
  if (family.kind == PathKind::decay) high *= 100.0;
  if (family.kind == PathKind::implicit) low *= 0.01;
  if (!(high > low * (1.0 + 1e-9))) return high;
  const auto risk = [&](double time) { return expected_risk(data, family.at(time), prior); };
  const Minimum minimum =
      minimise_over_time(risk, log_grid(0.99 * low, 1.01 * high, 200), family.kind == PathKind::descent);
  return minimum.time;
}

double risk_minimiser(const SpectralData& data, const Path& family, double tau) {
  if (!(tau > 0.0) || !(data.values.maxCoeff() > 0.0)) return 0.0;
  if (std::isinf(tau)) return infinity;
  if (family.kind == PathKind::ridge) return tau;
  return risk_minimiser(data, family, Vector(tau * data.values));
}

double risk_time(const SpectralData& data, const TwoComponentFit& fit, const StoppingOptions& options) {
  if (fit.kappa == 0.0) return risk_minimiser(data, options.path, fit.tau);
  return risk_minimiser(data, options.path, fit.prior(data.values));
}

double risk_time(const SpectralData& data, const RemlFit& ridge, const StoppingOptions& options) {
  if (options.path.kind == PathKind::ridge) return ridge.path.time;
  return risk_time(data, fit_two_components(data, ridge, options.reml), options);
}

SpectralLeaveOneOut::SpectralLeaveOneOut(const ProjectedSpectrum& spectrum, const SpectralData& data)
    : spectrum_(spectrum), data_(data) {}

Vector SpectralLeaveOneOut::mean_squares(const std::vector<Path>& paths) const {
  return residuals_along(paths).cwiseAbs2().colwise().mean().transpose();
}

Vector SpectralLeaveOneOut::residuals(const Path& path) const { return residuals_along({path}).col(0); }

Matrix SpectralLeaveOneOut::residuals_along(const std::vector<Path>& paths) const {
  Matrix phi(spectrum_.values.size(), static_cast<Index>(paths.size()));
  for (Index j = 0; j < phi.cols(); ++j)
    phi.col(j) = scaled_phi(spectrum_.values, paths[static_cast<std::size_t>(j)]);
  const Matrix phi_z = data_.z.head(phi.rows()).asDiagonal() * phi;
  return multiply(spectrum_.basis, Transpose::no, phi_z, Transpose::no)
      .cwiseQuotient(spectrum_.diagonals(phi));
}

Path ridge_with_dof(const SpectralData& data, double effective_dof, const RemlOptions& options) {
  const Path ridge{.kind = PathKind::ridge};
  const double bound = largest_time(data, ridge, options.largest_shrinkage);
  if (!(effective_dof > 0.0)) return ridge.at(0.0);
  // The degrees of freedom increase with tau.
  const auto excess = [&](double log_tau) {
    return data.effective_dof(ridge.at(std::exp(log_tau))) - effective_dof;
  };
  const double high = std::log(bound), low = high - std::log(options.largest_shrinkage) - 30.0;
  if (excess(high) <= 0.0) return ridge.at(bound);
  if (excess(low) >= 0.0) return ridge.at(std::exp(low));
  std::uintmax_t iterations = 100;
  const auto root = boost::math::tools::toms748_solve(
      excess, low, high, boost::math::tools::eps_tolerance<double>(40), iterations);
  return ridge.at(std::exp(0.5 * (root.first + root.second)));
}

StoppingRule stop_by_risk(const StoppingProblem& problem, const RemlFit& ridge,
                          const StoppingOptions& options) {
  StoppingRule rule = named(RuleKind::reml_risk, options);
  rule.outcome = ridge.outcome;
  rule.reason = fmt::format("expected risk under the REML components of ridge ({})", ridge.reason);
  if (!usable(ridge.outcome)) return rule;
  const SpectralData& data = problem.data;
  const TwoComponentFit fit = options.path.kind == PathKind::ridge
                                  ? TwoComponentFit::of(ridge)
                                  : fit_two_components(data, ridge, options.reml);
  rule.outcome = fit.outcome;
  const Vector prior = fit.prior(data.values);
  rule.time = risk_time(data, fit, options);
  if (fit.kappa > 0.0) {
    rule.reason = fmt::format(
        "expected risk under REML components of M and M^2 (tau lambda_1 = {:.4g}, kappa lambda_1^2 = {:.4g})",
        fit.tau * data.values.maxCoeff(), fit.kappa * std::pow(data.values.maxCoeff(), 2));
    const auto scaled = [&](double c) {
      return std::isinf(c) ? infinity : risk_minimiser(data, options.path, Vector(c * prior));
    };
    rule.interval = {scaled(fit.scale.lower), scaled(fit.scale.upper), fit.scale.level};
  } else {
    const auto mapped = [&](double tau) { return risk_minimiser(data, options.path, tau); };
    rule.interval = {mapped(ridge.interval.lower), mapped(ridge.interval.upper), ridge.interval.level};
  }
  const Path path = options.path.at(rule.time);
  rule.effective_dof = data.effective_dof(path);
  rule.estimated_rmse =
      std::sqrt(fit.noise_variance * (1.0 + expected_risk(data, path, prior) / data.count()));
  return rule;
}

StoppingRule stop_by_reml(const StoppingProblem& problem, const RemlFit& fit,
                          const StoppingOptions& options) {
  StoppingRule rule = named(RuleKind::reml_path, options);
  rule.outcome = fit.outcome;
  rule.reason = fit.reason;
  if (!usable(fit.outcome)) return rule;
  rule.time = fit.path.time;
  rule.interval = fit.interval;
  rule.effective_dof = problem.data.effective_dof(fit.path);
  // Under the path's own model a new response at the design points has variance s2 (1 + (I - phi)_ii).
  rule.estimated_rmse = std::sqrt(fit.noise_variance * (1.0 + rule.effective_dof / problem.data.count()));
  return rule;
}

namespace {

Minimum minimise_gcv(const SpectralData& data, const StoppingOptions& options) {
  const auto criterion = [&](double time) { return gcv(data, options.path.at(time)); };
  return minimise_over_time(criterion,
                            search_grid(largest_time_for_ratios(data, options), options, grid_points),
                            options.path.kind == PathKind::descent);
}

}  // namespace

double gcv_minimiser(const SpectralData& data, const StoppingOptions& options) {
  return minimise_gcv(data, options).time;
}

StoppingRule stop_by_gcv(const StoppingProblem& problem, const StoppingOptions& options) {
  StoppingRule rule = named(RuleKind::gcv, options);
  rule.reason = "generalised cross-validation, up to 99 % of N effective degrees of freedom";
  const Minimum minimum = minimise_gcv(problem.data, options);
  finish(rule, minimum, problem.data, options);
  rule.estimated_rmse = std::sqrt(minimum.value);
  return rule;
}

StoppingRule stop_by_loo(const StoppingProblem& problem, const LeaveOneOut& loo,
                         const StoppingOptions& options) {
  StoppingRule rule = named(RuleKind::loo, options);
  rule.reason = options.path.kind == PathKind::ridge ? "leave-one-out, exact at the fixed operator"
                                                     : "leave-one-out, approximate: the path is not refitted";
  const auto mean_squares = [&](const TimeGrid& times) {
    std::vector<Path> paths;
    for (const double time : times) paths.push_back(options.path.at(time));
    const Vector mean = loo.mean_squares(paths);
    return std::vector<double>(mean.begin(), mean.end());
  };
  // From eigenvectors the divisors are exact however small.
  const double bound = problem.data.multiplicity.size() == 0
                           ? largest_time(problem.data, options.path, options.reml.largest_shrinkage)
                           : largest_time_for_ratios(problem.data, options);
  const Minimum minimum = minimise_by_zooming(mean_squares, search_grid(bound, options, loo_grid_points),
                                              options.path.kind == PathKind::descent);
  finish(rule, minimum, problem.data, options);
  const double rows = problem.weights.size() > 0 ? problem.weights.mean() : 1.0;
  rule.estimated_rmse = std::sqrt(minimum.value / rows);
  rule.log_time_standard_error = loo.log_time_standard_error(options.path.at(rule.time));
  if (std::isnan(rule.log_time_standard_error) && rule.outcome == Outcome::converged) {
    rule.outcome = Outcome::on_boundary;
    rule.reason += ": the best of the times at which the probes know the leave-one-out error";
  }
  return rule;
}

}  // namespace gradflow
