#pragma once

#include "gradflow/base/types.h"

namespace gradflow {

/// Large dense products and factorisations through BLAS and LAPACK. Eigen does the small ones in place.
/// All matrices are column-major; a view may be a block of a larger matrix.

enum class Transpose { no, yes };

/// C <- alpha op(A) op(B) + beta C. Cost 2 m n k flops.
void multiply(ConstBlock A, Transpose a, ConstBlock B, Transpose b, Block C, double alpha = 1.0,
              double beta = 0.0);

Matrix multiply(ConstBlock A, Transpose a, ConstBlock B, Transpose b);

/// Lower triangle of C <- alpha A A' + beta C. Cost n^2 k flops. The upper triangle is not touched.
void rank_update_lower(ConstBlock A, Block C, double alpha = 1.0, double beta = 0.0);

/// Upper triangle <- lower triangle.
void mirror_lower(Block C);

/// y <- A x for symmetric A, of which the lower triangle is read, once. The same bits for any number of
/// threads. Cost 2 n^2 flops; n^2/128 doubles of workspace.
void symmetric_multiply(ConstBlock A, ConstVector x, Eigen::Ref<Vector> y);

/// A = vectors diag(values) vectors', values ascending.
struct SymmetricEigen {
  Vector values;   ///< n, ascending
  Matrix vectors;  ///< n x n, orthonormal columns; empty when only values were asked for
};

/// Eigenvalues and vectors of a symmetric matrix by divide and conquer (LAPACK's dsyevd, with a faster
/// back-transformation; the lower triangle is read). Pass the argument by std::move: its storage is work
/// space. Cost about 5 n^3 flops, 2 n^2 doubles beside the argument. Throws InternalError on NaN or infinity,
/// or if LAPACK fails.
SymmetricEigen symmetric_eigen(Matrix A);
Vector symmetric_eigenvalues(Matrix A);  ///< values only, about 4/3 n^3 flops

/// Lower Cholesky factor in the lower triangle of A, in place. Returns false when A is not positive definite.
/// Cost n^3 / 3 flops.
bool cholesky_lower(Block A);

/// Lower triangle of A <- lower triangle of (L L')^-1, L the lower triangle of A (of cholesky_lower), in
/// place. Cost 2 n^3 / 3 flops.
void inverse_from_cholesky_lower(Block A);

/// B <- L^-1 B (no) or L^-T B (yes), L the lower triangle of `L`.
void solve_lower(ConstBlock L, Transpose transpose, Block B);

}  // namespace gradflow
