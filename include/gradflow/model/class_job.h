#pragma once

#include <string>
#include <utility>
#include <vector>

#include "gradflow/base/progress.h"
#include "gradflow/data/class_dataset.h"
#include "gradflow/data/file_stamp.h"
#include "gradflow/inference/class_test.h"
#include "gradflow/inference/classification.h"
#include "gradflow/model/data_source.h"
#include "gradflow/model/operator_spec.h"

namespace gradflow {

/// One question about one table of classes and one training operator (or a few to choose from).
struct ClassJob {
  /// Most training rows: the work is with whole matrices, about 10 minutes of two cores for one-hot.
  static constexpr Index most_rows = 8000;

  DataSource source;
  DatasetOptions dataset;
  OperatorSpec operator_spec;   ///< finite or infinite; a user's matrix has no rule for new rows
  ClassOptions classification;  ///< path: ridge
  /// Instead of operator_spec, the one of kernel_candidates() with the smallest criterion of the method.
  bool choose_kernel = false;
  bool test_only = false;  ///< no fit
  double level = 0.95;     ///< of the verdict, the intervals and the calibration error's quantile
  std::uint64_t seed = 1;
  Progress* progress = nullptr;
};

/// What is to be said of the data: their report's warnings, and the copies left out; complete sentences.
std::vector<std::string> warnings_of(const ClassDataset& data);

/// ntk:relu of 1, 2 and 3 hidden layers with bias variance 0, 0.1 and 1.
std::vector<KernelSum> kernel_candidates();

struct KernelCandidate {
  std::string text;
  Outcome outcome = Outcome::not_run;
  double criterion = std::numeric_limits<double>::quiet_NaN();  ///< ClassFit::criterion
  bool chosen = false;
};

/// How good probabilities of rows that had no part in them are.
struct ClassScores {
  double accuracy = std::numeric_limits<double>::quiet_NaN();
  double log_loss = std::numeric_limits<double>::quiet_NaN();  ///< nats
  double brier = std::numeric_limits<double>::quiet_NaN();
  double calibration_error = std::numeric_limits<double>::quiet_NaN();
};

struct ClassResult {
  ClassDataset data;
  std::optional<KernelSource> kernel;
  std::string operator_description;
  std::vector<KernelCandidate> candidates;  ///< of choose_kernel, otherwise empty
  ClassTest test;  ///< of the operator asked for; under choose_kernel of the default one: the p-value
                   ///< of a chosen kernel would be too small
  std::string test_kernel;  ///< whose test it is
  ClassFit fit;
  /// one_hot: where gradient flow on the indicators has the smallest expected error under the fit's tau. The
  /// fit itself is ridge, whose leave-one-out scores are exact. NaN: not computed.
  double flow_time = std::numeric_limits<double>::quiet_NaN();
  ClassScores scores;          ///< of fit.leave_one_out
  ClassScores frequencies;     ///< of always predicting the class frequencies (calibrated by construction)
  CalibrationNull calibrated;  ///< the calibration error were the probabilities exactly right
  Reliability reliability;     ///< of the most probable class
  std::vector<Reliability> of_class;  ///< of every class
  /// K x K, rows by observed class, columns by the most probable class when the row is left out; or empty.
  std::vector<std::vector<Index>> confusion;
  std::vector<std::string> warnings;                    ///< complete sentences, those of the data included
  std::vector<std::pair<std::string, double>> seconds;  ///< stage, wall time
};

/// Reads, encodes, builds H = Theta(X, X)/n (of a finite network: the linearised change from its initial
/// output), tests and fits. Rows equal in features but not in class stay rows of their own. Throws InputError
/// as make_class_dataset() does, for a user's matrix, for more than most_rows rows and for too little memory.
ClassResult run(const ClassJob& job);

}  // namespace gradflow
