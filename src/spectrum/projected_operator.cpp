#include "gradflow/spectrum/projected_operator.h"

#include "gradflow/base/error.h"

namespace gradflow {

ProjectedOperator::ProjectedOperator(const TrainingOperator& H, const FixedEffects& fixed)
    : H_(H), fixed_(fixed), Q1_(fixed.orthonormal_design()), HQ1_(fixed.rows(), fixed.count()) {
  require(H.size() == fixed.rows(), "training operator size", H.size(), "must equal the number of rows");
  trace_ = H.trace();
  if (Q1_.cols() == 0) return;
  H.apply(Q1_, HQ1_);
  trace_ -= Q1_.cwiseProduct(HQ1_).sum();
}

double ProjectedOperator::squared_norm() const {
  // |PHP|^2 = |H|^2 - 2 |H Q1|^2 + |Q1'H Q1|^2
  return H_.squared_norm() - 2.0 * HQ1_.squaredNorm() + (Q1_.transpose() * HQ1_).squaredNorm();
}

void ProjectedOperator::project(Block X) const {
  if (Q1_.cols() > 0) X -= Q1_ * (Q1_.transpose() * X).eval();
}

void ProjectedOperator::apply(ConstBlock X, Block Y) const {
  H_.apply(X, Y);
  project(Y);
}

Vector ProjectedOperator::along_fixed(ConstVector alpha) const {
  if (Q1_.cols() == 0) return Vector::Zero(rows());
  return Q1_ * (HQ1_.transpose() * alpha);
}

Vector ProjectedOperator::diagonal() const {
  if (Q1_.cols() == 0) return H_.diagonal();
  // diag(H - Q1 Q1'H - H Q1 Q1' + Q1 (Q1'H Q1) Q1')
  const Matrix inner = Q1_.transpose() * HQ1_;
  return H_.diagonal() - 2.0 * Q1_.cwiseProduct(HQ1_).rowwise().sum() +
         Q1_.cwiseProduct(Q1_ * inner).rowwise().sum();
}

}  // namespace gradflow
