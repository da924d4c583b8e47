#include "training/trainings_in_turn.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/data/safetensors.h"
#include "gradflow/training/rate_follower.h"

namespace gradflow {
namespace {

constexpr double growth = 0.05;    // from one point to the next, relative
constexpr Index first_steps = 50;  // before the first comparison
constexpr Index round_points = 5;  // between two of them
constexpr double twice = 2.0;      // the best point: where training may end
constexpr const char* turns_key = "gradflow_trainings_in_turn";

// What a training says of the rows asked for, from one point on.
class PointCurve final : public Monitor {
 public:
  PointCurve(const TurnPoints& points, std::optional<TrainingSet> asked, Index next)
      : points_(points), asked_(std::move(asked)), first_(next) {}

  Due due() const override {
    const double point = points_.at(next());
    if (points_.in_time()) return {Due::never, point};
    return {static_cast<Index>(point), std::numeric_limits<double>::infinity()};
  }
  std::string look(const Trainer& trainer) override {
    predictions_.push_back(asked_ ? trainer.predict(asked_->X, asked_->design) : trainer.fitted());
    losses_.push_back(trainer.loss_of(predictions_.back(), asked_ ? asked_->Y : trainer.data().Y));
    return "";
  }
  void save(TensorFile& file) const override {
    write_state(file, "curve.losses", Eigen::Map<const Vector>(losses_.data(), looks()));
    for (Index i = 0; i < looks(); ++i) write_state(file, name(i), predictions_[static_cast<std::size_t>(i)]);
  }
  void restore(const TensorFile& file) override {
    const Matrix losses = read_state(file, "curve.losses");
    losses_.assign(losses.data(), losses.data() + losses.size());
    predictions_.clear();
    for (Index i = 0; i < looks(); ++i) predictions_.push_back(read_state(file, name(i)));
  }

  Index looks() const { return static_cast<Index>(losses_.size()); }
  const std::vector<double>& losses() const noexcept { return losses_; }
  const Matrix& predictions(Index i) const { return predictions_[static_cast<std::size_t>(i)]; }

 private:
  Index next() const { return first_ + looks(); }
  static std::string name(Index i) { return fmt::format("curve.predictions.{}", i); }

