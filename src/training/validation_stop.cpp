#include "training/validation_stop.h"

#include <algorithm>
#include <utility>

#include "gradflow/base/error.h"

namespace gradflow {
namespace {

constexpr Index least_steps = 50;

}  // namespace

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
