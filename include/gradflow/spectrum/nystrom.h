#pragma once

#include <cstdint>
#include <vector>

#include "gradflow/base/types.h"

namespace gradflow {

/// Rows of a positive semidefinite H (n x n) whose columns span most of it: each is drawn with a probability
/// proportional to its diagonal entry of what the rows before leave of H (randomly pivoted Cholesky). Fewer
/// than `count` where less than 1e-12 of the trace is left. The same seed gives the same rows for any number
/// of threads. Cost about 3 n count^2 flops. Source: Chen, Epperly, Tropp and Webber (2024), Comm. Pure Appl.
/// Math. 78:995; in blocks with rejection, Epperly, Tropp and Webber (2024), arXiv 2410.03969.
std::vector<Index> choose_landmarks(const Matrix& H, Index count, std::uint64_t seed);

/// What the landmarks J say of V = I + tau H:
///
///     C = I + tau H(:,J) H(J,J)^-1 H(J,:) = I + U diag(S) U',   U n x k, orthonormal,   I <= C <= V
///
/// so that C^-1/2 V C^-1/2 >= I, and its largest eigenvalue is about 1 + tau times the largest of what the
/// landmarks leave of H. Whatever rounding does to the landmarks' part, U is orthonormal to rounding, and all
/// below is exact for the C of that U and S. The same bits for any number of threads. Cost: 4 n k^2 flops.
class NystromPreconditioner {
 public:
  /// tau >= 0; `landmarks`: rows of H, none twice; none: C = I. H is not kept.
  NystromPreconditioner(const Matrix& H, double tau, const std::vector<Index>& landmarks);

  Index rank() const noexcept { return S_.size(); }                    ///< k
  const Matrix& vectors() const noexcept { return U_; }                ///< U
  const Vector& values() const noexcept { return S_; }                 ///< S, > 0
  double log_determinant() const { return S_.array().log1p().sum(); }  ///< log|C|
  /// U (1 + S)^-1/2 U' X: what C^-1/2 X has of the landmarks' space.
  Matrix whitened_part(ConstBlock X) const;
  Matrix part(ConstBlock X) const;  ///< U U' X
  void whiten(Block X) const;       ///< X <- C^-1/2 X (the symmetric root); 4 n k flops per column

 private:
  Matrix U_;
  Vector S_;
};

}  // namespace gradflow
