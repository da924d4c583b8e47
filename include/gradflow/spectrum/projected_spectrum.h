#pragma once

#include "gradflow/operators/training_operator.h"
#include "gradflow/spectrum/fixed_effects.h"

namespace gradflow {

/// Eigendecomposition of the training operator with the fixed effects projected out:
///
///     M = Q'HQ = U diag(lambda) U',     basis = Q U  (n x N, orthonormal, X'basis = 0)
///
/// Eigenvalues descend. Those within rounding of zero, N eps lambda_1, are zero exactly, and so are negative
/// ones above -1e-8 lambda_1; both are counted. Cost: one eigendecomposition, about 5 N^3 flops; memory about
/// 4 n^2 doubles while it runs, n^2 after.
struct ProjectedSpectrum {
  Vector values;             ///< N, descending, >= 0, units of H
  Matrix basis;              ///< n x N
  double trace = 0.0;        ///< tr M, from the diagonal of M
  Index clipped = 0;         ///< eigenvalues below -N eps lambda_1 that were set to zero
  Index below_rounding = 0;  ///< eigenvalues within rounding of zero that were set to zero
  double most_negative = 0;  ///< the most negative eigenvalue before that, or 0

  /// z = basis' v: coordinates of the projected v, N x b.
  Matrix coordinates(ConstBlock v) const;
  /// diag(basis diag(f_j) basis') of each column of f, N x b, values of functions on the eigenvalues: n x b.
  /// 2 n N b flops and 512 N doubles.
  Matrix diagonals(const Matrix& f) const;
};

/// Throws InputError when an eigenvalue is below -1e-8 of the largest: H is not positive semidefinite.
ProjectedSpectrum project(const TrainingOperator& H, const FixedEffects& fixed);

/// Eigenvalues only (descending, clipped in the same way), at a fifth of the cost.
Vector projected_eigenvalues(const TrainingOperator& H, const FixedEffects& fixed);

}  // namespace gradflow
