#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "gradflow/data/safetensors.h"
#include "gradflow/spectrum/fixed_effects.h"
#include "gradflow/training/optimiser.h"
#include "gradflow/training/trainable.h"

namespace gradflow {

/// What is minimised over the n training rows, F = f(X; theta):
///
///     half_mse       1/(2n) |P (F - Y)|^2
///     mse            1/n |P (F - Y)|^2, as PyTorch's MSELoss: the same steps with half the learning rate
///     cross_entropy  -1/n sum_i log softmax(F_i)_{class of i}; Y holds a one in the class's column
///
/// P = I - X (X'X)^-1 X' takes out the fixed effects, which are thereby trained infinitely fast, as in the
/// theory: the model is F + X beta with beta at its best for every theta. Under full-batch gradient descent
/// the residual w = P (Y - F) of a network that is linear in theta obeys w <- (I - eta M) w, M = P H P,
/// H = J J' / n; with `mse`, eta counts twice.
enum class TrainingLoss { half_mse, mse, cross_entropy };
std::string_view to_string(TrainingLoss loss);
TrainingLoss parse_training_loss(const std::string& text);

struct TrainingSet {
  Matrix X;       ///< n x d
  Matrix Y;       ///< n x K
  Matrix design;  ///< n x q, fixed effects; q = 0 for none, and with cross_entropy
};

/// Orthonormal basis of the columns of some rows' design, which may have fewer independent ones.
Matrix orthonormal_columns(const Matrix& design);

/// V - Q (Q'V), Q such a basis; V itself where it has no columns.
Matrix without_columns(const Matrix& basis, Matrix V);

struct TrainerOptions {
  OptimiserOptions optimiser{};
  Schedule schedule{};
  TrainingLoss loss = TrainingLoss::half_mse;
  Index batch = 0;          ///< rows of a step, > q + 1; 0: all
  std::uint64_t seed = 1;   ///< of the order in which batches take the rows
  double divergence = 1e3;  ///< a loss above this many times the first, or not finite, is divergence; > 1
  void check() const;
};

/// Trains a network step by step.
///
/// Mini-batches: epoch e takes the rows in the order of the stream "training/epoch e" of the seed, floor(n /
/// batch) batches of it (a remainder waits for another order). P is then that of the batch's rows, so that
/// with an intercept the expected gradient is (1 - 1/batch) / (1 - 1/n) of the full one, exactly.
///
/// The same seed gives the same bits for any number of threads, and so does a trainer restored from the state
/// of another. Cost of a step: one forward and one reverse pass of its rows, 6 rows P flops.
class Trainer {
 public:
  /// The network outlives this and is changed by it. Throws InputError for options out of range and shapes
  /// that disagree.
  Trainer(TrainableNetwork& network, TrainingSet data, TrainerOptions options);

  /// One step. Where flow time is known, the learning rate is lowered so that the step takes no more than
  /// `most_time`. False, and nothing is changed, when the loss or gradient shows divergence: the weights are
  /// then those of the last step at which the loss was no more than at the start, which is steps().
  bool step(double most_time = std::numeric_limits<double>::infinity());

  /// Multiplies the learning rate of the steps to come, beside the schedule; > 0.
  void set_rate_factor(double factor) noexcept { rate_factor_ = factor; }

  const TrainableNetwork& network() const noexcept { return network_; }
  const TrainingSet& data() const noexcept { return data_; }
  const FixedEffects& fixed() const noexcept { return fixed_; }
  const TrainerOptions& options() const noexcept { return options_; }
  Index steps() const noexcept { return steps_; }
  /// Flow time t so far: sum of dt (optimiser.h), twice that for `mse`. NaN for adam and adamw.
  double time() const noexcept { return time_; }
  double step_loss() const noexcept { return step_loss_; }    ///< of the last step's rows, before it
  double start_loss() const noexcept { return start_loss_; }  ///< of all rows at theta_0
  bool diverged() const noexcept { return diverged_; }
  Index diverged_at() const noexcept { return diverged_at_; }  ///< the step that was refused; -1: none

  /// At the present theta, one forward pass over all rows; kept until the next step.
  const Matrix& output() const;
  Matrix residual() const;  ///< P (Y - F), n x K; softmax residual Y - p under cross_entropy
  Matrix fitted() const;    ///< F + X beta of the training rows, n x K
  double loss() const;      ///< of all rows
  double loss_of(const Matrix& F, const Matrix& Y) const;  ///< as it is, without projection; m x K each
  Matrix coefficients() const;                             ///< beta, q x K
  /// F + X beta at new rows, m x K.
  Matrix predict(ConstBlock X_new, ConstBlock design_new) const;

  /// Everything that decides what comes next, under names that begin with "training."; restore() throws
  /// InputError when the shapes are another training's.
  void save(TensorFile& file) const;
  void restore(const TensorFile& file);

 private:
  struct Batch {
    Matrix X, Y, basis;
  };
  Batch next_batch();
  double loss_and_slope(const Matrix& F, const Matrix& Y, const Matrix& basis, Matrix& slope) const;
  bool fails(double loss, const Vector& gradient) const;
  bool give_up();

  TrainableNetwork& network_;
  TrainingSet data_;
  TrainerOptions options_;
  FixedEffects fixed_;
  Matrix basis_;  // orthonormal, of the fixed effects
  TrainingOptimiser optimiser_;
  std::unique_ptr<NetworkPass> pass_, batch_pass_;
  std::vector<Index> order_;
  Index order_epoch_ = -1;
  Index steps_ = 0, good_steps_ = 0, diverged_at_ = -1;
  double time_ = 0.0, good_time_ = 0.0, step_loss_ = std::numeric_limits<double>::quiet_NaN(),
         start_loss_ = std::numeric_limits<double>::quiet_NaN();
  double rate_factor_ = 1.0;
  bool diverged_ = false;
  Vector good_theta_;
  mutable Matrix output_;
  mutable bool output_known_ = false;
};

/// Row-wise softmax.
Matrix softmax(const Matrix& F);

}  // namespace gradflow
