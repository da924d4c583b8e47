#include "gradflow/training/trainer.h"

#include <Eigen/QR>
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/training/run.h"

namespace gradflow {
namespace {

constexpr Index steps_between_good_copies = 16;  // of theta, with mini-batches

FixedEffects fixed_effects(const TrainingSet& data) {
  if (data.design.cols() == 0) return FixedEffects::none(data.X.rows());
  std::vector<std::string> names;
  for (Index j = 0; j < data.design.cols(); ++j) names.push_back(fmt::format("fixed effect {}", j + 1));
  return {data.design, std::move(names)};
}

Vector vector_in(const TensorFile& file, const std::string& name, Index size) {
  const Matrix found = read_state(file, name);
  if (found.size() != size)
    throw InputError(
        fmt::format("the checkpoint has no array '{}' of {} entries: it is another training's", name, size));
  return found.reshaped();
}

}  // namespace

std::string_view to_string(TrainingLoss loss) {
  switch (loss) {
    case TrainingLoss::half_mse: return "half-mse";
    case TrainingLoss::mse: return "mse";
    case TrainingLoss::cross_entropy: return "cross-entropy";
  }
  throw InternalError("unnamed loss");
}

TrainingLoss parse_training_loss(const std::string& text) {
  for (const TrainingLoss loss : {TrainingLoss::half_mse, TrainingLoss::mse, TrainingLoss::cross_entropy})
    if (text == to_string(loss)) return loss;
  throw InputError(fmt::format("loss '{}': must be half-mse, mse or cross-entropy", text));
}

Matrix orthonormal_columns(const Matrix& design) {
  if (design.cols() == 0) return Matrix(design.rows(), 0);
  const Eigen::ColPivHouseholderQR<Matrix> qr(design);
  return qr.householderQ() * Matrix::Identity(design.rows(), qr.rank());
}

Matrix without_columns(const Matrix& basis, Matrix V) {
  if (basis.cols() > 0) V -= basis * (basis.transpose() * V).eval();
  return V;
}

Matrix softmax(const Matrix& F) {
  Matrix p = (F.colwise() - F.rowwise().maxCoeff()).array().exp();
  return p.array().colwise() / p.rowwise().sum().array();
}

void TrainerOptions::check() const {
  optimiser.check();
  schedule.check();
  require(batch >= 0, "batch", batch, "must be >= 0");
  require(divergence > 1.0, "divergence", divergence, "must be > 1");
}

Trainer::Trainer(TrainableNetwork& network, TrainingSet data, TrainerOptions options)
    : network_(network),
      data_(std::move(data)),
      options_(options),
      fixed_(fixed_effects(data_)),
      basis_(fixed_.count() > 0 ? fixed_.orthonormal_design() : Matrix(data_.X.rows(), 0)),
      optimiser_(options.optimiser, network.parameters()),
      pass_(network.make_pass()),
      batch_pass_(network.make_pass()),
      good_theta_(network.parameters()) {
  options_.check();
  const Index n = data_.X.rows();
  require(data_.Y.rows() == n, "rows of the responses", data_.Y.rows(), "must be those of the features");
  require(data_.Y.cols() == network.outputs(), "columns of the responses", data_.Y.cols(),
          "must be the network's outputs");
  require(data_.design.rows() == n || data_.design.cols() == 0, "rows of the fixed effects",
          data_.design.rows(), "must be those of the features");
  if (options_.loss == TrainingLoss::cross_entropy)
    require(fixed_.count() == 0, "fixed effects under cross-entropy", fixed_.count(), "must be none");
  require(options_.batch <= n, "batch", options_.batch, fmt::format("must be at most {}, the rows", n));
  if (options_.batch > 0)
    require(options_.batch > fixed_.count() + 1, "batch", options_.batch,
            fmt::format("must be > {}, the fixed effects and one", fixed_.count() + 1));
  if (!has_flow_time(options_.optimiser.kind)) time_ = std::numeric_limits<double>::quiet_NaN();
  good_time_ = time_;
  start_loss_ = loss();
}

// The loss of F, and its gradient in F.
double Trainer::loss_and_slope(const Matrix& F, const Matrix& Y, const Matrix& basis, Matrix& slope) const {
  const auto n = static_cast<double>(F.rows());
  if (options_.loss == TrainingLoss::cross_entropy) {
    const Matrix p = softmax(F);
    slope = (p - Y) / n;
    return -(p.array().max(std::numeric_limits<double>::min()).log() * Y.array()).sum() / n;
  }
  const Matrix error = without_columns(basis, F - Y);
  const double factor = options_.loss == TrainingLoss::mse ? 2.0 : 1.0;
  slope = factor / n * error;
  return 0.5 * factor * error.squaredNorm() / n;
}

Trainer::Batch Trainer::next_batch() {
  const Index n = data_.X.rows(), per_epoch = n / options_.batch;
  const Index epoch = steps_ / per_epoch, position = steps_ % per_epoch;
  if (epoch != order_epoch_) {
    order_ = RandomStream(options_.seed, fmt::format("training/epoch {}", epoch)).permutation(n);
    order_epoch_ = epoch;
  }
  const auto begin = order_.begin() + position * options_.batch;
  const std::vector<Index> rows(begin, begin + options_.batch);
  Batch batch{data_.X(rows, Eigen::all), data_.Y(rows, Eigen::all), Matrix(options_.batch, 0)};
  if (fixed_.count() > 0) batch.basis = orthonormal_columns(data_.design(rows, Eigen::all));
  return batch;
}

bool Trainer::fails(double loss, const Vector& gradient) const {
  return !std::isfinite(loss) || loss > options_.divergence * start_loss_ || !gradient.allFinite();
}

bool Trainer::give_up() {
  diverged_ = true;
  diverged_at_ = steps_;
  network_.set_parameters(good_theta_);
  steps_ = good_steps_;
  time_ = good_time_;
  output_known_ = false;
  return false;
}

bool Trainer::step(double most_time) {
  if (diverged_) return false;
  const bool full = options_.batch == 0;
  Matrix slope;
  Vector gradient;
  if (full) {
    step_loss_ = loss_and_slope(output(), data_.Y, basis_, slope);
    gradient = pass_->pull_back(slope);
  } else {
    const Batch batch = next_batch();
    step_loss_ = loss_and_slope(batch_pass_->forward(batch.X), batch.Y, batch.basis, slope);
    gradient = batch_pass_->pull_back(slope);
  }
  if (fails(step_loss_, gradient)) return give_up();
  if (step_loss_ <= start_loss_ && (full || steps_ % steps_between_good_copies == 0)) {
    good_theta_ = network_.parameters();
    good_steps_ = steps_;
    good_time_ = time_;
  }
  double rate = options_.optimiser.learning_rate * options_.schedule.at(steps_) * rate_factor_;
  const double time_per_rate = optimiser_.time_per_rate() * (options_.loss == TrainingLoss::mse ? 2.0 : 1.0);
  if (rate * time_per_rate > most_time) rate = most_time / time_per_rate;
  Vector theta = network_.parameters();
  optimiser_.step(theta, gradient, rate);
  if (!theta.allFinite()) return give_up();
  network_.set_parameters(std::move(theta));
  ++steps_;
  time_ += rate * time_per_rate;
  output_known_ = false;
  return true;
}

const Matrix& Trainer::output() const {
  if (!output_known_) output_ = pass_->forward(data_.X);
  output_known_ = true;
  return output_;
}

Matrix Trainer::residual() const {
  if (options_.loss == TrainingLoss::cross_entropy) return data_.Y - softmax(output());
  Matrix r = data_.Y - output();
  if (basis_.cols() > 0) r -= basis_ * (basis_.transpose() * r).eval();
  return r;
}

Matrix Trainer::fitted() const { return basis_.cols() > 0 ? Matrix(data_.Y - residual()) : output(); }

double Trainer::loss() const {
  Matrix slope;
  return loss_and_slope(output(), data_.Y, basis_, slope);
}

double Trainer::loss_of(const Matrix& F, const Matrix& Y) const {
  Matrix slope;
  return loss_and_slope(F, Y, Matrix(F.rows(), 0), slope);
}

Matrix Trainer::coefficients() const {
  if (fixed_.count() == 0) return Matrix(0, data_.Y.cols());
  return fixed_.coefficients(data_.Y - output());
}

Matrix Trainer::predict(ConstBlock X_new, ConstBlock design_new) const {
  Matrix F = network_.output(X_new);
  if (fixed_.count() > 0) F += design_new * coefficients();
  return F;
}

void Trainer::save(TensorFile& file) const {
  const TrainingOptimiser::Memory& memory = optimiser_.memory();
  write_state(file, "training.theta", network_.parameters());
  write_state(file, "training.good_theta", good_theta_);
  if (memory.first.size() > 0) write_state(file, "training.first", memory.first);
  if (memory.second.size() > 0) write_state(file, "training.second", memory.second);
  Vector numbers(11);
  numbers << static_cast<double>(steps_), static_cast<double>(good_steps_), time_, good_time_, step_loss_,
      start_loss_, memory.mass, static_cast<double>(memory.steps), diverged_ ? 1.0 : 0.0,
      static_cast<double>(diverged_at_), rate_factor_;
  write_state(file, "training.numbers", numbers);
}

void Trainer::restore(const TensorFile& file) {
  const Index count = network_.parameters().size();
  const Vector numbers = vector_in(file, "training.numbers", 11);
  TrainingOptimiser::Memory memory = optimiser_.memory();
  if (memory.first.size() > 0) memory.first = vector_in(file, "training.first", count);
  if (memory.second.size() > 0) memory.second = vector_in(file, "training.second", count);
  memory.mass = numbers(6);
  memory.steps = static_cast<Index>(numbers(7));
  Vector theta = vector_in(file, "training.theta", count);
  good_theta_ = vector_in(file, "training.good_theta", count);
  network_.set_parameters(std::move(theta));
  optimiser_.restore(std::move(memory));
  steps_ = static_cast<Index>(numbers(0));
  good_steps_ = static_cast<Index>(numbers(1));
  time_ = numbers(2);
  good_time_ = numbers(3);
  step_loss_ = numbers(4);
  start_loss_ = numbers(5);
  diverged_ = numbers(8) != 0.0;
  diverged_at_ = static_cast<Index>(numbers(9));
  rate_factor_ = numbers(10);
  output_known_ = false;
}

}  // namespace gradflow
