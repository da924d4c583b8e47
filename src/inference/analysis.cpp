#include "gradflow/inference/analysis.h"

#include <chrono>
#include <cmath>
#include <functional>
#include <memory>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/operators/scaled_operator.h"
#include "inference/diagnose.h"
#include "inference/krylov_engine.h"

namespace gradflow {
namespace {

constexpr double not_computed = std::numeric_limits<double>::quiet_NaN();

void check_sizes(const TrainingOperator& H, const Observations& observations) {
  const Index n = H.size();
  require(observations.y.size() == n, "number of responses", observations.y.size(),
          fmt::format("must equal the size of the training operator, {}", n));
  require(observations.f0.size() == n, "number of initial outputs", observations.f0.size(),
          fmt::format("must equal the number of responses, {}", n));
  require(observations.covariates.cols() == 0 || observations.covariates.rows() == n,
          "number of covariate rows", observations.covariates.rows(),
          fmt::format("must equal the number of responses, {}", n));
  require(observations.weights.size() == 0 || observations.weights.size() == n, "number of weights",
          observations.weights.size(), fmt::format("must equal the number of responses, {}, or be 0", n));
  require(observations.weights.size() == 0 ||
              (observations.weights.allFinite() && observations.weights.minCoeff() > 0.0),
          "row weight", observations.weights.size() == 0 ? 1.0 : observations.weights.minCoeff(),
          "must be > 0 and finite in every row");
  require(observations.pure.squares >= 0.0 && observations.pure.dof >= 0, "within-group sum of squares",
          observations.pure.squares, "must be >= 0, and so must its degrees of freedom");
  require(observations.y.allFinite() && observations.f0.allFinite(), "response", "not finite",
          "every response and initial output must be finite");
}

// The problem as whitened rows see it; what was given where there are no weights.
class Whitened {
 public:
  Whitened(const TrainingOperator& H, const Observations& observations)
      : given_(H), scale_(observations.weights.cwiseSqrt()), response_(observations.y - observations.f0) {
    if (scale_.size() == 0) return;
    factor_ = static_cast<double>(H.size()) / observations.total_weight();
    response_.array() *= scale_.array();
    scaled_ = std::make_unique<ScaledOperator>(H, scale_, factor_);
  }

  const TrainingOperator& H() const { return scaled_ ? *scaled_ : given_; }
  const Vector& response() const { return response_; }
  // Rows of the mean square of whitened residuals over the sum of weights.
  double factor() const { return factor_; }

  // Back to the rows as given: H~ alpha~ = D H (factor D alpha~).
  void restore(Analysis& analysis) const {
    if (!scaled_) return;
    if (analysis.fit.alpha.size() > 0) {
      analysis.fit.alpha.array() *= factor_ * scale_.array();
      analysis.fit.fitted.array() /= scale_.array();
    }
    if (analysis.loo_residuals.size() > 0) analysis.loo_residuals.array() /= scale_.array();
  }

 private:
  const TrainingOperator& given_;
  Vector scale_, response_;
  double factor_ = 1.0;
  std::unique_ptr<ScaledOperator> scaled_;
};

// Paper mode: the network's initial output is the test's only fixed effect; none when it is zero everywhere.
FixedEffects test_fixed_effects(const Observations& observations) {
  const Vector& direction =
      observations.test_direction.size() > 0 ? observations.test_direction : observations.f0;
  if (!(direction.norm() > 0.0)) return FixedEffects::none(observations.y.size());
  if (observations.weights.size() == 0) return {direction, {"initial output"}};
  return {observations.weights.cwiseSqrt().cwiseProduct(direction), {"initial output"}};
}

ScoreTest test_from(const SpectralData& data, const AnalysisOptions& options) {
  return score_test(data.values, data.multiplicity, (data.values.array() * data.z.array().square()).sum(),
                    data.z.squaredNorm(), options.p_value);
}

ScoreTest test_beside(const FixedEffects& fixed, const Whitened& whitened, const PureError& pure,
                      const AnalysisOptions& options) {
  if (options.engine == Engine::krylov) {
    KrylovEngine engine(whitened.H(), fixed, whitened.response(), pure, options);
    engine.solve(KrylovEngine::Need::test);
    return engine.test();
  }
  // w'Mw = (Qw)'H(Qw), with Qw = Q Q'(y - f0)
  const Matrix w = fixed.lift(fixed.reduce(whitened.response()));
  Matrix Hw(w.rows(), 1);
  whitened.H().apply(w, Hw);
  SpectralData data;
  data.values = projected_eigenvalues(whitened.H(), fixed);
  data.z = Vector::Zero(data.values.size());
  data = data.with(pure);
  return score_test(data.values, data.multiplicity, w.col(0).dot(Hw.col(0)), w.squaredNorm() + pure.squares,
                    options.p_value);
}

class StageClock {
 public:
  StageClock(Analysis& analysis, Progress* progress) : analysis_(analysis), progress_(progress) {}

