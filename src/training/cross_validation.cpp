#include "gradflow/training/cross_validation.h"

#include <algorithm>
#include <cmath>

#include "data/duplicates.h"
#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/inference/left_out.h"
#include "training/trainings_in_turn.h"
#include "training/validation_stop.h"

namespace gradflow {
namespace {

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

class Validator final : TrainingsInTurn {
 public:
  Validator(TrainableNetwork& network, const TrainingSet& data, const CrossValidationOptions& options)
      : TrainingsInTurn(network, options.folds, options),
        data_(data),
        options_(options),
        fold_of_(folds_of(data, options.folds, options.trainer.seed)),
        held_out_(static_cast<std::size_t>(options.folds)) {
    for (std::size_t row = 0; row < fold_of_.size(); ++row)
      held_out_[static_cast<std::size_t>(fold_of_[row])].push_back(static_cast<Index>(row));
  }

  CrossValidation go() {
    run(out_, "without each fold were too few to see the loss on rows left out rise again");
    return std::move(out_);
  }

 private:
  TrainingSet part(const std::vector<Index>& rows) const {
    return {data_.X(rows, Eigen::all), data_.Y(rows, Eigen::all), data_.design(rows, Eigen::all)};
  }

  TrainingSet rows(Index k) const override {
    std::vector<Index> kept;
    for (std::size_t row = 0; row < fold_of_.size(); ++row)
      if (fold_of_[row] != k) kept.push_back(static_cast<Index>(row));
    return part(kept);
  }
  std::optional<TrainingSet> asked(Index k) const override {
    return part(held_out_[static_cast<std::size_t>(k)]);
  }
  std::string label(Index k) const override { return fmt::format("training without fold {}", k + 1); }

  // Which of the points is best.
  bool settled(Index count) override {
    const auto n = static_cast<double>(fold_of_.size());
    out_.folds = options_.folds;
    out_.points.clear();
    out_.losses.clear();
    for (Index i = 0; i < count; ++i) {
      double sum = 0.0;
      for (std::size_t k = 0; k < held_out_.size(); ++k)
        sum += static_cast<double>(held_out_[k].size()) * members()[k].losses[static_cast<std::size_t>(i)];
      out_.points.push_back(points().at(i));
      out_.losses.push_back(sum / n);
    }
    out_.best = std::min_element(out_.losses.begin(), out_.losses.end()) - out_.losses.begin();
    out_.left_out.resize(data_.Y.rows(), data_.Y.cols());
    double squares = 0.0;
    for (std::size_t k = 0; k < held_out_.size(); ++k) {
      Member& member = members()[k];
      const double off = member.losses[static_cast<std::size_t>(out_.best)] - out_.loss();
      squares += off * off;
      out_.left_out(held_out_[k], Eigen::all) = member.predictions.at(out_.best);
      std::erase_if(member.predictions, [&](const auto& entry) { return entry.first != out_.best; });
    }
    const auto K = static_cast<double>(options_.folds);
    out_.standard_error = std::sqrt(squares / (K * (K - 1.0)));
    return past_best(out_);
  }

  const TrainingSet& data_;
  const CrossValidationOptions& options_;
  std::vector<Index> fold_of_;
  std::vector<std::vector<Index>> held_out_;
  CrossValidation out_;
};

}  // namespace

CrossValidation cross_validate(TrainableNetwork& network, const TrainingSet& data,
                               const CrossValidationOptions& options) {
  require(options.folds >= 2, "folds", options.folds, "must be >= 2");
  return Validator(network, data, options).go();
}

}  // namespace gradflow
