#include "training/validation_stop.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/training/collapse.h"

namespace gradflow {
namespace {

constexpr Index least_steps = 50;

}  // namespace

RowSplit validation_split(const Matrix& Y, double fraction, std::uint64_t seed) {
  const Index n = Y.rows();
  const auto part = [&](Index rows) {
    return std::min<Index>(std::lround(fraction * static_cast<double>(rows)), rows - 1);
  };
  Labels labels = labels_of_indicators(Y);
  if (labels.empty()) labels.assign(static_cast<std::size_t>(n), 0);
  std::vector<Index> left(static_cast<std::size_t>(Y.cols()), 0);  // to be held out, of each class
  for (const Index label : labels) ++left[static_cast<std::size_t>(label)];
  for (Index& count : left) count = count > 0 ? part(count) : 0;
  const bool none = std::ranges::all_of(left, [](Index count) { return count == 0; });
  RowSplit split;
  for (const Index row : RandomStream(seed, "validation split").permutation(n)) {
    Index& count = left[static_cast<std::size_t>(labels[static_cast<std::size_t>(row)])];
    const bool hold = none ? split.held.empty() : count-- > 0;
    (hold ? split.held : split.kept).push_back(row);
  }
  return split;
}

double loss_at(const Trainer& trainer, const TrainingSet& rows) {
  return trainer.loss_of(trainer.predict(rows.X, rows.design), rows.Y);
}

ValidationStop::ValidationStop(const Trainer& trainer, TrainingSet held_out)
    : held_out_(std::move(held_out)),
      best_parameters_(trainer.network().parameters()),
      best_coefficients_(trainer.coefficients()) {}

std::string ValidationStop::look(const Trainer& trainer) {
  const double loss = loss_at(trainer, held_out_);
  const Index steps = trainer.steps();
  next_ = steps + std::max<Index>(1, steps / 20);
  if (loss < best_loss_) {
    best_loss_ = loss;
    best_steps_ = steps;
    best_time_ = trainer.time();
    best_training_loss_ = trainer.loss();
    best_parameters_ = trainer.network().parameters();
    best_coefficients_ = trainer.coefficients();
  }
  if (steps < std::max(least_steps, 2 * best_steps_)) return "";
  return fmt::format("the held-out loss has not improved since step {}", best_steps_);
}

void ValidationStop::save(TensorFile& file) const {
  Vector numbers(5);
  numbers << best_loss_, best_time_, best_training_loss_, static_cast<double>(best_steps_),
      static_cast<double>(next_);
  write_state(file, "validation.numbers", numbers);
  write_state(file, "validation.parameters", best_parameters_);
  write_state(file, "validation.coefficients", best_coefficients_);
}

void ValidationStop::restore(const TensorFile& file) {
  const Matrix numbers = read_state(file, "validation.numbers");
  best_loss_ = numbers(0);
  best_time_ = numbers(1);
  best_training_loss_ = numbers(2);
  best_steps_ = static_cast<Index>(numbers(3));
  next_ = static_cast<Index>(numbers(4));
  best_parameters_ = read_state(file, "validation.parameters");
  best_coefficients_ = read_state(file, "validation.coefficients");
}

}  // namespace gradflow
