#pragma once

#include "gradflow/operators/training_operator.h"
#include "gradflow/spectrum/fixed_effects.h"

namespace gradflow {

/// The training operator with the fixed effects projected out, in coordinates of the n rows:
///
///     M = P H P,   P = I - Q1 Q1' = QQ',   Q1 an orthonormal basis of the fixed effects (n x q)
///
/// It has the eigenvalues of Q'HQ and q zeros, whose directions no vector in the range of P ever meets. No
/// n x n matrix. Construction: one product of H with q columns.
class ProjectedOperator {
 public:
  /// Both arguments outlive this. Throws InputError when their sizes disagree.
  ProjectedOperator(const TrainingOperator& H, const FixedEffects& fixed);

  Index rows() const noexcept { return H_.size(); }                         ///< n
  Index dimension() const noexcept { return fixed_.residual_dimension(); }  ///< N
  double trace() const noexcept { return trace_; }  ///< tr M = tr H - tr Q1'HQ1, exact
  double squared_norm() const;                      ///< tr M^2, exact; NaN where H's is not known
  const TrainingOperator& H() const noexcept { return H_; }
  const FixedEffects& fixed() const noexcept { return fixed_; }

  void project(Block X) const;  ///< X <- P X
  /// Y <- P H X for b columns X already in the range of P.
  void apply(ConstBlock X, Block Y) const;

  /// (I - P) H alpha for alpha in the range of P, from the products known since construction.
  Vector along_fixed(ConstVector alpha) const;
  Vector diagonal() const;  ///< of M, n

 private:
  const TrainingOperator& H_;
  const FixedEffects& fixed_;
  Matrix Q1_, HQ1_;
  double trace_ = 0.0;
};

}  // namespace gradflow
