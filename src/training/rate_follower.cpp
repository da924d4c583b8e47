#include "gradflow/training/rate_follower.h"

#include <algorithm>

#include "gradflow/base/random.h"

namespace gradflow {
namespace {

constexpr Index most_probes = 100;
constexpr int power_iterations = 30;

}  // namespace

RateFollower::RateFollower(const Trainer& trainer, std::uint64_t seed) {
  const Matrix& X = trainer.data().X;
  std::vector<Index> rows = RandomStream(seed, "rate probes").permutation(X.rows());
  rows.resize(static_cast<std::size_t>(std::min(most_probes, X.rows())));
  probes_ = X(rows, Eigen::all);
  if (trainer.fixed().count() > 0) basis_ = orthonormal_columns(trainer.data().design(rows, Eigen::all));
  at_start_ = largest(trainer);
}

double RateFollower::largest(const Trainer& trainer) const {
  Matrix K = without_columns(basis_, trainer.network().kernel(probes_));
  if (basis_.cols() > 0) K -= (K * basis_).eval() * basis_.transpose();
  Vector v = RandomStream(1, "rate probes/start").normals(K.rows());
  for (int k = 0; k < power_iterations; ++k) v = (K * v.normalized()).eval();
  return v.norm();
}

std::string RateFollower::look(const Trainer& trainer) {
  const double now = largest(trainer);
  factor_ = now > at_start_ ? at_start_ / now : 1.0;
  next_ = trainer.steps() + std::max<Index>(1, trainer.steps() * 3 / 20);
  return "";
}

void RateFollower::save(TensorFile& file) const {
  write_state(file, "rate", Vector(Eigen::Vector2d(factor_, static_cast<double>(next_))));
}

void RateFollower::restore(const TensorFile& file) {
  const Matrix state = read_state(file, "rate");
  factor_ = state(0);
  next_ = static_cast<Index>(state(1));
}

}  // namespace gradflow
