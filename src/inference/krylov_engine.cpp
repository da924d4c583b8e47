#include "inference/krylov_engine.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/special_values.h"
#include "gradflow/base/error.h"

namespace gradflow {
namespace {

constexpr Index first_steps = 8;  // of the response's space, before the first look at its bounds
constexpr Index test_steps = 32;  // before the first probes: the eigenpairs found spare the test probes
constexpr Index rough_probes = 4, rough_steps = 8;
constexpr double near_fit = 4.0;               // times its tolerance: the next looks are a step apart
constexpr double criterion_tolerance = 0.002;  // in Q: a shift of the estimate by less than 1 % of its
                                               // interval, also where two components trade off
constexpr double risk_fit_tolerance = 1e-6;    // error of the fit at the time of reml-risk, of |w|
constexpr double least_time_tolerance = 0.01;  // of the log time: nothing that is reported depends on less

// P (y - f0); zero where the fixed effects explain the response and what is left is rounding.
Vector residual_of(const ProjectedOperator& M, const Vector& response) {
  Matrix w = response;
  M.project(w);
  M.project(w);
  if (w.norm() <= 1e-13 * response.norm()) w.setZero();
  return w.col(0);
}

}  // namespace

KrylovEngine::KrylovEngine(const TrainingOperator& H, const FixedEffects& fixed, const Vector& response,
                           const PureError& pure, const AnalysisOptions& options)
    : options_(options),
      M_(H, fixed),
      pure_(pure),
      w_(residual_of(M_, response)),
      space_(
          [this](ConstVector x, Eigen::Ref<Vector> y) {
            ++products_;
            M_.apply(x, y);
          },
          w_, std::min(options.krylov.max_steps, fixed.residual_dimension()), options.krylov.basis,
          [this](Block x) { M_.project(x); }) {}

void KrylovEngine::solve(Need need) {
  report_.resolved_shrinkage = options_.largest_shrinkage;
  if (w_.squaredNorm() > 0.0) {
    if (need != Need::test) solve_flow();
    extend(test_steps);
    if (need == Need::every_rule) {
      if (in_blocks()) deflate(need);
      solve_ridge();
    }
    if (!deflation_) pairs_ = found_pairs();
    start_probes(need);
    // Sharper probes may ask more of the space, and a larger space of the probes.
    do sharpen_probes(need);
    while (need == Need::every_rule && settle_space());
  }
  report_.steps = space_.steps();
  report_.exhausted = space_.exhausted();
  report_.eigenpairs = pairs_.count();
  report_.deflation_vectors = deflation_ ? deflation_->size() : 0;
  report_.probes = probes();
  report_.probe_steps = probe_steps();
  report_.moment_probes = moment_probes();
  report_.products = products_ + M_.fixed().count();
}

// What the random block's space holds is not left for the response's.
Index KrylovEngine::most_steps() const {
  return options_.krylov.max_steps - (deflation_ ? deflation_->size() : 0);
}

bool KrylovEngine::at_limit() const { return space_.at_limit() || space_.steps() >= most_steps(); }

void KrylovEngine::extend(Index steps) { space_.extend(std::min(steps, most_steps())); }

void KrylovEngine::progress(const std::string& stage, double fraction) const {
  report_progress(options_.progress, stage, std::clamp(fraction, 0.0, 1.0));
}

void KrylovEngine::solve_flow() {
  const double mass = w_.squaredNorm();
  bool near = false;
  for (Index steps = first_steps;; steps += near ? 1 : std::max<Index>(2, steps / 16)) {
    space_.extend(steps);
    const Tridiagonal T = space_.tridiagonal();
    // Every bracket holds the root, and so does what they have in common.
    const FlowBracket bracket = bracket_flow_time(T, mass, M_.trace(), count(), pure_.squares);
    const double time = bracket.estimate, last_time = report_.bracket.estimate;
    const bool disjoint = bracket.lower > report_.bracket.upper || bracket.upper < report_.bracket.lower;
    const FlowBracket all{std::max(bracket.lower, report_.bracket.lower),
                          std::min(bracket.upper, report_.bracket.upper), time, bracket.rounding};
    report_.bracket = steps == first_steps || disjoint ? bracket : all;
    report_.fit_error = flow_fit_error(T, time);
    const double width = report_.bracket.relative_width();
    progress(fmt::format("Krylov step {}", space_.steps()),
             std::log(std::clamp(width, 1e-12, 1.0)) / std::log(options_.krylov.time_tolerance));
    const bool certain = width <= std::max(options_.krylov.time_tolerance, 4.0 * report_.bracket.rounding);
    const bool fitted = report_.fit_error <= options_.krylov.fit_tolerance;
    // Beyond the precision of H nothing is certified any more, and nothing moves either.
    const bool still = report_.fit_error <= 0.01 * options_.krylov.fit_tolerance &&
                       std::abs(time - last_time) <= 0.01 * options_.krylov.time_tolerance * time;
    if ((certain && fitted) || still || space_.at_limit()) return;
    near = report_.fit_error <= near_fit * options_.krylov.fit_tolerance;
  }
}

// Largest tau lambda_1 <= the bound at which the space knows w'(I + tau M)^-1 w well enough.
double KrylovEngine::resolved_shrinkage() const {
  const Tridiagonal T = space_.tridiagonal();
  const Quadrature lower = gauss_rule(T, 1.0), upper = radau_rule(T, 1.0);
  const double largest = std::max(lower.nodes.maxCoeff(), 0.0), null = pure_.squares / w_.squaredNorm();
  if (!(largest > 0.0)) return options_.largest_shrinkage;
  const auto gap = [&](double shrinkage) {
    const auto integral = [&](const Quadrature& rule) {
      return null +
             (rule.weights.array() / (1.0 + shrinkage / largest * rule.nodes.cwiseMax(0.0).array())).sum();
    };
    return count() * std::log(integral(upper) / integral(lower));
  };
  double high = std::log(options_.largest_shrinkage), low = 0.0;
  if (gap(std::exp(high)) <= criterion_tolerance) return options_.largest_shrinkage;
  for (int halving = 0; halving < 30; ++halving) {
    const double middle = 0.5 * (low + high);
    (gap(std::exp(middle)) <= criterion_tolerance ? low : high) = middle;
  }
  return std::exp(low);
}

// The space grows until it resolves the likelihood of ridge up to the end of its interval, judged with a few
// rough probes of the spectrum. Where its eigenpairs are not those of the probes, the first of these judge
// it.
void KrylovEngine::solve_ridge() {
  pairs_ = found_pairs();
  if (deflation_ && !covered()) return;
  if (!covered()) add_probes(rough_probes, rough_steps, false);
  settle_space();
  batches_.clear();
}

bool KrylovEngine::settle_space() {
  const Index before = space_.steps();
  while (true) {
    report_.resolved_shrinkage = resolved_shrinkage();
    const SpectralData data = this->data();
    const RemlOptions reml{.level = options_.level, .largest_shrinkage = options_.largest_shrinkage};
    const RemlFit fit = fit_reml(data, Path{.kind = PathKind::ridge}, reml);
    if (!usable(fit.outcome) || at_limit()) break;
    const double wanted =
        data.values.maxCoeff() * (std::isfinite(fit.interval.upper) ? fit.interval.upper : fit.upper_bound);
    progress(fmt::format("Krylov step {}: likelihood of ridge", space_.steps()),
             std::log(std::max(1.0, report_.resolved_shrinkage)) / std::log(wanted));
    const double t = risk_minimiser(data, Path{.kind = PathKind::flow}, fit.path.time);
    const bool fitted = flow_fit_error(space_.tridiagonal(), t) <= risk_fit_tolerance;
    if (report_.resolved_shrinkage >= wanted && fitted) break;
    extend(space_.steps() + std::max<Index>(4, space_.steps() / 6));
  }
  return space_.steps() > before;
}

SpectralData KrylovEngine::data_from(const ProbeRules& rules) const {
  const SpectralMoments moments{static_cast<double>(M_.dimension()), M_.trace(), squared_norm_,
                                pairs_.residual_squares};
  const SpectralDensity density = make_density(pairs_.values, rules.probes, moments, rules.all);
  const Quadrature signal = gauss_rule(space_.tridiagonal(), w_.squaredNorm());
  const Index traces = density.values.size(), size = traces + signal.nodes.size();
  SpectralData data{Vector(size), Vector::Zero(size), Vector::Zero(size), M_.trace()};
  data.values << density.values, signal.nodes.cwiseMax(0.0);
  data.z.tail(signal.nodes.size()) = signal.weights.cwiseSqrt();
  data.multiplicity.head(traces) = density.multiplicity;
  return data.with(pure_);
}

double KrylovEngine::count() const { return static_cast<double>(M_.dimension() + pure_.dof); }

double KrylovEngine::quadratic() const {
  return space_.steps() > 0 ? w_.squaredNorm() * space_.tridiagonal().diagonal(0) : 0.0;
}

RemlFit KrylovEngine::fit_ridge(const SpectralData& data, bool interval) const {
  return fit_reml(
      data, Path{.kind = PathKind::ridge},
      {.level = options_.level, .largest_shrinkage = report_.resolved_shrinkage, .interval = interval});
}

double KrylovEngine::log10_p(const SpectralData& data) const {
  const ScoreTest test = test_of(data);
  return std::isfinite(test.log10_p_value) ? test.log10_p_value : 0.0;
}

// A Krylov space of k steps knows exp(-2 t lambda) where k^2 is 2 t lambda_1 log(1/error), and 1/(1 + tau
// lambda) where it is tau lambda_1 log(1/error)^2 / 4: to 1e-6, further by a factor.
double KrylovEngine::reach() const {
  const double factor = options_.path.kind == PathKind::flow ? 1.75 : 1.0;
  return std::min(options_.largest_shrinkage, factor * report_.resolved_shrinkage);
}

StoppingOptions KrylovEngine::stopping() const {
  const bool bounded = options_.chosen_rule() == RuleKind::reml_risk;
  return {.path = options_.path,
          .reml = {.level = options_.level,
                   .largest_shrinkage = bounded ? report_.resolved_shrinkage : options_.largest_shrinkage,
                   .interval = false},
          .reach = reach()};
}

// log10 p and, where rules are asked for, the log time of the one that stops.
KrylovEngine::Decision KrylovEngine::decide(const SpectralData& data, Need need) const {
  Decision decision;
  const double p = log10_p(data), for_p = std::max(0.01, 1e-3 * std::abs(p)) / 2.0;
  decision.value = Vector{{p}};
  decision.tolerance = Vector{{for_p}};
  if (need != Need::every_rule) return decision;
  const RemlFit ridge = fit_ridge(data, true);
  if (!usable(ridge.outcome) || !(ridge.path.time > 0.0)) return decision;
  double t = 0.0;
  if (options_.chosen_rule() == RuleKind::reml_risk) {
    t = risk_time(data, ridge, stopping());
  } else {
    decision.signal = average_signal(data, ridge, stopping().reml);
    t = expected_loo_time(data, decision.signal, stopping());
  }
  if (!(t > 0.0)) return decision;
  // The width of the interval: that of ridge's stands for it.
  const double centre = risk_minimiser(data, options_.path, ridge.path.time);
  const double low = risk_minimiser(data, options_.path, ridge.interval.lower);
  const double width = low > 0.0 ? 2.0 * std::log(centre / low) : 1.0;  // the upper end may be infinite
  decision.value = Vector{{p, std::log(t)}};
  decision.tolerance = Vector{{for_p, std::max(least_time_tolerance, 0.01 * width)}};
  return decision;
}

Vector KrylovEngine::decided(const SpectralData& data, const Decision& all) const {
  const double p = log10_p(data);
  if (all.value.size() == 1) return Vector{{p}};
  const double t = options_.chosen_rule() == RuleKind::reml_risk
                       ? risk_time(data, fit_ridge(data, false), stopping())
                       : expected_loo_time(data, all.signal, std::exp(all.value(1)), stopping());
  return Vector{{p, std::log(t)}};
}

// The values with a multiplicity are those of the spectrum; the others are the response's.
ScoreTest KrylovEngine::test_of(const SpectralData& data) const {
  const double squared_norm = w_.squaredNorm() + pure_.squares;
  if (!(squared_norm > 0.0)) return score_test(Vector::Ones(1), {}, 0.0, 0.0, options_.p_value);
  return score_test(data.values, data.multiplicity, quadratic(), squared_norm, options_.p_value);
}

ScoreTest KrylovEngine::test() const {
  ScoreTest test = test_of(data());
  test.log10_standard_error =
      standard_error([&](const SpectralData& data) { return test_of(data).log10_p_value_exact; });
  if (test.log10_standard_error > 0.0 && test.method == PValueMethod::exact)
    test.reason += fmt::format("; {} eigenvalues and {} probes of the rest", pairs_.count(), probes());
  return test;
}

}  // namespace gradflow
