#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gradflow/base/progress.h"
#include "gradflow/inference/flow_bracket.h"
#include "gradflow/inference/posterior.h"
#include "gradflow/inference/profile_intervals.h"
#include "gradflow/inference/residual_check.h"
#include "gradflow/inference/score.h"
#include "gradflow/inference/stopping.h"

namespace gradflow {

/// Loss whose learning rate the user speaks of: `half_mse` is 1/(2n) sum (f - y)^2, steps = t / learning
/// rate; `mse` (PyTorch's MSELoss) has no 1/2: steps = t / (2 learning rate).
enum class Loss { half_mse, mse };

/// How the spectrum is known: all eigenvalues and vectors of an n x n matrix, or Krylov spaces and random
/// probes, from products with H alone.
enum class Engine { dense, krylov };
std::string_view to_string(Engine engine);

struct KrylovOptions {
  Index max_steps = 1000;  ///< of the response's Krylov space, less the vectors of the random block's; >= 2
  double time_tolerance = 1e-9;  ///< relative width of the certified bracket for the flow's time, > 0
  double fit_tolerance = 1e-9;   ///< certified error of reml-flow's fitted vector, of |w|, > 0
  BasisPrecision basis = BasisPrecision::float64;
  bool all_rules = true;  ///< false: only the chosen rule, the others are not run
  /// Random probes of the spectrum; 0: as many as it takes for the standard error of log10 p to be below
  /// half of max(0.01, 0.1 %) and that of the chosen rule's log time below 1 % of its interval or 0.01,
  /// whichever is larger, at most max_probes and four times as many moment probes; otherwise that
  /// many, and no moment probes.
  Index probes = 0;
  Index max_probes = 64;  ///< >= 2
  /// Of the probes, those whose vectors are kept for rule loo: 4 n bytes per probe and step; 0: rule loo is
  /// not run.
  Index loo_probes = 16;
  void check() const;
};

struct AnalysisOptions {
  bool intercept = true;
  bool paper =
      false;  ///< paper-faithful: no fixed effects in the stopping time, f0 as the fixed effect in the test
  std::optional<RuleKind> rule{};          ///< that stops; empty: default_rule() of the path
  Path path{};                             ///< kind and fixed parameters; time is ignored
  bool estimate_second_parameter = false;  ///< d of `decay`, m of `implicit` by REML
  PValueMethod p_value = PValueMethod::exact;
  double level = 0.95;                                              ///< of intervals, in (0, 1)
  double learning_rate = std::numeric_limits<double>::quiet_NaN();  ///< > 0; NaN: steps are not computed
  Loss loss = Loss::half_mse;
  double validation_fraction = 0.2;
  std::uint64_t seed = 1;
  double largest_shrinkage = RemlOptions{}.largest_shrinkage;
  Engine engine = Engine::dense;
  KrylovOptions krylov{};  ///< engine krylov only
  /// Engine dense: Analysis::components and ::residuals too, about 700 evaluations of the likelihood and
  /// 2,000 n N flops.
  bool diagnostics = false;
  Progress* progress = nullptr;
  RuleKind chosen_rule() const { return rule.value_or(default_rule(path.kind)); }
  void check() const;  ///< throws InputError naming the field
  /// Asks of a float32 operator, itself only known to about 1e-6, no more than that: loosens
  /// krylov.time_tolerance to 1e-6, krylov.fit_tolerance to 1e-3 and largest_shrinkage to 1e6, where tighter.
  void loosen_for_float32();
};

/// The data as inference sees them, in the units in which the answers are wanted. With weights, Var(y_i) = s2
/// / w_i beside the signal, and the loss is 1/(2W) sum w_i (f_i - y_i)^2, W = sum w_i: a row of weight m does
/// what m equal rows do, with the same time t.
struct Observations {
  Vector y;           ///< n
  Vector f0;          ///< n, network output at initialization (zeros for infinite width), in units of y
  Matrix covariates;  ///< n x q', without the intercept; q' may be 0
  std::vector<std::string> covariate_names;
  Vector test_direction;  ///< paper mode: the fixed effect of the test; empty: f0
  Vector weights{};       ///< n, > 0; empty: one each
  PureError pure{};       ///< of replicates that were merged into rows

