#include <algorithm>
#include <boost/math/distributions/chi_squared.hpp>
#include <cmath>
#include <optional>
#include <set>

#include "base/special_values.h"
#include "gradflow/inference/expected_loo.h"
#include "model/run_detail.h"

namespace gradflow {
namespace {

constexpr int grid_points = 49, profile_points = 81;
constexpr double beyond = 8.0;            // factor of the grid beyond the times that are shown in it
constexpr double least_shrinkage = 1e-3;  // t lambda_1 below which nothing has been learnt
constexpr double profile_limit = 15.0;    // excess beyond which nothing is drawn

bool positive_finite(double value) { return value > 0.0 && std::isfinite(value); }

// Times that the rules and their intervals name.
std::set<double> named_times(const Analysis& analysis) {
  std::set<double> times;
  for (const StoppingRule& rule : analysis.rules) {
    if (!usable(rule.outcome)) continue;
    for (const double time : {rule.time, rule.interval.lower, rule.interval.upper})
      if (positive_finite(time)) times.insert(time);
  }
  return times;
}

// A grid through the times that matter; where there are none, over the times at which the operator acts.
std::vector<double> time_grid(const Analysis& analysis, double largest) {
  std::set<double> times = named_times(analysis);
  const double lambda = analysis.data.values.size() > 0 ? analysis.data.values.maxCoeff() : 0.0;
  if (!(lambda > 0.0)) return {};
  const bool descent = analysis.chosen_path.kind == PathKind::descent;
  const double unit = descent ? analysis.chosen_path.learning_rate : 1.0;
  double low = 0.01 / (lambda * unit), high = 100.0 / (lambda * unit);
  if (!times.empty()) {
    low = *times.begin() / beyond;
    high = *times.rbegin() * beyond;
  }
  const double nothing = least_shrinkage / (lambda * unit);
  low = std::max(low, nothing);
  high = std::max({10.0 * low, 10.0 * nothing, std::min(high, largest)});
  std::erase_if(times, [&](double time) { return time < low || time > high; });
  const double step = std::log(high / low) / (grid_points - 1);
  for (int i = 0; i < grid_points; ++i) times.insert(low * std::exp(step * i));
  std::set<double> whole;
  for (const double time : times) whole.insert(std::max(1.0, std::round(time)));
  const std::set<double>& chosen = descent ? whole : times;
  return {chosen.begin(), chosen.end()};
}

TwoComponentFit components(const Job& job, const Analysis& analysis) {
  if (!usable(analysis.ridge.outcome)) return {};
  return analysis.chosen_path.kind == PathKind::ridge
             ? TwoComponentFit::of(analysis.ridge)
             : fit_two_components(analysis.data, analysis.ridge, reml_options(job, analysis));
}

double training_rmse(const Analysis& analysis, const Path& path, double weight) {
  const Vector residual = path.phi(analysis.data.values).cwiseProduct(analysis.data.z);
  return residual.norm() / std::sqrt(weight);
}

// Expected error of a new response: what reml-risk minimises, where it stops; otherwise what expected-loo
// does, or again reml-risk where that was not asked for.
class ExpectedError {
 public:
  ExpectedError(const Analysis& analysis, const TwoComponentFit& fit) : data_(analysis.data), fit_(fit) {
    if (analysis.rule().kind != RuleKind::reml_risk && usable(analysis.signal.outcome))
      expected_.emplace(data_, analysis.signal);
  }

  double rmse(const Path& path) const {
    if (expected_) return std::sqrt((*expected_)(path));
    if (!usable(fit_.outcome) || std::isinf(fit_.tau)) return not_a_number;
    const double risk = expected_risk(data_, path, fit_.prior(data_.values)) / data_.count();
    return std::sqrt(fit_.noise_variance * (1.0 + risk));
  }

