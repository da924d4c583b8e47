#pragma once

#include <vector>

#include "gradflow/training/turns.h"

namespace gradflow {

struct CrossValidationOptions : TurnOptions {
  int folds = 5;  ///< K, >= 2
};

/// Cross-validation of a training in K folds: how long to train, from rows that had no part in it, and what
/// errors to expect there.
///
///     CV(t) = 1/n sum_i loss( y_i, f_-k(i)(x_i; t) ),    best = argmin_t CV(t)
///
/// f_-k(.; t) the network trained from the same theta_0 without the rows of fold k up to flow time t, with
/// the fixed effects of its own rows. Time 0, no training, is among the times. A fold holds each class's
/// share of the rows where responses are indicators, and copies (rows equal in X) together elsewhere.
struct CrossValidation : TurnCurve {
  int folds = 0;
  std::vector<double> losses{};  ///< CV at the points
  double standard_error = 0.0;   ///< of losses[best]: of the mean over folds, from their spread
  Matrix left_out{};             ///< n x K: F + X beta of every row by the training without it, at best

  double loss() const { return losses[static_cast<std::size_t>(best)]; }
};

/// Trains the network without each fold, all folds in turn a quarter further, until CV has not improved since
/// half of the way. The network has the parameters it came with at the end. What a fold's divergence or
/// max_steps cuts short, ends there for all of them, with a warning.
///
/// The same seed gives the same bits for any number of threads, and an interrupted run goes on from its
/// checkpoint to the same bits. Cost: K - 1 trainings of all rows to at most 2.5 times the best time, and n x
/// K numbers for each of some ten looks. Throws InputError for folds out of range or fewer rows than
/// folds, a checkpoint of another run, and what Trainer throws.
CrossValidation cross_validate(TrainableNetwork& network, const TrainingSet& data,
                               const CrossValidationOptions& options);

}  // namespace gradflow
