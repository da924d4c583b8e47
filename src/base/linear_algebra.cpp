#include "gradflow/base/linear_algebra.h"

#include <cblas.h>
#include <lapacke.h>

#include <limits>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"

namespace gradflow {
namespace {

// OpenBLAS is built with 32-bit integers on Debian: larger dimensions must be refused, never wrapped.
int blas_int(Index value) {
  if (value > std::numeric_limits<int>::max())
    throw InputError(fmt::format(
        "matrix dimension {} exceeds what dense linear algebra here can address (2^31 - 1)", value));
  return static_cast<int>(value);
}

int leading(ConstBlock A) { return blas_int(std::max<Index>(1, A.outerStride())); }
int leading(const Block& A) { return blas_int(std::max<Index>(1, A.outerStride())); }

// 1 unless the entries are so large or small that LAPACK's intermediate squares would overflow or vanish.
double safe_scale(const Matrix& A) {
  const double largest = A.cwiseAbs().maxCoeff();
  return largest == 0.0 || (largest > 1e-100 && largest < 1e100) ? 1.0 : 1.0 / largest;
}

void check(const char* routine, Index n, int info) {
  if (info != 0)
    throw InternalError(fmt::format("LAPACK {} failed with info = {} at n = {}", routine, info, n));
}

CBLAS_TRANSPOSE code(Transpose t) { return t == Transpose::yes ? CblasTrans : CblasNoTrans; }

}  // namespace

void multiply(ConstBlock A, Transpose a, ConstBlock B, Transpose b, Block C, double alpha, double beta) {
  const Index inner = a == Transpose::no ? A.cols() : A.rows();
  if (C.rows() == 0 || C.cols() == 0) return;
  if (inner == 0) {
    C *= beta;
    return;
  }
  if (C.cols() == 1 && b == Transpose::no) {
    cblas_dgemv(CblasColMajor, code(a), blas_int(A.rows()), blas_int(A.cols()), alpha, A.data(), leading(A),
                B.data(), 1, beta, C.data(), 1);
    return;
  }
  cblas_dgemm(CblasColMajor, code(a), code(b), blas_int(C.rows()), blas_int(C.cols()), blas_int(inner), alpha,
              A.data(), leading(A), B.data(), leading(B), beta, C.data(), leading(C));
}

Matrix multiply(ConstBlock A, Transpose a, ConstBlock B, Transpose b) {
  Matrix C = Matrix::Zero(a == Transpose::no ? A.rows() : A.cols(), b == Transpose::no ? B.cols() : B.rows());
  multiply(A, a, B, b, C);
  return C;
}

void rank_update_lower(ConstBlock A, Block C, double alpha, double beta) {
  if (C.rows() == 0) return;
  cblas_dsyrk(CblasColMajor, CblasLower, CblasNoTrans, blas_int(C.rows()), blas_int(A.cols()), alpha,
              A.data(), leading(A), beta, C.data(), leading(C));
}

void mirror_lower(Block C) {
  constexpr Index tile = 64;
  const Index n = C.rows();
  for (Index j0 = 0; j0 < n; j0 += tile)
    for (Index i0 = j0; i0 < n; i0 += tile)
      for (Index j = j0; j < std::min(n, j0 + tile); ++j)
        for (Index i = std::max(i0, j + 1); i < std::min(n, i0 + tile); ++i) C(j, i) = C(i, j);
}

void symmetric_multiply(ConstBlock A, ConstVector x, Eigen::Ref<Vector> y) {
  constexpr Index panel = 128, strip = 8;
  const Index n = A.rows(), panels = (n + panel - 1) / panel;
  // Panel p of columns adds its products to sums of its own, added up in one order below: neither the work
  // nor its order depends on the number of threads. A strip is read from memory once and used for A x and A'
  // x.
  Matrix sums(n, panels);
  parallel_for(panels, 1, [&](Index p, Index) {
    auto sum = sums.col(p);
    sum.setZero();
    for (Index j = p * panel; j < std::min(n, (p + 1) * panel); j += strip) {
      const Index width = std::min({strip, n - j, (p + 1) * panel - j}), below = n - j - width;
      const auto corner = A.block(j, j, width, width).selfadjointView<Eigen::Lower>();
      const auto rest = A.block(j + width, j, below, width);
      sum.segment(j, width) += corner * x.segment(j, width);
      sum.tail(below).noalias() += rest * x.segment(j, width);
      sum.segment(j, width).noalias() += rest.transpose() * x.tail(below);
    }
  });
  y.setZero();
  for (Index p = 0; p < panels; ++p) y.tail(n - p * panel) += sums.col(p).tail(n - p * panel);
}

namespace {

// vectors <- P vectors, P = H_1 ... H_{n-1} the reflectors that dsytrd left below the subdiagonal of A. The
// same as dormtr, but 128 reflectors at once as I - V T V', by three products.
void apply_reflectors(const Matrix& A, const Vector& tau, Matrix& vectors) {
  constexpr Index block = 128;
  const Index n = A.rows(), reflectors = n - 1;
  for (Index j = (reflectors - 1) / block * block; j >= 0 && reflectors > 0; j -= block) {
    const Index rows = reflectors - j, width = std::min(block, rows);
    Matrix V = A.block(j + 1, j, rows, width), T = Matrix::Zero(width, width);
    V.topRows(width).triangularView<Eigen::StrictlyUpper>().setZero();
    V.diagonal().setOnes();
    check("dlarft", n,
          LAPACKE_dlarft(LAPACK_COL_MAJOR, 'F', 'C', blas_int(rows), blas_int(width), V.data(),
                         blas_int(rows), &tau(j), T.data(), blas_int(width)));
    T.triangularView<Eigen::StrictlyLower>().setZero();
    const Matrix W = multiply(V, Transpose::yes, vectors.bottomRows(rows), Transpose::no);
    multiply(V, Transpose::no, multiply(T, Transpose::no, W, Transpose::no), Transpose::no,
             vectors.bottomRows(rows), -1.0, 1.0);
  }
}

}  // namespace

SymmetricEigen symmetric_eigen(Matrix A) {
  const Index n = A.rows();
  SymmetricEigen result{Vector(n), Matrix(n, n)};
  if (n == 0) return result;
  if (!A.allFinite())
    throw InternalError(fmt::format("eigenvalues of a {} x {} matrix with NaN or infinity", n, n));
  const double scale = safe_scale(A);
  if (scale != 1.0) A *= scale;
  // A = P T P', T = S diag(values) S', vectors = P S
  Vector off_diagonal(n), tau(n);
  check("dsytrd", n,
        LAPACKE_dsytrd(LAPACK_COL_MAJOR, 'L', blas_int(n), A.data(), blas_int(n), result.values.data(),
                       off_diagonal.data(), tau.data()));
  check("dstedc", n,
        LAPACKE_dstedc(LAPACK_COL_MAJOR, 'I', blas_int(n), result.values.data(), off_diagonal.data(),
                       result.vectors.data(), blas_int(n)));
  apply_reflectors(A, tau, result.vectors);
  result.values /= scale;
  return result;
}

Vector symmetric_eigenvalues(Matrix A) {
  Vector values(A.rows());
  const int n = blas_int(A.rows());
  if (n == 0) return values;
  if (!A.allFinite())
    throw InternalError(fmt::format("eigenvalues of a {} x {} matrix with NaN or infinity", n, n));
  check("dsyevd", n, LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'N', 'L', n, A.data(), n, values.data()));
  return values;
}

bool cholesky_lower(Block A) {
  const int n = blas_int(A.rows());
  if (n == 0) return true;
  const int info = LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'L', n, A.data(), leading(A));
  if (info < 0) check("dpotrf", n, info);
  return info == 0;
}

void inverse_from_cholesky_lower(Block A) {
  const int n = blas_int(A.rows());
  if (n == 0) return;
  check("dpotri", n, LAPACKE_dpotri(LAPACK_COL_MAJOR, 'L', n, A.data(), leading(A)));
}

void solve_lower(ConstBlock L, Transpose transpose, Block B) {
  if (B.rows() == 0 || B.cols() == 0) return;
  cblas_dtrsm(CblasColMajor, CblasLeft, CblasLower, code(transpose), CblasNonUnit, blas_int(B.rows()),
              blas_int(B.cols()), 1.0, L.data(), leading(L), B.data(), leading(B));
}

}  // namespace gradflow
