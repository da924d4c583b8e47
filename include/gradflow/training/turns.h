#pragma once

#include <string>
#include <vector>

#include "gradflow/training/run.h"

namespace gradflow {

/// Of a rule that trains one network several times, in turn a part further each, to say how long is best
/// (cross_validation.h, trained_gcv.h).
struct TurnOptions {
  TrainerOptions trainer{};   ///< with the learning rate; a batch is at most the rows of a training
  bool follows_rate = false;  ///< lowers the learning rate as the operator grows (rate_follower.h)
  Index max_steps = 100000;   ///< of each training, >= 1
  std::string checkpoint{};   ///< file of all trainings' states, kept at the end; another, FILE.part, while
                              ///< one of them is trained. Empty: none
  double seconds_between_checkpoints = 20.0;
  std::string fingerprint{};  ///< of data and options
  Progress* progress = nullptr;
};

/// What such a rule has found.
struct TurnCurve {
  bool in_time = true;           ///< points are flow times; false: steps, of optimisers without
  std::vector<double> points{};  ///< where every training was looked at, from 0 on, at most 5 % apart
  Index best = 0;                ///< of points: where the rule's criterion is least
  bool settled = false;  ///< training went on to twice the best point or beyond, and the rule has seen
                         ///< its criterion rise
  Index steps = 0;       ///< of all trainings together
  std::vector<std::string> warnings{};  ///< complete sentences

  double point() const { return points[static_cast<std::size_t>(best)]; }
  /// The last point that max_steps left is the best: how long to train is not known.
  bool still_falling() const { return !settled && best + 1 == static_cast<Index>(points.size()); }
};

}  // namespace gradflow