 private:
  const SpectralData& data_;
  const TwoComponentFit& fit_;
  std::optional<ExpectedLoo> expected_;
};

// Q - Q_min of the components of reml-risk, their scale varied, against the time that each scale stops at.
LikelihoodProfile risk_profile(const Job& job, const Analysis& analysis, const TwoComponentFit& fit,
                               const TrainingCurves& curves) {
  LikelihoodProfile profile;
  profile.name = rule_name(RuleKind::reml_risk, analysis.chosen_path.kind);
  const double lambda = analysis.data.values.size() > 0 ? analysis.data.values.maxCoeff() : 0.0;
  if (!usable(fit.outcome) || curves.time.size() == 0 || !(lambda > 0.0) || !std::isfinite(fit.tau) ||
      !std::isfinite(fit.criterion))
    return profile;
  const bool at_zero = !(fit.tau > 0.0) && !(fit.kappa > 0.0);
  const double tau = at_zero ? 1.0 / lambda : fit.tau, kappa = at_zero ? 0.0 : fit.kappa;
  Interval scale = fit.kappa > 0.0 ? fit.scale
                                   : Interval{analysis.ridge.interval.lower / tau,
                                              analysis.ridge.interval.upper / tau, job.analysis.level};
  const double low = positive_finite(scale.lower) ? scale.lower / 30.0 : 1e-4;
  const double high = positive_finite(scale.upper) ? scale.upper * 30.0 : 1e4;
  const Vector prior = tau * analysis.data.values + kappa * analysis.data.values.cwiseAbs2();
  std::vector<double> times, excess;
  for (int i = 0; i < profile_points; ++i) {
    const double c = low * std::pow(high / low, i / (profile_points - 1.0));
    const double above = two_component_criterion(analysis.data, c * tau, c * kappa) - fit.criterion;
    if (!(above <= profile_limit)) continue;
    const double time = risk_minimiser(analysis.data, analysis.chosen_path, Vector(c * prior));
    if (!positive_finite(time) || time < curves.time(0) || (!times.empty() && time <= times.back())) continue;
    times.push_back(time);
    excess.push_back(std::max(0.0, above));
  }
  profile.time = Eigen::Map<const Vector>(times.data(), static_cast<Index>(times.size()));
  profile.excess = Eigen::Map<const Vector>(excess.data(), static_cast<Index>(excess.size()));
  return profile;
}

LikelihoodProfile path_profile(const Job& job, const Analysis& analysis, const TrainingCurves& curves) {
  LikelihoodProfile profile;
  profile.name = rule_name(RuleKind::reml_path, analysis.chosen_path.kind);
  const RemlFit& fit = analysis.path;
  if (!usable(fit.outcome) || !std::isfinite(fit.criterion) || curves.time.size() < 2) return profile;
  std::set<double> grid(curves.time.begin(), curves.time.end());
  const double low = *grid.begin(), high = *grid.rbegin();
  if (job.analysis.path.kind != PathKind::descent)
    for (int i = 1; i < profile_points; ++i)
      grid.insert(low * std::pow(high / low, i / (profile_points + 0.0)));
  std::vector<double> times, excess;
  for (const double time : grid) {
    const double above = reml_criterion(analysis.data, fit.path.at(time)) - fit.criterion;
    if (!(above <= profile_limit)) continue;
    times.push_back(time);
    excess.push_back(std::max(0.0, above));
  }
  profile.time = Eigen::Map<const Vector>(times.data(), static_cast<Index>(times.size()));
  profile.excess = Eigen::Map<const Vector>(excess.data(), static_cast<Index>(excess.size()));
  return profile;
}

}  // namespace

RemlOptions reml_options(const Job& job, const Analysis& analysis) {
  const double resolved = analysis.krylov ? analysis.krylov->resolved_shrinkage : infinity;
  return {.level = job.analysis.level,
          .largest_shrinkage = resolved > 0.0 ? std::min(job.analysis.largest_shrinkage, resolved)
                                              : job.analysis.largest_shrinkage};
}

TrainingCurves training_curves(const Job& job, const JobResult& result, const TwoComponentFit& fit) {
  const Analysis& analysis = result.analysis;
  const Path& family = analysis.chosen_path;
  const RemlOptions options = reml_options(job, analysis);
  TrainingCurves curves;
  if (analysis.data.values.size() == 0) return curves;
  const std::vector<double> times =
      time_grid(analysis, largest_time(analysis.data, family, options.largest_shrinkage));
  const auto count = static_cast<Index>(times.size());
  curves.time = Eigen::Map<const Vector>(times.data(), count);
  curves.loo_rmse = Vector::Constant(count, not_a_number);
  curves.expected_rmse.resize(count);
  curves.training_rmse.resize(count);
  curves.effective_dof.resize(count);
  const ExpectedError expected(analysis, fit);
  const double weight = result.prepared.observations.total_weight();
  std::vector<Path> paths;
  for (Index i = 0; i < count; ++i) {
    const Path path = family.at(times[static_cast<std::size_t>(i)]);
    curves.effective_dof(i) = analysis.data.effective_dof(path);
    curves.training_rmse(i) = training_rmse(analysis, path, weight);
    curves.expected_rmse(i) = expected.rmse(path);
    paths.push_back(ridge_with_dof(analysis.data, curves.effective_dof(i), options));
  }
  if (analysis.krylov || analysis.spectrum.basis.size() == 0) return curves;
  const double factor = static_cast<double>(analysis.fixed.rows()) / weight;
  curves.loo_rmse =
      (factor * SpectralLeaveOneOut(analysis.spectrum, analysis.data).mean_squares(paths)).cwiseSqrt();
  return curves;
}

std::vector<LikelihoodProfile> likelihood_profiles(const Job& job, const JobResult& result,
                                                   const TwoComponentFit& fit, const TrainingCurves& curves) {
  std::vector<LikelihoodProfile> profiles;
  for (LikelihoodProfile& profile : std::vector{risk_profile(job, result.analysis, fit, curves),
                                                path_profile(job, result.analysis, curves)})
    if (profile.time.size() > 1) profiles.push_back(std::move(profile));
  return profiles;
}

RunDetail run_detail(const Job& job, const JobResult& result) {
  const Analysis& analysis = result.analysis;
  RunDetail detail;
  const TwoComponentFit fit = components(job, analysis);
  detail.curves = training_curves(job, result, fit);
  detail.profiles = likelihood_profiles(job, result, fit, detail.curves);
  detail.profile_threshold = boost::math::quantile(boost::math::chi_squared(1.0), job.analysis.level);
  detail.directions = directions_of(analysis);
  detail.rows = row_fits(job, result);
  detail.coverage = coverage_of(detail.rows, analysis, job.analysis.level);
  detail.largest_residuals = largest_residuals(detail.rows);
  return detail;
}

}  // namespace gradflow
