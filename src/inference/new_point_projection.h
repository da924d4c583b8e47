#pragma once

#include "gradflow/inference/posterior.h"

namespace gradflow {

/// New rows with the fixed effects projected out, as every ridge prediction needs them:
///
///     c_x = h_x - H X (X'X)^-1 x,   prior = hq_xx,   leverage = x'(X'X)^-1 x       (posterior.h)
struct ProjectedPoints {
  Matrix C;         ///< m x n, rows c_x
  Vector prior;     ///< m, hq_xx
  Vector leverage;  ///< m
};

class NewPointProjection {
 public:
  /// Cost: one product of H with q columns.
  NewPointProjection(const TrainingOperator& H, const FixedEffects& fixed);

  /// Throws InputError when the shapes disagree. Cost O(m n q).
  ProjectedPoints operator()(const NewPoints& points) const;
  const FixedEffects& fixed() const noexcept { return fixed_; }
  const Matrix& averaging() const noexcept { return P_; }  ///< X (X'X)^-1, n x q

 private:
  FixedEffects fixed_;
  Matrix P_;   // X (X'X)^-1
  Matrix HP_;  // H X (X'X)^-1
};

/// Clamps var(x)/s2 at 0 where it is below by rounding, 1e-7 (tau h(x) + 1) for the prior's h(x); throws
/// InternalError beyond.
void clamp_rounding(Block variance, const Vector& h, double tau);

/// values at m new rows, zeros where none are given. Throws InputError for another length.
Vector offsets(const Vector& values, Index m);

}  // namespace gradflow
