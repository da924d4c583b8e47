#include "gradflow/spectrum/lanczos.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "gradflow/base/error.h"

namespace gradflow {

KrylovSpace::KrylovSpace(Apply apply, const Vector& start, Index max_steps, BasisPrecision precision,
                         Project project)
    : apply_(std::move(apply)),
      project_(std::move(project)),
      max_steps_(std::min(max_steps, start.size())),
      basis_(start.size(), precision),
      current_(start),
      previous_(Vector::Zero(start.size())),
      start_norm_(start.norm()) {
  exhausted_ = start_norm_ == 0.0 || max_steps_ == 0;
  if (!exhausted_) current_ /= start_norm_;
}

void KrylovSpace::extend(Index steps) {
  steps = std::min(steps, max_steps_);
  Vector product(current_.size());
  while (this->steps() < steps && !exhausted_) {
    basis_.append(current_);
    apply_(current_, product);
    // beta_j v_{j+1} = M v_j - alpha_j v_j - beta_{j-1} v_{j-1}
    const double alpha = current_.dot(product);
    product -= alpha * current_;
    if (!beta_.empty()) product -= beta_.back() * previous_;
    basis_.orthogonalise(product);
    // Against its two neighbours as they were, not as they are kept: what is left along them goes into T to
    // first order, and along all others to second order only.
    product -= current_.dot(product) * current_;
    if (!beta_.empty()) product -= previous_.dot(product) * previous_;
    if (project_) project_(product);
    double beta = product.norm();
    scale_ = std::max({scale_, std::abs(alpha), beta});
    exhausted_ =
        beta <= 64.0 * std::numeric_limits<double>::epsilon() * scale_ || basis_.size() == current_.size();
    if (exhausted_) beta = 0.0;
    alpha_.push_back(alpha);
    beta_.push_back(beta);
    previous_.swap(current_);
    if (!exhausted_) current_ = product / beta;
  }
}

Tridiagonal KrylovSpace::tridiagonal() const {
  const auto k = static_cast<Index>(alpha_.size());
  Tridiagonal T{Vector(k), Vector(std::max<Index>(0, k - 1)), k > 0 ? beta_.back() : 0.0};
  std::copy(alpha_.begin(), alpha_.end(), T.diagonal.begin());
  if (k > 1) std::copy(beta_.begin(), beta_.end() - 1, T.off_diagonal.begin());
  return T;
}

}  // namespace gradflow
