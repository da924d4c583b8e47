#include "gradflow/training/cross_validation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>

#include "data/duplicates.h"
#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/data/safetensors.h"
#include "gradflow/inference/left_out.h"
#include "gradflow/training/rate_follower.h"
#include "training/validation_stop.h"

namespace gradflow {
namespace {

constexpr double growth = 0.05;    // from one point to the next, relative
constexpr Index first_steps = 50;  // before the first comparison
constexpr Index round_points = 5;  // between two of them
constexpr double past_best = 2.0;  // of the best point: where training may end
constexpr const char* fingerprint_key = "gradflow_cross_validation";

std::vector<Index> folds_of(const TrainingSet& data, int folds, std::uint64_t seed) {
  const Labels labels = labels_of_indicators(data.Y);
  if (labels.empty()) return assign_folds(first_equal_rows({data.X}), folds, seed);
  const auto n = static_cast<Index>(labels.size());
  require(folds >= 2 && folds <= n, "folds", folds, fmt::format("must be from 2 to the {} rows", n));
  std::vector<Index> order = RandomStream(seed, "folds").permutation(n);
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) {
    return labels[static_cast<std::size_t>(a)] < labels[static_cast<std::size_t>(b)];
  });
  std::vector<Index> fold(labels.size());
  for (Index i = 0; i < n; ++i)
    fold[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])] = i % folds;
  return fold;
}

// Flow times, or steps of optimisers without, at which all folds are looked at.
class Points {
 public:
  Points(const TrainerOptions& trainer, bool in_time) : in_time_(in_time) {
    const OptimiserOptions& optimiser = trainer.optimiser;
    const bool heavy = optimiser.kind == OptimiserKind::momentum || optimiser.kind == OptimiserKind::nesterov;
    if (in_time) apart_ = optimiser.learning_rate / (heavy ? 1.0 - optimiser.momentum : 1.0);
    if (in_time && trainer.loss == TrainingLoss::mse) apart_ *= 2.0;
  }
  bool in_time() const noexcept { return in_time_; }
  double at(Index i) const {
    while (static_cast<Index>(points_.size()) <= i) {
      const double last = points_.back(), further = growth * last;
      points_.push_back(last + std::max(apart_, in_time_ ? further : std::floor(further)));
    }
    return points_[static_cast<std::size_t>(i)];
  }
  Index first_beyond(Index steps) const {
    Index i = 0;
    while (at(i) < static_cast<double>(steps) * apart_) ++i;
    return i;
  }

 private:
  bool in_time_;
  double apart_ = 1.0;  // at least: one step
  mutable std::vector<double> points_{0.0};
};

// What a training without a fold says of the fold's rows, from one point on.
class FoldCurve final : public Monitor {
 public:
  FoldCurve(const Points& points, TrainingSet held_out, Index next)
      : points_(points), held_out_(std::move(held_out)), first_(next) {}

  Due due() const override {
    const double point = points_.at(next());
    if (points_.in_time()) return {Due::never, point};
    return {static_cast<Index>(point), std::numeric_limits<double>::infinity()};
  }
  std::string look(const Trainer& trainer) override {
    predictions_.push_back(trainer.predict(held_out_.X, held_out_.design));
    losses_.push_back(trainer.loss_of(predictions_.back(), held_out_.Y));
    return "";
  }
  void save(TensorFile& file) const override {
    write_state(file, "fold.losses", Eigen::Map<const Vector>(losses_.data(), looks()));
    for (Index i = 0; i < looks(); ++i) write_state(file, name(i), predictions_[static_cast<std::size_t>(i)]);
  }
  void restore(const TensorFile& file) override {
    const Matrix losses = read_state(file, "fold.losses");
    losses_.assign(losses.data(), losses.data() + losses.size());
    predictions_.clear();
    for (Index i = 0; i < looks(); ++i) predictions_.push_back(read_state(file, name(i)));
  }

  Index looks() const { return static_cast<Index>(losses_.size()); }
  const std::vector<double>& losses() const noexcept { return losses_; }
  const Matrix& predictions(Index i) const { return predictions_[static_cast<std::size_t>(i)]; }

 private:
  Index next() const { return first_ + looks(); }
  static std::string name(Index i) { return fmt::format("fold.predictions.{}", i); }

  const Points& points_;
  TrainingSet held_out_;
  Index first_;
  std::vector<double> losses_;
  std::vector<Matrix> predictions_;
};

class FoldProgress final : public Progress {
 public:
  FoldProgress(Progress* whole, std::string stage, double from, double share)
      : whole_(whole), stage_(std::move(stage)), from_(from), share_(share) {}
  void update(std::string_view, double fraction) override {
    report_progress(whole_, stage_, from_ + share_ * fraction);
  }

