#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "gradflow/data/file_stamp.h"
#include "gradflow/inference/analysis.h"
#include "gradflow/inference/error_calibration.h"
#include "gradflow/model/choice_average.h"
#include "gradflow/model/data_source.h"
#include "gradflow/model/kernel_choice.h"
#include "gradflow/model/noise.h"
#include "gradflow/model/operator_spec.h"
#include "gradflow/model/plan.h"
#include "gradflow/model/repeated_choice.h"

namespace gradflow {

/// One question about one data set and one training operator.
struct Job {
  DataSource source;
  DatasetOptions dataset;
  OperatorSpec operator_spec;
  ChoiceOptions choice;      ///< what of the kernel and the response's transform is left to the likelihood
  NoiseOptions noise;        ///< what of the noise is estimated; run() only, dense engine only
  AnalysisOptions analysis;  ///< engine and the Krylov limits are the plan's, not these
  ComputeOptions compute;
  bool all_rules = true;  ///< Krylov only: false runs the chosen rule alone
  /// Replicates stay rows of their own, and run_test() takes the dense engine: what further_tests.h needs.
  bool every_row = false;
  std::string checkpoint;  ///< Krylov only: file that records products for a resumed run; empty: none
  /// Called once, before the work starts, with the plan; may be empty.
  std::function<void(const Plan&, Index rows)> announce;
};

/// The data and the operator, before any inference.
struct PreparedJob {
  Dataset dataset;
  std::optional<KernelSource> kernel;  ///< empty for a user's matrix
  std::optional<KernelChoice> choice;  ///< where something was left to the likelihood
  /// The choice made again without folds, for predictions: where ChoiceOptions::folds_of() asks for it.
  std::optional<RepeatedChoice> repeated;
  /// Others to average predictions with: where ChoiceOptions::average_of() asks for it.
  std::optional<ChoiceAverage> average;
  ResponseTransform transform{};  ///< of the response; dataset and observations are transformed
  bool two_values = false;        ///< the response has exactly two, before any merging
  Plan plan;
  std::unique_ptr<TrainingOperator> H;
  std::vector<FileStamp> files;                         ///< as they were read
  Observations observations;                            ///< in raw units of y
  std::vector<std::pair<std::string, double>> seconds;  ///< stage, wall time
};

/// Reads the data, chooses kernel and transform where asked to, transforms the response, merges replicates
/// (unless the operator is a user's matrix, or every_row is set), plans the computation, builds the operator
/// and states the observations in raw units:
///
///     y = center + scale * y_standardised,     f0 = center + scale * f(X)
///
/// center and scale are the recipe's (0 and 1 where the response is not standardised), f the network at
/// initialization (0 for infinite width and for a user's matrix). So every estimate, alpha and beta are in
/// units of y and a prediction needs no unscaling. Throws InputError, also where memory is too small; never
/// prints.
PreparedJob prepare(const Job& job, Question question);

/// What a job that stops or fits asks: of all rules, or of the chosen one alone. Rule loo needs what is kept
/// for all of them.
Question question_of(const Job& job);

/// The same for an operator and observations that the caller has: nothing is read, encoded, merged, chosen or
/// transformed. The operator's kind is `matrix`, with products_only where no matrix is kept. Throws
/// InputError for sizes that differ and where memory is too small.
PreparedJob prepare(const Job& job, std::unique_ptr<TrainingOperator> H, Observations observations,
                    Question question);

struct JobResult {
  PreparedJob prepared;
  /// Where the likelihood chose kernel or transform, the test is that of the operator and response as given:
  /// a test of what was chosen for this very response would not have its size.
  ///
  /// With a noise model that was applied, everything is made with the estimated weights (times the given
  /// ones), which prepared.observations.weights then holds; but the test stays that of normal noise, as the
  /// weights have seen the response, and under Student's t so does the check of the residuals, which such
  /// weights make look normal.
  Analysis analysis;
  std::optional<NoiseEstimate> noise{};  ///< where a noise model was asked for
  ErrorCalibration calibration{};        ///< of the errors of predictions; not known with a noise model
};

/// prepare() and analyse(), with products recorded in job.checkpoint where that is asked for. A data file
/// that changed meanwhile, and a checkpoint that could not be written to its end, are warnings of the result.
/// A noise model is estimated on the operator (the chosen one) after an analysis with normal noise; where
/// that does not succeed, the analysis stays, and noise->reason says why. Replicates are then not merged.
/// Throws InputError for a noise model with the Krylov engine or the paper's method.
JobResult run(const Job& job);
JobResult run_prepared(const Job& job, PreparedJob prepared);
/// prepare() and analyse_test(), likewise.
std::pair<PreparedJob, ScoreTest> run_test(const Job& job);
std::pair<PreparedJob, ScoreTest> run_prepared_test(const Job& job, PreparedJob prepared);

}  // namespace gradflow
