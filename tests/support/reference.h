#pragma once

#include "gradflow/base/types.h"

/// Eigen's dense linear algebra for tests: an implementation other than the library's LAPACK, and compiled
/// once. A decomposition takes seconds to compile wherever it is written out.
namespace gradflow::reference {

Matrix inverse(const Matrix& A);                 ///< A^-1, by pivoted LU
Matrix solve(const Matrix& A, const Matrix& B);  ///< A^-1 B, by pivoted LU
double log_determinant(const Matrix& A);         ///< log |det A|, by pivoted LU
Matrix cholesky(const Matrix& A);                ///< L with L L' = A

/// A = vectors diag(values) vectors', values ascending.
struct Spectrum {
  Vector values;
  Matrix vectors;
};
Spectrum symmetric_spectrum(const Matrix& A);

/// Orthogonal, m x m: the first columns span those of A, m x k, where these are independent.
Matrix orthogonal_basis(const Matrix& A);

Matrix exponential(const Matrix& A);  ///< exp(A)
Index rank(const Matrix& A);          ///< by LU with full pivoting

}  // namespace gradflow::reference