  const TurnPoints& points_;
  std::optional<TrainingSet> asked_;
  Index first_;
  std::vector<double> losses_;
  std::vector<Matrix> predictions_;
};

std::string prefix(Index k) { return fmt::format("turns.{}.", k); }

}  // namespace

TurnPoints::TurnPoints(const TrainerOptions& trainer) : in_time_(has_flow_time(trainer.optimiser.kind)) {
  const OptimiserOptions& optimiser = trainer.optimiser;
  const bool heavy = optimiser.kind == OptimiserKind::momentum || optimiser.kind == OptimiserKind::nesterov;
  if (in_time_) apart_ = optimiser.learning_rate / (heavy ? 1.0 - optimiser.momentum : 1.0);
  if (in_time_ && trainer.loss == TrainingLoss::mse) apart_ *= 2.0;
}

double TurnPoints::at(Index i) const {
  while (static_cast<Index>(points_.size()) <= i) {
    const double last = points_.back(), further = growth * last;
    points_.push_back(last + std::max(apart_, in_time_ ? further : std::floor(further)));
  }
  return points_[static_cast<std::size_t>(i)];
}

Index TurnPoints::first_beyond(Index steps) const {
  Index i = 0;
  while (at(i) < static_cast<double>(steps) * apart_) ++i;
  return i;
}

TrainingsInTurn::TrainingsInTurn(TrainableNetwork& network, Index count, TurnOptions options)
    : network_(network),
      options_(std::move(options)),
      start_(network.parameters()),
      points_(options_.trainer),
      members_(static_cast<std::size_t>(count)),
      target_(points_.first_beyond(first_steps)) {
  require(options_.max_steps >= 1, "max_steps", options_.max_steps, "must be >= 1");
}

void TrainingsInTurn::run(TurnCurve& curve, std::string_view too_few) {
  curve.in_time = points_.in_time();
  curve.settled = train();
  for (const Member& member : members_) {
    curve.steps += member.steps;
    if (!member.problem.empty()) curve.warnings.push_back(member.problem);
  }
  if (!curve.settled && curve.warnings.empty())
    curve.warnings.push_back(fmt::format("{} steps {}", options_.max_steps, too_few));
}

bool TrainingsInTurn::train() {
  resume();
  for (;;) {
    for (Member& member : members_)
      if (!member.cut && member.looks() <= target_) advance(member);
    Index count = target_ + 1;
    for (const Member& member : members_) count = std::min(count, member.looks());
    if (settled(count)) return true;
    if (cut()) return false;
    target_ += round_points;
    save();
  }
}

bool TrainingsInTurn::cut() const {
  return std::ranges::any_of(members_, [](const Member& member) { return member.cut; });
}

bool TrainingsInTurn::past_best(const TurnCurve& curve) const {
  return !cut() && twice * curve.point() <= curve.points.back();
}

// Trains one on, to the target.
void TrainingsInTurn::advance(Member& member) {
  const Index k = index_of(member);
  network_.set_parameters(start_);
  TrainingSet set = rows(k);
  TrainerOptions trainer_options = options_.trainer;
  trainer_options.batch = std::min(trainer_options.batch, set.X.rows());
  Trainer trainer(network_, std::move(set), trainer_options);
  PointCurve curve(points_, asked(k), member.looks());
  std::unique_ptr<RateFollower> follower;
  RunOptions run = run_options(k);
  run.monitors = {&curve};
  if (options_.follows_rate) {
    follower = std::make_unique<RateFollower>(trainer, options_.trainer.seed);
    run.monitors.push_back(follower.get());
  }
  if (!member.state.tensors.empty()) {
    trainer.restore(member.state);
    if (follower) follower->restore(member.state);
  }
  const auto count = static_cast<Index>(members_.size());
  ProgressPart progress(options_.progress, fmt::format("{} ({} of {})", label(k), k + 1, count), k, count);
  run.progress = options_.progress != nullptr ? &progress : nullptr;
  const TrainingRun done = run_training(trainer, run);
  for (Index i = 0; i < curve.looks(); ++i) member.predictions[member.looks() + i] = curve.predictions(i);
  member.losses.insert(member.losses.end(), curve.losses().begin(), curve.losses().end());
  member.state = {};
  trainer.save(member.state);
  if (follower) follower->save(member.state);
  member.steps = done.steps;
  member.cut = member.looks() <= target_;
  if (done.end == TrainingEnd::diverged)
    member.problem = fmt::format("{} diverged: {}", label(k), done.reason);
  network_.set_parameters(start_);
  save();
}

RunOptions TrainingsInTurn::run_options(Index k) const {
  RunOptions run;
  run.max_steps = options_.max_steps;
  if (points_.in_time())
    run.stop_time = points_.at(target_);
  else
    run.max_steps = std::min(run.max_steps, static_cast<Index>(points_.at(target_)));
  if (!options_.checkpoint.empty()) run.checkpoint = options_.checkpoint + ".part";
  run.seconds_between_checkpoints = options_.seconds_between_checkpoints;
  run.fingerprint = fmt::format("{} part {} to {}", options_.fingerprint, k, target_);
  return run;
}

void TrainingsInTurn::save() const {
  if (options_.checkpoint.empty()) return;
  TensorFile file;
  file.metadata[turns_key] = options_.fingerprint;
  write_state(file, "turns.target", Vector::Constant(1, static_cast<double>(target_)));
  for (const Member& member : members_) {
    const std::string name = prefix(index_of(member));
    write_state(file, name + "losses", Eigen::Map<const Vector>(member.losses.data(), member.looks()));
    write_state(file, name + "counts",
                Eigen::Vector2d(static_cast<double>(member.steps), member.cut ? 1.0 : 0.0));
    if (!member.problem.empty()) file.metadata[name + "problem"] = member.problem;
    for (const auto& [i, predictions] : member.predictions)
      write_state(file, fmt::format("{}predictions.{}", name, i), predictions);
    for (const auto& [key, array] : member.state.tensors) file.tensors[name + "state." + key] = array;
  }
  save_more(file);
  write_safetensors(options_.checkpoint, file);
}

void TrainingsInTurn::resume() {
  const auto found = read_checkpoint(options_.checkpoint, turns_key, options_.fingerprint);
  if (!found) return;
  const TensorFile& file = *found;
  target_ = static_cast<Index>(read_state(file, "turns.target")(0));
  for (Member& member : members_) {
    const std::string name = prefix(index_of(member)), state = name + "state.",
                      predictions = name + "predictions.";
    const Matrix losses = read_state(file, name + "losses"), counts = read_state(file, name + "counts");
    member.losses.assign(losses.data(), losses.data() + losses.size());
    member.steps = static_cast<Index>(counts(0));
    member.cut = counts(1) != 0.0;
    if (const auto problem = file.metadata.find(name + "problem"); problem != file.metadata.end())
      member.problem = problem->second;
    for (const auto& [key, array] : file.tensors) {
      if (key.starts_with(state)) member.state.tensors[key.substr(state.size())] = array;
      if (key.starts_with(predictions))
        member.predictions[std::stol(key.substr(predictions.size()))] = read_state(file, key);
    }
  }
  restore_more(file);
}

}  // namespace gradflow