 private:
  Progress* whole_;
  std::string stage_;
  double from_, share_;
};

class Validator {
 public:
  Validator(TrainableNetwork& network, const TrainingSet& data, const CrossValidationOptions& options)
      : network_(network),
        data_(data),
        options_(options),
        start_(network.parameters()),
        points_(options.trainer, has_flow_time(options.trainer.optimiser.kind)),
        fold_of_(folds_of(data, options.folds, options.trainer.seed)),
        folds_(static_cast<std::size_t>(options.folds)),
        target_(points_.first_beyond(first_steps)) {
    for (std::size_t row = 0; row < fold_of_.size(); ++row)
      folds_[static_cast<std::size_t>(fold_of_[row])].rows.push_back(static_cast<Index>(row));
  }

  CrossValidation go() {
    resume();
    for (;;) {
      for (Fold& fold : folds_)
        if (!fold.cut && fold.looks() <= target_) advance(fold);
      compare();
      if (out_.settled || cut()) break;
      target_ += round_points;
      save();
    }
    for (const Fold& fold : folds_) {
      out_.steps += fold.steps;
      if (!fold.problem.empty()) out_.warnings.push_back(fold.problem);
    }
    if (!out_.settled && out_.warnings.empty())
      out_.warnings.push_back(
          fmt::format("{} steps without each fold were too few to see the loss on rows left out rise again",
                      options_.max_steps));
    return std::move(out_);
  }

 private:
  struct Fold {
    std::vector<Index> rows;              // held out
    std::vector<double> losses;           // at the points so far
    std::map<Index, Matrix> predictions;  // at some of them
    TensorFile state;                     // of its trainer; empty: not begun
    Index steps = 0;
    bool cut = false;     // by divergence or max_steps
    std::string problem;  // a sentence where the former
    Index looks() const { return static_cast<Index>(losses.size()); }
  };

  TrainingSet part(const std::vector<Index>& rows) const {
    return {data_.X(rows, Eigen::all), data_.Y(rows, Eigen::all), data_.design(rows, Eigen::all)};
  }

  bool cut() const {
    return std::ranges::any_of(folds_, [](const Fold& fold) { return fold.cut; });
  }

  Index index_of(const Fold& fold) const { return &fold - folds_.data(); }

  // Trains on without a fold, to the target.
  void advance(Fold& fold) {
    const Index k = index_of(fold);
    std::vector<Index> kept;
    for (std::size_t row = 0; row < fold_of_.size(); ++row)
      if (fold_of_[row] != k) kept.push_back(static_cast<Index>(row));
    network_.set_parameters(start_);
    TrainerOptions trainer_options = options_.trainer;
    trainer_options.batch = std::min(trainer_options.batch, static_cast<Index>(kept.size()));
    Trainer trainer(network_, part(kept), trainer_options);
    FoldCurve curve(points_, part(fold.rows), fold.looks());
    std::unique_ptr<RateFollower> follower;
    RunOptions run = run_options(k);
    run.monitors = {&curve};
    if (options_.follows_rate) {
      follower = std::make_unique<RateFollower>(trainer, options_.trainer.seed);
      run.monitors.push_back(follower.get());
    }
    if (!fold.state.tensors.empty()) {
      trainer.restore(fold.state);
      if (follower) follower->restore(fold.state);
    }
    FoldProgress progress(options_.progress,
                          fmt::format("training without fold {} of {}", k + 1, options_.folds), share(k),
                          share(1) - share(0));
    run.progress = options_.progress != nullptr ? &progress : nullptr;
    const TrainingRun done = run_training(trainer, run);
    fold.losses.insert(fold.losses.end(), curve.losses().begin(), curve.losses().end());
    for (Index i = 0; i < curve.looks(); ++i)
      fold.predictions[fold.looks() - curve.looks() + i] = curve.predictions(i);
    fold.state = {};
    trainer.save(fold.state);
    if (follower) follower->save(fold.state);
    fold.steps = done.steps;
    fold.cut = fold.looks() <= target_;
    if (done.end == TrainingEnd::diverged)
      fold.problem = fmt::format("training without fold {} diverged: {}", k + 1, done.reason);
    network_.set_parameters(start_);
    save();
  }

  double share(Index k) const { return static_cast<double>(k) / static_cast<double>(options_.folds); }

