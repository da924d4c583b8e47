#include "support/reference.h"

#include <unsupported/Eigen/MatrixFunctions>

namespace gradflow::reference {

Matrix inverse(const Matrix& A) { return A.inverse(); }

Matrix solve(const Matrix& A, const Matrix& B) { return A.partialPivLu().solve(B); }

double log_determinant(const Matrix& A) {
  return A.partialPivLu().matrixLU().diagonal().cwiseAbs().array().log().sum();
}

Matrix cholesky(const Matrix& A) { return A.llt().matrixL(); }

Spectrum symmetric_spectrum(const Matrix& A) {
  const Eigen::SelfAdjointEigenSolver<Matrix> solver(A);
  return {solver.eigenvalues(), solver.eigenvectors()};
}

Matrix orthogonal_basis(const Matrix& A) { return Eigen::HouseholderQR<Matrix>(A).householderQ(); }

Matrix exponential(const Matrix& A) { return A.exp(); }

Index rank(const Matrix& A) { return A.fullPivLu().rank(); }

}  // namespace gradflow::reference
