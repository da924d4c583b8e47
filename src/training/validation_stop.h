#pragma once

#include <cstdint>
#include <vector>

#include "gradflow/training/run.h"

namespace gradflow {

struct RowSplit {
  std::vector<Index> held, kept;
};
/// Holds out `fraction` of the rows, at least one and not all, in the order of the stream "validation split"
/// of the seed; where the responses are indicators, of the rows of each class, of which at least one is kept.
RowSplit validation_split(const Matrix& Y, double fraction, std::uint64_t seed);

/// Keeps the weights with the least loss on held-out rows, and ends a training whose loss there has not
/// improved since half of its steps, after at least 50. Looks every 5 % of the steps so far.
class ValidationStop final : public Monitor {
 public:
  ValidationStop(const Trainer& trainer, TrainingSet held_out);

  Due due() const override { return {next_, std::numeric_limits<double>::infinity()}; }
  std::string look(const Trainer& trainer) override;
  void save(TensorFile& file) const override;
  void restore(const TensorFile& file) override;

  double best_loss() const noexcept { return best_loss_; }
  Index best_steps() const noexcept { return best_steps_; }
  double best_time() const noexcept { return best_time_; }
  double best_training_loss() const noexcept { return best_training_loss_; }
  const Vector& best_parameters() const noexcept { return best_parameters_; }
  const Matrix& best_coefficients() const noexcept { return best_coefficients_; }

 private:
  TrainingSet held_out_;
  double best_loss_ = std::numeric_limits<double>::infinity(), best_time_ = 0.0, best_training_loss_ = 0.0;
  Index best_steps_ = 0, next_ = 0;
  Vector best_parameters_;
  Matrix best_coefficients_;
};

/// The trainer's loss at other rows, with the fixed effects of the training rows.
double loss_at(const Trainer& trainer, const TrainingSet& rows);

}  // namespace gradflow
