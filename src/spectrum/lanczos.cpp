#include "gradflow/spectrum/lanczos.h"

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <limits>
#include <utility>

namespace gradflow {

KrylovSpace::KrylovSpace(Apply apply, const Vector& start, Index max_steps)
    : apply_(std::move(apply)),
      basis_(start.size(), std::min(max_steps, start.size())),
      alpha_(basis_.cols()),
      beta_(basis_.cols()),
      next_(start),
      start_norm_(start.norm()) {
  exhausted_ = start_norm_ == 0.0 || basis_.cols() == 0;
  if (!exhausted_) next_ /= start_norm_;
}

void KrylovSpace::extend(Index steps) {
  steps = std::min(steps, basis_.cols());
  Vector product(basis_.rows());
  while (steps_ < steps && !exhausted_) {
    const Index j = steps_;
    basis_.col(j) = next_;
    apply_(next_, product);
    alpha_(j) = next_.dot(product);
    // Two passes of classical Gram-Schmidt leave the new vector orthogonal to rounding.
    const auto V = basis_.leftCols(j + 1);
    for (int pass = 0; pass < 2; ++pass) product -= V * (V.transpose() * product).eval();
    beta_(j) = product.norm();
    scale_ = std::max({scale_, std::abs(alpha_(j)), beta_(j)});
    ++steps_;
    exhausted_ =
        beta_(j) <= 64.0 * std::numeric_limits<double>::epsilon() * scale_ || steps_ == basis_.rows();
    if (!exhausted_) next_ = product / beta_(j);
  }
}

KrylovSpace::Ritz KrylovSpace::ritz() const {
  if (steps_ == 0) return {};
  Eigen::SelfAdjointEigenSolver<Matrix> solver;
  solver.computeFromTridiagonal(alpha_.head(steps_), beta_.head(steps_ - 1));
  return {solver.eigenvalues(), solver.eigenvectors()};
}

}  // namespace gradflow