  template <typename Work>
  auto run(const std::string& stage, double fraction, Work&& work) {
    report_progress(progress_, stage, fraction);
    const auto start = std::chrono::steady_clock::now();
    struct Record {
      Analysis& analysis;
      const std::string& stage;
      std::chrono::steady_clock::time_point start;
      ~Record() {
        analysis.seconds.emplace_back(
            stage, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      }
    } record{analysis_, stage, start};
    return work();
  }

 private:
  Analysis& analysis_;
  Progress* progress_;
};

RemlFit fit_path(const Analysis& analysis, const AnalysisOptions& options, const RemlOptions& reml) {
  const PathKind kind = options.path.kind;
  if (kind == PathKind::flow) return analysis.flow;
  if (kind == PathKind::ridge) return analysis.ridge;
  if (options.estimate_second_parameter && (kind == PathKind::decay || kind == PathKind::implicit))
    return fit_reml_two_parameters(analysis.data, kind, reml);
  return fit_reml(analysis.data, options.path, reml);
}

// Where nothing is asked but the flow's own likelihood, the space need not resolve that of ridge.
bool only_the_flow(const AnalysisOptions& options) {
  return options.engine == Engine::krylov && !options.krylov.all_rules &&
         !needs_traces(options.chosen_rule(), options.path.kind);
}

// What an engine supplies to the rules.
struct Foundation {
  std::unique_ptr<KrylovEngine> engine;  // krylov only
  std::unique_ptr<LeaveOneOut> loo;      // null: not computed
};

bool asked_for(const AnalysisOptions& options, RuleKind kind) {
  return options.engine == Engine::dense || options.krylov.all_rules || kind == options.chosen_rule();
}

struct RuleOptions {
  StoppingOptions stopping, unbounded;  // the second: not by what the space resolves
  StoppingOptions reached;              // by what it resolves of the path squared
};

void run_rules(Analysis& analysis, const StoppingProblem& problem, const LeaveOneOut* loo,
               const RuleOptions& each, const AnalysisOptions& options, StageClock& clock) {
  using Rule = std::function<StoppingRule()>;
  const StoppingOptions& stopping = each.stopping;
  const std::array<Rule, 6> rules{[&] {
                                    analysis.signal =
                                        average_signal(analysis.data, analysis.ridge, each.unbounded.reml);
                                    return stop_by_expected_loo(problem, analysis.signal, each.unbounded);
                                  },
                                  [&] { return stop_by_risk(problem, analysis.ridge, stopping); },
                                  [&] { return stop_by_reml(problem, analysis.path, stopping); },
                                  [&] { return stop_by_gcv(problem, each.reached); },
                                  [&] { return stop_by_loo(problem, *loo, each.reached); },
                                  [&] { return stop_by_validation(problem, each.unbounded); }};
  const RemlFit& likelihood = only_the_flow(options) ? analysis.flow : analysis.ridge;
  const bool identified = usable(likelihood.outcome);
  for (std::size_t i = 0; i < rules.size(); ++i) {
    const std::string name = rule_name(all_rules[i], stopping.path.kind);
    StoppingRule rule;
    rule.kind = all_rules[i];
    rule.name = name;
    rule.outcome = identified ? Outcome::not_run : likelihood.outcome;
    rule.reason = identified ? "not asked for" : likelihood.reason;
    if (identified && asked_for(options, all_rules[i])) {
      if (all_rules[i] == RuleKind::loo && loo == nullptr)
        rule.reason = "not computed: no probes were kept for it";
      else
        rule = clock.run(name, 0.7 + 0.04 * static_cast<double>(i), rules[i]);
    }
    analysis.rules.push_back(std::move(rule));
  }
}

// What every usable rule gets in the same way: its steps, and the leave-one-out error of ridge with as many
// degrees of freedom; and the chosen rule's residuals of that kind.
void compare_rules(Analysis& analysis, const LeaveOneOut* loo, const Path& family,
                   const AnalysisOptions& options, double largest_shrinkage, double factor) {
  std::vector<std::size_t> usable_rules;
  std::vector<Path> paths;
  for (std::size_t i = 0; i < analysis.rules.size(); ++i) {
    if (!usable(analysis.rules[i].outcome)) continue;
    usable_rules.push_back(i);
    analysis.rules[i].steps = steps_at(family.at(analysis.rules[i].time), options);
    paths.push_back(ridge_with_dof(analysis.data, analysis.rules[i].effective_dof,
                                   {.level = options.level, .largest_shrinkage = largest_shrinkage}));
  }
  if (loo == nullptr) return;
  const Vector mean_squares = factor * loo->mean_squares(paths);
  for (std::size_t j = 0; j < usable_rules.size(); ++j) {
    analysis.rules[usable_rules[j]].loo_rmse = std::sqrt(mean_squares(static_cast<Index>(j)));
    if (usable_rules[j] == analysis.chosen) analysis.loo_residuals = loo->residuals(paths[j]);
  }
}

// Standard errors of the times that random probes went into (rule loo has its own).
void add_standard_errors(Analysis& analysis, const KrylovEngine& engine, const RuleOptions& each) {
  StoppingOptions stopping = each.stopping;
  stopping.reml.interval = false;
  for (StoppingRule& rule : analysis.rules) {
    if (!usable(rule.outcome) || !(rule.time > 0.0) || !std::isfinite(rule.time)) continue;
    const bool flow = stopping.path.kind == PathKind::flow;
    if (rule.kind == RuleKind::validation || rule.kind == RuleKind::loo ||
        (rule.kind == RuleKind::reml_path && flow))
      continue;
    rule.log_time_standard_error = engine.standard_error([&](const SpectralData& data) {
      if (rule.kind == RuleKind::gcv) return std::log(gcv_minimiser(data, each.reached));
      if (rule.kind == RuleKind::reml_path)
        return std::log(fit_reml(data, stopping.path, stopping.reml).path.time);
      if (rule.kind == RuleKind::expected_loo)
        return std::log(expected_loo_time(data, analysis.signal, rule.time, each.unbounded));
      return std::log(
          risk_time(data, fit_reml(data, Path{.kind = PathKind::ridge}, stopping.reml), stopping));
    });
  }
}

void decorrelate(Analysis& analysis) {
  if (!(analysis.flow.path.time > 0.0) || !std::isfinite(analysis.flow.path.time)) return;
  Decorrelation& d = analysis.decorrelation;
  d.eigenvalues = analysis.spectrum.values;
  d.losses = analysis.flow.path.phi(d.eigenvalues).array() *
             analysis.data.z.head(d.eigenvalues.size()).array().square();
  const Eigen::ArrayXd x = d.eigenvalues.array() - d.eigenvalues.mean(),
                       y = d.losses.array() - d.losses.mean();
  d.correlation = (x * y).sum() / std::sqrt(x.square().sum() * y.square().sum());
}

void fit_chosen(Analysis& analysis, const StoppingProblem& problem, const StoppingOptions& options,
                const KrylovEngine* engine) {
  const StoppingRule& rule = analysis.rule();
  analysis.chosen_path = options.path.at(rule.time);
  if (!analysis.is_usable()) return;
  analysis.effective_dof = rule.effective_dof;
  analysis.noise_variance =
      rule.kind == RuleKind::reml_path ? analysis.path.noise_variance : analysis.ridge.noise_variance;
  const Vector phi = analysis.chosen_path.phi(analysis.data.values);
  analysis.signal_share =
      1.0 - (phi.array() * analysis.data.z.array().square()).sum() / analysis.data.z.squaredNorm();
  analysis.fit =
      engine != nullptr
          ? dual_fit(engine->projected(), engine->space(), problem.response, analysis.chosen_path)
          : dual_fit(problem.H, problem.fixed, analysis.spectrum, problem.response, analysis.chosen_path);
}

void warn(Analysis& analysis, double fit_tolerance, double largest_shrinkage) {
  if (analysis.spectrum.clipped > 0)
    analysis.warnings.push_back(fmt::format(
        "{} negative eigenvalues (the lowest {:.3g}, the largest eigenvalue being {:.3g}) "
        "were set to zero",
        analysis.spectrum.clipped, analysis.spectrum.most_negative, analysis.spectrum.values.maxCoeff()));
  if (analysis.ridge.outcome == Outcome::on_boundary)
    analysis.warnings.push_back("noise variance: " + analysis.ridge.reason);
  if (analysis.rule().outcome == Outcome::on_boundary && analysis.rule().kind != RuleKind::reml_risk)
    analysis.warnings.push_back(analysis.rule().name + ": " + analysis.rule().reason);
  if (!analysis.krylov) return;
  const KrylovReport& krylov = *analysis.krylov;
  if (krylov.decision_movement > 1.0)
    analysis.warnings.push_back(fmt::format(
        "{} steps of the spectrum's probes were not enough: more could move a result by {:.2g} times its "
        "tolerance (raise the limit of Krylov steps)",
        krylov.probe_steps, krylov.decision_movement));
  // Where the interval ends before, the search went as far as it had to.
  const double wanted = analysis.data.values.maxCoeff() * analysis.ridge.interval.upper;
  if (krylov.resolved_shrinkage < largest_shrinkage && usable(analysis.ridge.outcome) &&
      !(wanted <= krylov.resolved_shrinkage))
    analysis.warnings.push_back(fmt::format(
        "the likelihood of ridge was searched up to tau lambda_1 = {:.3g} only, the most that {} "
        "Krylov steps resolve (the bound is {:g}): raise the limit of Krylov steps, or use the dense engine",
        krylov.resolved_shrinkage, krylov.steps, largest_shrinkage));
  if (!(krylov.fit_error <= 10.0 * fit_tolerance))
    analysis.warnings.push_back(fmt::format(
        "{} Krylov steps leave reml-flow's fit uncertain by up to {:.2g} of the response: raise the limit of "
        "Krylov steps",
        krylov.steps, krylov.fit_error));
}

// What the dense engine finds: every eigenvalue and vector.
Foundation decompose(Analysis& analysis, const Whitened& whitened, const PureError& pure, StageClock& clock) {
  analysis.spectrum =
      clock.run("eigendecomposition", 0.05, [&] { return project(whitened.H(), analysis.fixed); });
  SpectralData data{.values = analysis.spectrum.values,
                    .z = analysis.spectrum.coordinates(whitened.response())};
  data.trace = analysis.spectrum.trace;
  analysis.data = data.with(pure);
  return {nullptr, std::make_unique<SpectralLeaveOneOut>(analysis.spectrum, analysis.data)};
}

// What the Krylov engine finds, as sharp as the rules asked for need it.
Foundation explore(Analysis& analysis, const Whitened& whitened, const PureError& pure,
                   const AnalysisOptions& options, StageClock& clock) {
  Foundation foundation;
  foundation.engine =
      std::make_unique<KrylovEngine>(whitened.H(), analysis.fixed, whitened.response(), pure, options);
  const bool flow_only = only_the_flow(options);
  clock.run("Krylov space and probes", 0.05, [&] {
    foundation.engine->solve(flow_only ? KrylovEngine::Need::path_rule : KrylovEngine::Need::every_rule);
  });
  analysis.data = foundation.engine->data();
  analysis.krylov = foundation.engine->report();
  const bool with_loo = !flow_only && (options.krylov.all_rules || options.chosen_rule() == RuleKind::loo) &&
                        options.krylov.loo_probes > 0;
  if (with_loo && (foundation.engine->covered() || !foundation.engine->kept().empty()))
    foundation.loo = std::make_unique<ProbedLeaveOneOut>(*foundation.engine);
  return foundation;
}

}  // namespace

double Observations::total_weight() const {
  return weights.size() > 0 ? weights.sum() : static_cast<double>(y.size());
}

double steps_at(const Path& path, const AnalysisOptions& options) {
  if (path.kind == PathKind::descent) return path.time;
  if (path.kind != PathKind::flow && path.kind != PathKind::decay) return not_computed;
  return path.time / (options.loss == Loss::mse ? 2.0 * options.learning_rate : options.learning_rate);
}

FixedEffects make_fixed_effects(Index n, const Observations& observations, const AnalysisOptions& options) {
  if (options.paper) return FixedEffects::none(n);
  const Index intercept = options.intercept ? 1 : 0, covariates = observations.covariates.cols();
  Matrix design(n, intercept + covariates);
  std::vector<std::string> names;
  if (options.intercept) {
    design.col(0).setOnes();
    names.emplace_back("(intercept)");
  }
  design.rightCols(covariates) = observations.covariates;
  for (Index j = 0; j < covariates; ++j) {
    const auto known = static_cast<std::size_t>(j) < observations.covariate_names.size();
    names.push_back(known ? observations.covariate_names[static_cast<std::size_t>(j)]
                          : fmt::format("covariate {}", j + 1));
  }
  if (observations.weights.size() > 0) design = observations.weights.cwiseSqrt().asDiagonal() * design;
  return {std::move(design), std::move(names)};
}

ScoreTest analyse_test(const TrainingOperator& H, const Observations& observations,
                       const AnalysisOptions& options) {
  options.check();
  check_sizes(H, observations);
  const FixedEffects fixed =
      options.paper ? test_fixed_effects(observations) : make_fixed_effects(H.size(), observations, options);
  return test_beside(fixed, Whitened(H, observations), observations.pure, options);
}

Analysis analyse(const TrainingOperator& H, const Observations& observations,
                 const AnalysisOptions& options) {
  options.check();
  check_sizes(H, observations);
  Analysis analysis;
  StageClock clock(analysis, options.progress);
  const Whitened whitened(H, observations);
  analysis.fixed = make_fixed_effects(H.size(), observations, options);
  const Foundation foundation = options.engine == Engine::dense
                                    ? decompose(analysis, whitened, observations.pure, clock)
                                    : explore(analysis, whitened, observations.pure, options, clock);
  const KrylovEngine* const engine = foundation.engine.get();
  analysis.test = clock.run("test", 0.6, [&] {
    if (options.paper)
      return test_beside(test_fixed_effects(observations), whitened, observations.pure, options);
    return engine != nullptr ? engine->test() : test_from(analysis.data, options);
  });
  const RemlOptions reml{
      .level = options.level,
      .largest_shrinkage = engine != nullptr ? engine->largest_shrinkage() : options.largest_shrinkage};
  StoppingOptions stopping{.path = options.path,
                           .reml = reml,
                           .validation_fraction = options.validation_fraction,
                           .seed = options.seed};
  clock.run("likelihoods", 0.65, [&] {
    if (only_the_flow(options))
      analysis.ridge.reason = "not asked for";
    else
      analysis.ridge = fit_reml(analysis.data, Path{.kind = PathKind::ridge}, reml);
    analysis.flow = fit_reml(analysis.data, Path{.kind = PathKind::flow}, reml);
    analysis.path = fit_path(analysis, options, reml);
  });
  if (usable(analysis.path.outcome)) stopping.path = analysis.path.path;
  // Validation has a Krylov space of its own: what the response's resolves is no bound for it. An average has
  // little weight beyond, and would be biased by what is cut off.
  StoppingOptions unbounded = stopping;
  unbounded.reml.largest_shrinkage = options.largest_shrinkage;
  const StoppingProblem problem{whitened.H(), analysis.fixed, whitened.response(), analysis.data,
                                observations.weights};
  analysis.chosen = static_cast<std::size_t>(options.chosen_rule());
  StoppingOptions reached = stopping;
  if (engine != nullptr) unbounded.reach = reached.reml.largest_shrinkage = engine->reach();
  const RuleOptions each{stopping, unbounded, reached};
  run_rules(analysis, problem, foundation.loo.get(), each, options, clock);
  compare_rules(analysis, foundation.loo.get(), stopping.path, options, reml.largest_shrinkage,
                whitened.factor());
  clock.run("fit", 0.95, [&] { fit_chosen(analysis, problem, stopping, engine); });
  if (engine != nullptr)
    clock.run("standard errors", 0.97, [&] { add_standard_errors(analysis, *engine, each); });
  else
    decorrelate(analysis);
  if (options.diagnostics && engine == nullptr)
    clock.run("diagnostics", 0.97, [&] { diagnose(analysis, reml, options.seed); });
  whitened.restore(analysis);
  warn(analysis, options.krylov.fit_tolerance, options.largest_shrinkage);
  report_progress(options.progress, "done", 1.0);
  return analysis;
}

}  // namespace gradflow