  RunOptions run_options(Index k) const {
    RunOptions run;
    run.max_steps = options_.max_steps;
    if (points_.in_time())
      run.stop_time = points_.at(target_);
    else
      run.max_steps = std::min(run.max_steps, static_cast<Index>(points_.at(target_)));
    if (!options_.checkpoint.empty()) run.checkpoint = options_.checkpoint + ".fold";
    run.seconds_between_checkpoints = options_.seconds_between_checkpoints;
    run.fingerprint = fmt::format("{} fold {} to {}", options_.fingerprint, k, target_);
    return run;
  }

  // Where all folds have been, which of the points is best.
  void compare() {
    Index looks = target_ + 1;
    for (const Fold& fold : folds_) looks = std::min(looks, fold.looks());
    const auto n = static_cast<double>(fold_of_.size());
    out_.folds = options_.folds;
    out_.in_time = points_.in_time();
    out_.points.clear();
    out_.losses.clear();
    for (Index i = 0; i < looks; ++i) {
      double sum = 0.0;
      for (const Fold& fold : folds_)
        sum += static_cast<double>(fold.rows.size()) * fold.losses[static_cast<std::size_t>(i)];
      out_.points.push_back(points_.at(i));
      out_.losses.push_back(sum / n);
    }
    out_.best = std::min_element(out_.losses.begin(), out_.losses.end()) - out_.losses.begin();
    out_.settled = !cut() && past_best * out_.point() <= out_.points.back();
    out_.left_out.resize(data_.Y.rows(), data_.Y.cols());
    double squares = 0.0;
    for (Fold& fold : folds_) {
      const double off = fold.losses[static_cast<std::size_t>(out_.best)] - out_.loss();
      squares += off * off;
      out_.left_out(fold.rows, Eigen::all) = fold.predictions.at(out_.best);
      std::erase_if(fold.predictions, [&](const auto& entry) { return entry.first != out_.best; });
    }
    const auto K = static_cast<double>(options_.folds);
    out_.standard_error = std::sqrt(squares / (K * (K - 1.0)));
  }

  static std::string prefix(Index k) { return fmt::format("folds.{}.", k); }

  void save() const {
    if (options_.checkpoint.empty()) return;
    TensorFile file;
    file.metadata[fingerprint_key] = options_.fingerprint;
    write_state(file, "target", Vector::Constant(1, static_cast<double>(target_)));
    for (const Fold& fold : folds_) {
      const std::string name = prefix(index_of(fold));
      write_state(file, name + "losses", Eigen::Map<const Vector>(fold.losses.data(), fold.looks()));
      write_state(file, name + "counts",
                  Eigen::Vector2d(static_cast<double>(fold.steps), fold.cut ? 1.0 : 0.0));
      if (!fold.problem.empty()) file.metadata[name + "problem"] = fold.problem;
      for (const auto& [i, predictions] : fold.predictions)
        write_state(file, fmt::format("{}predictions.{}", name, i), predictions);
      for (const auto& [key, array] : fold.state.tensors) file.tensors[name + "state." + key] = array;
    }
    write_safetensors(options_.checkpoint, file);
  }

  void resume() {
    const auto found = read_checkpoint(options_.checkpoint, fingerprint_key, options_.fingerprint);
    if (!found) return;
    const TensorFile& file = *found;
    target_ = static_cast<Index>(read_state(file, "target")(0));
    for (Fold& fold : folds_) {
      const std::string name = prefix(index_of(fold)), state = name + "state.",
                        predictions = name + "predictions.";
      const Matrix losses = read_state(file, name + "losses"), counts = read_state(file, name + "counts");
      fold.losses.assign(losses.data(), losses.data() + losses.size());
      fold.steps = static_cast<Index>(counts(0));
      fold.cut = counts(1) != 0.0;
      if (const auto problem = file.metadata.find(name + "problem"); problem != file.metadata.end())
        fold.problem = problem->second;
      for (const auto& [key, array] : file.tensors) {
        if (key.starts_with(state)) fold.state.tensors[key.substr(state.size())] = array;
        if (key.starts_with(predictions))
          fold.predictions[std::stol(key.substr(predictions.size()))] = read_state(file, key);
      }
    }
  }

  TrainableNetwork& network_;
  const TrainingSet& data_;
  const CrossValidationOptions& options_;
  const Vector start_;
  Points points_;
  std::vector<Index> fold_of_;
  std::vector<Fold> folds_;
  Index target_;  // the last point of this round
  CrossValidation out_;
};

}  // namespace

CrossValidation cross_validate(TrainableNetwork& network, const TrainingSet& data,
                               const CrossValidationOptions& options) {
  require(options.folds >= 2, "folds", options.folds, "must be >= 2");
  require(options.max_steps >= 1, "max_steps", options.max_steps, "must be >= 1");
  return Validator(network, data, options).go();
}

}  // namespace gradflow
