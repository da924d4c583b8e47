#pragma once

#include <optional>

#include "gradflow/inference/outcome.h"
#include "gradflow/training/cross_validation.h"
#include "gradflow/training/following_stop.h"
#include "gradflow/training/trained_gcv.h"
#include "gradflow/training/watch.h"

namespace gradflow {

/// When to stop a training.
///
///     steps        after a given number
///     reml_risk    at the time of rule reml-risk at theta_0's operator (inference/stopping.h)
///     reml_flow    at that of reml-flow
///     follow       by the risk of the operator as it moves (following_stop.h)
///     follow_flow  by its likelihood
///     follow_gcv   by generalised cross-validation along the path
///     follow_gdf   by generalised cross-validation with the degrees of freedom that the training itself has
///                  used, from trainings on disturbed responses (trained_gcv.h); any number of rows and
///                  outputs, any optimiser, not for indicators of classes
///     validation   at the least loss on held-out rows, then trained anew on all rows to that flow time (or
///                  to as many steps where there is none)
///     cross_validation  the same with the loss of every row while its fold was left out
///                  (cross_validation.h); to max_steps where that was still falling
enum class TrainingStop {
  steps,
  reml_risk,
  reml_flow,
  follow,
  follow_flow,
  follow_gcv,
  follow_gdf,
  validation,
  cross_validation
};
std::string_view to_string(TrainingStop stop);
TrainingStop parse_training_stop(const std::string& text);  ///< throws InputError listing the names

/// Flow time becomes steps so: gd, eta a step (2 eta for `mse`); momentum and nesterov, what the recursion of
/// optimiser.h gives, eta / (1 - beta) a step after the first; the last step is shortened to land on the
/// time. For adam and adamw, training ends when the fitted values are nearest to the flow's at that time
/// (MatchedTimeStop).
struct TrainRequest {
  TrainerOptions trainer{};
  /// NaN: chosen, from theta_0's largest eigenvalue: 0.4 / lambda_1 (gd), a tenth of the largest stable rate
  /// (momentum, nesterov), both halved for `mse`, and lowered as lambda_1 grows (rate_follower.h); 1e-3 for
  /// adam and adamw.
  double learning_rate = std::numeric_limits<double>::quiet_NaN();
  TrainingStop stop = TrainingStop::reml_risk;
  Index steps = 0;           ///< of stop `steps`, >= 1
  Index max_steps = 100000;  ///< of every other, >= 1
  double validation_fraction = 0.2;
  bool refit = true;       ///< of `validation`
  int folds = 5;           ///< of `cross_validation`, >= 2
  int twins = 3;           ///< of `follow_gdf`, 1 to 1000
  FollowOptions follow{};  ///< kind is the stop's
  bool watch = true;
  WatchOptions watching{};
  TrainingSet held_out{};    ///< watched only; may be empty
  std::string checkpoint{};  ///< RunOptions
  double seconds_between_checkpoints = 20.0;
  std::string fingerprint{};  ///< of the data and whatever else decides the result; the options are added
  Progress* progress = nullptr;
};

struct TrainReport {
  Outcome outcome = Outcome::not_run;  ///< iteration_limit: max_steps came first; unidentified: diverged
  std::string reason{};
  double learning_rate = std::numeric_limits<double>::quiet_NaN();
  bool learning_rate_chosen = false;
  /// Of M at theta_0; K > 1: of the nK x nK operator, by power iteration.
  double largest_eigenvalue = std::numeric_limits<double>::quiet_NaN();
  double stable_rate = std::numeric_limits<double>::quiet_NaN();  ///< largest stable learning rate at theta_0
  double planned_time = std::numeric_limits<double>::quiet_NaN();  ///< of the rule at theta_0
  double planned_log_time_standard_error = 0.0;  ///< of its logarithm, where random probes were needed
  double matched_time = std::numeric_limits<double>::quiet_NaN();  ///< at the end: where along theta_0's flow
  TrainingRun run{};
  double start_loss = std::numeric_limits<double>::quiet_NaN();
  double loss = std::numeric_limits<double>::quiet_NaN();  ///< of the training rows at the end
  Matrix coefficients{};                                   ///< of the fixed effects, q x K
  /// Share of the training rows whose largest score is their class's; NaN unless responses are indicators.
  double accuracy = std::numeric_limits<double>::quiet_NaN();
  /// Of rows held out, or of all rows while their folds were.
  double validation_loss = std::numeric_limits<double>::quiet_NaN();
  double validation_accuracy = std::numeric_limits<double>::quiet_NaN();  ///< of the same held-out rows
  Index validation_steps = -1;  ///< of the best held-out loss; -1: not asked for
  std::optional<CrossValidation> cross_validation{};
  std::optional<TrainedGcv> trained_gcv{};
  std::vector<FollowRecord> follow{};
  std::vector<WatchRecord> watch{};
  std::optional<Verdict> verdict{};
  std::vector<std::string> warnings{};
};

/// Trains the network, which then has the weights of the stop. Divergence, a rule without a usable time and a
/// limit reached are outcomes. The same bits for any number of threads: BLAS runs on one. Throws InputError
/// for options out of range, a learning rate at or above the largest stable one, rules with cross-entropy
/// (stops `steps`, `validation` and `cross_validation` are for all), and following rules with K > 1.
/// `reml_risk` and `reml_flow` take K outputs as sharing one operator and one time (initial_flow.h). Beyond
/// InitialFlow::most_rows rows their time comes from products with the operator (planned_time.h), which is
/// for one output and optimisers with a flow time; other rules are refused there.
TrainReport train(TrainableNetwork& network, const TrainingSet& data, const TrainRequest& request);

/// Bytes of memory that train() takes at most, about, with the set itself: copies of the rows, what passes
/// keep of every row, the operator as a matrix where the stop or the watch makes it, the optimiser's state.
double training_memory(const TrainableNetwork& network, const TrainingSet& data, const TrainRequest& request);

/// lambda_1 of M at the network's theta, which is moved and put back: 40 power iterations with J' and central
/// differences along it, two forward and one reverse pass each; from below, to a few percent where lambda_2
/// is close.
double largest_eigenvalue(TrainableNetwork& network, const TrainingSet& data);

}  // namespace gradflow
