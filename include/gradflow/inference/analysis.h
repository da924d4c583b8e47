#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gradflow/base/progress.h"
#include "gradflow/inference/posterior.h"
#include "gradflow/inference/score.h"
#include "gradflow/inference/stopping.h"

namespace gradflow {

/// Loss whose learning rate the user speaks of: `half_mse` is 1/(2n) sum (f - y)^2, steps = t / learning
/// rate; `mse` (PyTorch's MSELoss) has no 1/2: steps = t / (2 learning rate).
enum class Loss { half_mse, mse };

struct AnalysisOptions {
  bool intercept = true;
  bool paper =
      false;  ///< paper-faithful: no fixed effects in the stopping time, f0 as the fixed effect in the test
  RuleKind rule = RuleKind::reml_risk;
  Path path{};                             ///< kind and fixed parameters; time is ignored
  bool estimate_second_parameter = false;  ///< d of `decay`, m of `implicit` by REML
  PValueMethod p_value = PValueMethod::exact;
  double level = 0.95;                                              ///< of intervals, in (0, 1)
  double learning_rate = std::numeric_limits<double>::quiet_NaN();  ///< > 0; NaN: steps are not computed
  Loss loss = Loss::half_mse;
  double validation_fraction = 0.2;
  std::uint64_t seed = 1;
  double largest_shrinkage = RemlOptions{}.largest_shrinkage;
  Progress* progress = nullptr;
  void check() const;  ///< throws InputError naming the field
};

/// The data as inference sees them, in the units in which the answers are wanted.
struct Observations {
  Vector y;           ///< n
  Vector f0;          ///< n, network output at initialization (zeros for infinite width), in units of y
  Matrix covariates;  ///< n x q', without the intercept; q' may be 0
  std::vector<std::string> covariate_names;
  Vector test_direction;  ///< paper mode: the fixed effect of the test; empty: f0
};

/// At the root of the flow likelihood the spectral losses exp(-t lambda) z^2 are uncorrelated with lambda.
struct Decorrelation {
  Vector eigenvalues;                                             ///< N
  Vector losses;                                                  ///< exp(-t lambda_i) z_i^2, units of y^2
  double correlation = std::numeric_limits<double>::quiet_NaN();  ///< NaN when t is 0 or not computed
};

/// Everything one run says, in units of y.
struct Analysis {
  ScoreTest test;
  RemlFit ridge;                    ///< variance components: tau, s2
  RemlFit flow;                     ///< the paper's likelihood
  RemlFit path;                     ///< REML along the chosen path (equal to flow or ridge on those)
  std::vector<StoppingRule> rules;  ///< all five, in the order of all_rules
  std::size_t chosen = 0;           ///< index into rules
  Path chosen_path;                 ///< the path stopped at the chosen time
  double noise_variance =
      std::numeric_limits<double>::quiet_NaN();  ///< of the chosen rule's model (ridge unless reml)
  double effective_dof = std::numeric_limits<double>::quiet_NaN();  ///< at the chosen time
  double signal_share = std::numeric_limits<double>::quiet_NaN();   ///< 1 - w'phi(M)w/w'w at the chosen time
  FixedEffects fixed = FixedEffects::none(1);
  ProjectedSpectrum spectrum;
  SpectralData data;
  DualFit fit;           ///< empty when the chosen rule is not usable
  Vector loo_residuals;  ///< n, leave-one-out, of the ridge fit with the chosen dof; empty likewise
  Decorrelation decorrelation;
  std::vector<std::string> warnings;                    ///< complete sentences
  std::vector<std::pair<std::string, double>> seconds;  ///< stage, wall time

  const StoppingRule& rule() const { return rules[chosen]; }
  bool is_usable() const { return usable(rules[chosen].outcome); }
};

/// Test, all stopping rules, variance components and fit from one eigendecomposition.
/// Throws InputError for options out of range and inputs of wrong size; everything numerical is in the
/// result. Cost: about 1.2 dsyevd's of size N; memory about 5 n^2 doubles at the peak.
Analysis analyse(const TrainingOperator& H, const Observations& observations,
                 const AnalysisOptions& options = {});

/// Only what `gradflow test` needs: the score test, from eigenvalues alone. A fifth of the cost.
ScoreTest analyse_test(const TrainingOperator& H, const Observations& observations,
                       const AnalysisOptions& options = {});

/// The fixed-effects design at n rows: intercept (if any) first, then covariates.
FixedEffects make_fixed_effects(Index n, const Observations& observations, const AnalysisOptions& options);

/// t / learning rate (half_mse) or t / (2 learning rate) (mse); NaN without a learning rate. On the descent
/// path the time is the number of steps already.
double steps_at(const Path& path, const AnalysisOptions& options);

}  // namespace gradflow
