#include "gradflow/training/initial_flow.h"

#include <algorithm>
#include <cmath>

#include "gradflow/base/error.h"
#include "gradflow/operators/dense_operator.h"
#include "training/time_grid.h"

namespace gradflow {
namespace {

ProjectedSpectrum spectrum_of(const Trainer& trainer) {
  const Matrix& X = trainer.data().X;
  if (trainer.options().loss == TrainingLoss::cross_entropy)
    throw InputError("the flow at the start is for squared loss");
  if (X.rows() > InitialFlow::most_rows)
    throw InputError(
        fmt::format("{} rows: the flow at the start is for at most {}", X.rows(), InitialFlow::most_rows));
  const DenseOperator H(trainer.network().kernel(X) / static_cast<double>(X.rows()));
  return project(H, trainer.fixed());
}

}  // namespace

double matched_flow_time(const Vector& values, ConstBlock from, ConstBlock to) {
  const double largest = values.size() > 0 ? values.maxCoeff() : 0.0;
  if (!(largest > 0.0)) return 0.0;
  const auto distance = [&](double time) {
    return (from.array().colwise() * (-time * values.array()).exp() - to.array()).square().sum();
  };
  return minimise_over_time(distance, times_seen(largest), false).time;
}

InitialFlow::InitialFlow(const Trainer& trainer)
    : spectrum_(spectrum_of(trainer)), start_(spectrum_.coordinates(trainer.residual())) {
  data_.values = spectrum_.values;
  data_.z = start_.cols() == 1 ? Vector(start_.col(0)) : Vector(start_.rowwise().norm());
  data_.trace = spectrum_.trace;
}

Matrix InitialFlow::residual(double time) const {
  return spectrum_.basis * (start_.array().colwise() * (-time * data_.values.array()).exp()).matrix();
}

double InitialFlow::effective_dof(double time) const {
  return data_.effective_dof({.kind = PathKind::flow, .time = time});
}

double InitialFlow::matched_time(ConstBlock r) const {
  return matched_flow_time(data_.values, start_, spectrum_.basis.transpose() * r);
}

Index InitialFlow::learned_directions(ConstBlock r) const {
  const Matrix c = spectrum_.basis.transpose() * r;
  Index learned = 0;
  for (Index size = 1; learned < c.rows(); size *= 2) {
    const Index count = std::min(size, c.rows() - learned);
    if (c.middleRows(learned, count).squaredNorm() > 0.25 * start_.middleRows(learned, count).squaredNorm())
      break;
    learned += count;
  }
  return learned;
}

double InitialFlow::position(ConstBlock r) const {
  const Eigen::ArrayXd square = (spectrum_.basis.transpose() * r).rowwise().squaredNorm();
  return (square * data_.values.array()).sum() / (square.sum() * largest_eigenvalue());
}

double InitialFlow::frontier(Index learned) const {
  return learned < data_.values.size() ? data_.values(learned) / largest_eigenvalue() : 0.0;
}

std::string MatchedTimeStop::look(const Trainer& trainer) {
  matched_ = flow_.matched_time(trainer.residual());
  next_ = trainer.steps() + std::max<Index>(1, trainer.steps() / 20);
  if (matched_ < time_) return "";
  return fmt::format("the fitted values have come as far as the flow at time {:.6g}", matched_);
}

void MatchedTimeStop::save(TensorFile& file) const {
  write_state(file, "matched", Vector(Eigen::Vector2d(matched_, static_cast<double>(next_))));
}

void MatchedTimeStop::restore(const TensorFile& file) {
  const Matrix state = read_state(file, "matched");
  matched_ = state(0);
  next_ = static_cast<Index>(state(1));
}

}  // namespace gradflow
