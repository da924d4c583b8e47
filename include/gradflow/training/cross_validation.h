#pragma once

#include <string>
#include <vector>

#include "gradflow/training/run.h"

namespace gradflow {

struct CrossValidationOptions {
  int folds = 5;              ///< K, >= 2
  TrainerOptions trainer{};   ///< with the learning rate; a batch is at most the rows of a fold's training
  bool follows_rate = false;  ///< lowers the learning rate as the operator grows (rate_follower.h)
  Index max_steps = 100000;   ///< of each fold, >= 1
  std::string checkpoint{};   ///< file of all folds' states, kept at the end; another, FILE.part, while one
                              ///< of them is trained. Empty: none
  double seconds_between_checkpoints = 20.0;
  std::string fingerprint{};  ///< of data and options
  Progress* progress = nullptr;
};

/// Cross-validation of a training in K folds: how long to train, from rows that had no part in it, and what
/// errors to expect there.
///
///     CV(t) = 1/n sum_i loss( y_i, f_-k(i)(x_i; t) ),    best = argmin_t CV(t)
///
/// f_-k(.; t) the network trained from the same theta_0 without the rows of fold k up to flow time t, with
/// the fixed effects of its own rows. Time 0, no training, is among the times. A fold holds each class's
/// share of the rows where responses are indicators, and copies (rows equal in X) together elsewhere.
struct CrossValidation {
  int folds = 0;
  bool in_time = true;  ///< points are flow times; false: steps, of optimisers without
  /// Where every fold was looked at, from 0 on, at most 5 % apart, and CV there.
  std::vector<double> points{}, losses{};
  Index best = 0;               ///< of points: the least loss
  double standard_error = 0.0;  ///< of losses[best]: of the mean over folds, from their spread
  Matrix left_out{};            ///< n x K: F + X beta of every row by the training without it, at best
  bool settled = false;         ///< training went on to twice the best point, and no point was better
  Index steps = 0;              ///< of all folds together
  std::vector<std::string> warnings{};  ///< complete sentences

  double point() const { return points[static_cast<std::size_t>(best)]; }
  /// The last point that max_steps left is the best: how long to train is not known.
  bool still_falling() const { return !settled && best + 1 == static_cast<Index>(points.size()); }
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
