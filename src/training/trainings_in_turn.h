#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gradflow/training/turns.h"

namespace gradflow {

/// Flow times, or steps of optimisers without, from 0 on: at first a step apart, then 5 %.
class TurnPoints {
 public:
  explicit TurnPoints(const TrainerOptions& trainer);
  bool in_time() const noexcept { return in_time_; }
  double at(Index i) const;
  Index first_beyond(Index steps) const;

 private:
  bool in_time_;
  double apart_ = 1.0;  // at least: one step
  mutable std::vector<double> points_{0.0};
};

/// Trainings of one network from the same theta_0 on rows of their own. All of them in turn go a few points
/// further, until what they predict there says that it is enough, or max_steps or divergence ends one of
/// them. The checkpoint holds all of them; FILE.part is of the one being trained.
class TrainingsInTurn {
 public:
  virtual ~TrainingsInTurn() = default;

 protected:
  TrainingsInTurn(TrainableNetwork& network, Index count, TurnOptions options);

  struct Member {
    std::vector<double> losses{};           ///< of the rows it is asked for, at the points so far
    std::map<Index, Matrix> predictions{};  ///< of them, F + X beta, at points that are not forgotten
    TensorFile state{};                     ///< of its trainer; empty: not begun
    Index steps = 0;
    bool cut = false;       ///< by divergence or max_steps
    std::string problem{};  ///< a sentence where the former
    Index looks() const { return static_cast<Index>(losses.size()); }
  };

  virtual TrainingSet rows(Index k) const = 0;  ///< that member k is trained on
  /// That its predictions are of; none: those it is trained on.
  virtual std::optional<TrainingSet> asked(Index k) const = 0;
  virtual std::string label(Index k) const = 0;  ///< "training without fold 2"
  /// Every member has been at points 0 to count - 1. Whether that is enough.
  virtual bool settled(Index count) = 0;
  virtual void save_more(TensorFile&) const {}
  virtual void restore_more(const TensorFile&) {}

  /// Trains until settled() or cut short, and says so in `curve`: settled, steps and warnings; `too_few` is
  /// what max_steps were too few for.
  void run(TurnCurve& curve, std::string_view too_few);

  std::vector<Member>& members() noexcept { return members_; }
  const TurnPoints& points() const noexcept { return points_; }
  /// Whether the trainings have gone to twice the best point of the curve, none of them cut short.
  bool past_best(const TurnCurve& curve) const;

 private:
  bool cut() const;
  bool train();  // false where cut short
  Index index_of(const Member& member) const { return &member - members_.data(); }
  void advance(Member& member);
  RunOptions run_options(Index k) const;
  void save() const;
  void resume();

  TrainableNetwork& network_;
  TurnOptions options_;
  const Vector start_;
  TurnPoints points_;
  std::vector<Member> members_;
  Index target_;  // the last point of this round
};

}  // namespace gradflow