  double total_weight() const;  ///< W
};

/// At the root of the flow likelihood the spectral losses exp(-t lambda) z^2 are uncorrelated with lambda.
struct Decorrelation {
  Vector eigenvalues;                                             ///< N
  Vector losses;                                                  ///< exp(-t lambda_i) z_i^2, units of y^2
  double correlation = std::numeric_limits<double>::quiet_NaN();  ///< NaN when t is 0 or not computed
};

/// What a Krylov run did, and how sure its numbers are.
struct KrylovReport {
  Index steps = 0;         ///< of the response's Krylov space
  bool exhausted = false;  ///< the space is invariant: f(M)w is exact
  FlowBracket bracket;     ///< certified, for the time of reml-flow
  double fit_error = 0.0;  ///< bound for reml-flow's fitted vector, of |w| (flow_fit_error)
  Index eigenpairs = 0;    ///< found and taken out of the probes' way
  Index deflation_vectors =
      0;  ///< of a random block's space that found them; 0: the response's own found them
  Index probes = 0, probe_steps = 0;
  Index moment_probes = 0;          ///< of five steps each, which only sharpen the probes' first moments
  double resolved_shrinkage = 0.0;  ///< largest tau lambda_1 that the space resolves, at most the bound
  double decision_movement =
      0.0;             ///< that more steps of the probes could bring to the decisions, in tolerances
  Index products = 0;  ///< columns that H was applied to
};

/// Everything one run says, in units of y.
struct Analysis {
  ScoreTest test;
  RemlFit ridge;                    ///< variance components: tau, s2
  RemlFit flow;                     ///< the paper's likelihood
  RemlFit path;                     ///< REML along the chosen path (equal to flow or ridge on those)
  AveragedSignal signal;            ///< of rule expected-loo; not_run where it was not asked for
  std::vector<StoppingRule> rules;  ///< all six, in the order of all_rules (not_run: not asked for)
  std::size_t chosen = 0;           ///< index into rules
  Path chosen_path;                 ///< the path stopped at the chosen time
  double noise_variance =
      std::numeric_limits<double>::quiet_NaN();  ///< of the chosen rule's model (ridge unless reml)
  double effective_dof = std::numeric_limits<double>::quiet_NaN();  ///< at the chosen time
  double signal_share = std::numeric_limits<double>::quiet_NaN();   ///< 1 - w'phi(M)w/w'w at the chosen time
  FixedEffects fixed = FixedEffects::none(1);                       ///< with weights: rows times sqrt(w_i)
  ProjectedSpectrum spectrum;  ///< engine dense; empty otherwise. With weights: of the whitened operator
  std::optional<KrylovReport> krylov;
  SpectralData data;
  /// Of H as it was given, also with weights; empty when the chosen rule is not usable.
  DualFit fit;
  Vector loo_residuals;  ///< n, leave-one-out, of the ridge fit with the chosen dof; empty likewise
  Decorrelation decorrelation;
  ProfileIntervals components;        ///< of the variance components; with options.diagnostics
  ResidualCheck residuals;            ///< of ridge's leave-one-out residuals at its tau; likewise
  std::vector<std::string> warnings;  ///< complete sentences
  std::vector<std::pair<std::string, double>> seconds;  ///< stage, wall time

  const StoppingRule& rule() const { return rules[chosen]; }
  const StoppingRule& rule(RuleKind kind) const { return rules[static_cast<std::size_t>(kind)]; }
  bool is_usable() const { return usable(rules[chosen].outcome); }
};

/// Weights enter by whitening: D H D n/W (operators/scaled_operator.h) with responses sqrt(w_i) y_i.
///
/// Test, all stopping rules, variance components and fit, from one eigendecomposition (engine dense: about
/// 1.2 dsyevd's of size N; memory about 5 n^2 doubles at the peak) or from products with H (engine krylov:
/// tens of products for the test and reml-flow, hundreds to thousands for all rules; memory 8 n (steps + 100)
/// bytes). Throws InputError for options out of range and inputs of
/// wrong size; everything numerical is in the result.
Analysis analyse(const TrainingOperator& H, const Observations& observations,
                 const AnalysisOptions& options = {});

/// Only what `gradflow test` needs: the score test, from eigenvalues alone (a fifth of the cost) or from the
/// first Krylov steps and probes.
ScoreTest analyse_test(const TrainingOperator& H, const Observations& observations,
                       const AnalysisOptions& options = {});

/// The fixed-effects design at n rows: intercept (if any) first, then covariates; with weights, rows times
/// sqrt(w_i).
FixedEffects make_fixed_effects(Index n, const Observations& observations, const AnalysisOptions& options);

/// t / learning rate (half_mse) or t / (2 learning rate) (mse); NaN without a learning rate. On the descent
/// path the time is the number of steps already.
double steps_at(const Path& path, const AnalysisOptions& options);

}  // namespace gradflow
