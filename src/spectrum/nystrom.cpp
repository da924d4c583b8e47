#include "gradflow/spectrum/nystrom.h"

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"

namespace gradflow {
namespace {

constexpr Index rows_at_once = 512, drawn_at_once = 64;

// body(first row, rows) on blocks of rows that do not depend on the number of threads; it may call BLAS.
template <typename Body>
void for_rows(Index n, Body&& body) {
  const SerialBlas serial;
  parallel_for(n, rows_at_once, [&](Index begin, Index end) { body(begin, end - begin); });
}

// A'B for tall A and B: a sum for every block of rows, added in their order.
Matrix tall_inner(const Matrix& A, ConstBlock B) {
  std::vector<Matrix> sums(static_cast<std::size_t>((A.rows() + rows_at_once - 1) / rows_at_once));
  for_rows(A.rows(), [&](Index first, Index rows) {
    sums[static_cast<std::size_t>(first / rows_at_once)] =
        multiply(A.middleRows(first, rows), Transpose::yes, B.middleRows(first, rows), Transpose::no);
  });
  Matrix total = Matrix::Zero(A.cols(), B.cols());
  for (const Matrix& sum : sums) total += sum;
  return total;
}

// Y <- Y + A B for tall A and Y.
void add_tall_product(const Matrix& A, const Matrix& B, Block Y) {
  for_rows(A.rows(), [&](Index first, Index rows) {
    multiply(A.middleRows(first, rows), Transpose::no, B, Transpose::no, Y.middleRows(first, rows), 1.0, 1.0);
  });
}

// A <- A L^-T for tall A, row by row.
void divide_by_transposed(Matrix& A, const Matrix& L) {
  for_rows(A.rows(), [&](Index first, Index rows) {
    Matrix transposed = A.middleRows(first, rows).transpose();
    solve_lower(L, Transpose::no, transposed);
    A.middleRows(first, rows) = transposed.transpose();
  });
}

Matrix columns_of(const Matrix& H, const std::vector<Index>& rows) {
  Matrix columns(H.rows(), static_cast<Index>(rows.size()));
  for (Index j = 0; j < columns.cols(); ++j) columns.col(j) = H.col(rows[static_cast<std::size_t>(j)]);
  return columns;
}

Matrix rows_of(const Matrix& A, const std::vector<Index>& rows) {
  Matrix result(static_cast<Index>(rows.size()), A.cols());
  for (Index i = 0; i < result.rows(); ++i) result.row(i) = A.row(rows[static_cast<std::size_t>(i)]);
  return result;
}

// Distinct rows, each drawn in proportion to what is left of the diagonal.
std::vector<Index> draw(const Vector& left, Index count, RandomStream& random) {
  Vector sums(left.size());
  double sum = 0.0;
  for (Index i = 0; i < left.size(); ++i) sums(i) = sum += left(i);
  std::vector<Index> drawn;
  for (Index k = 0; k < count; ++k) {
    const double* const at = std::upper_bound(sums.data(), sums.data() + sums.size(), random.uniform() * sum);
    const Index row = std::min<Index>(at - sums.data(), left.size() - 1);
    if (std::find(drawn.begin(), drawn.end(), row) == drawn.end()) drawn.push_back(row);
  }
  return drawn;
}

// Of the drawn rows those that a draw one by one would have taken: row i with the share of its diagonal that
// the rows taken before it leave. S: what is left of H among the drawn rows.
std::vector<Index> keep(const Matrix& S, RandomStream& random) {
  std::vector<Index> kept;
  Matrix left = S;
  for (Index i = 0; i < S.rows(); ++i) {
    const double u = random.uniform();
    if (!(left(i, i) > 1e-10 * S(i, i)) || u * S(i, i) >= left(i, i)) continue;
    kept.push_back(i);
    const Vector column = left.col(i);
    left.noalias() -= column * (column.transpose() / column(i));
  }
  return kept;
}

}  // namespace

std::vector<Index> choose_landmarks(const Matrix& H, Index count, std::uint64_t seed) {
  require(H.rows() == H.cols(), "shape of H", fmt::format("{} x {}", H.rows(), H.cols()), "must be square");
  const SerialBlas serial;
  RandomStream random(seed, "landmarks");
  std::vector<Index> landmarks;
  Matrix L(H.rows(), 0);
  Vector left = H.diagonal().cwiseMax(0.0);
  const double trace = left.sum();
  for (int failures = 0; static_cast<Index>(landmarks.size()) < std::min(count, H.rows()) && failures < 8;) {
    if (!(left.sum() > 1e-12 * trace)) break;
    const Index wanted = std::min(drawn_at_once, count - static_cast<Index>(landmarks.size()));
    const std::vector<Index> drawn = draw(left, wanted, random);
    Matrix G = columns_of(H, drawn);
    if (L.cols() > 0) add_tall_product(L, -rows_of(L, drawn).transpose(), G);
    const std::vector<Index> kept = keep(rows_of(G, drawn), random);
    std::vector<Index> rows;
    for (const Index i : kept) rows.push_back(drawn[static_cast<std::size_t>(i)]);
    Matrix chosen = columns_of(G, kept), R = rows_of(chosen, rows);
    if (kept.empty() || !cholesky_lower(R)) {
      ++failures;
      continue;
    }
    divide_by_transposed(chosen, R);
    left = (left - chosen.rowwise().squaredNorm()).cwiseMax(0.0);
    for (const Index row : rows) left(row) = 0.0;
    landmarks.insert(landmarks.end(), rows.begin(), rows.end());
    L.conservativeResize(Eigen::NoChange, L.cols() + chosen.cols());
    L.rightCols(chosen.cols()) = chosen;
  }
  return landmarks;
}

NystromPreconditioner::NystromPreconditioner(const Matrix& H, double tau, const std::vector<Index>& landmarks)
    : U_(H.rows(), 0), S_(0) {
  require(tau >= 0.0 && std::isfinite(tau), "tau", tau, "must be >= 0 and finite");
  const SerialBlas serial;
  Matrix L = columns_of(H, landmarks);
  if (landmarks.empty() || tau == 0.0) return;
  // H(J,J) + e I in the place of H(J,J): C stays below V whatever e >= 0.
  const Matrix HJJ = rows_of(L, landmarks);
  Matrix R = HJJ;
  double jitter = 1e-13 * HJJ.diagonal().maxCoeff();
  for (R.diagonal().array() += jitter; !cholesky_lower(R); R.diagonal().array() += jitter) {
    R = HJJ;
    jitter *= 10.0;
    if (!(jitter < HJJ.trace())) return;  // H is no such matrix: C = I
  }
  divide_by_transposed(L, R);
  const SymmetricEigen eigen = symmetric_eigen(tau * tall_inner(L, L));
  // Values that rounding may have made are left out.
  const double least = 1e-10 * std::max(1.0, eigen.values.maxCoeff());
  const Index k = (eigen.values.array() > least).count();
  S_ = eigen.values.tail(k);
  const Matrix E = eigen.vectors.rightCols(k) * (tau / S_.array()).sqrt().matrix().asDiagonal();
  U_ = Matrix::Zero(H.rows(), k);
  add_tall_product(L, E, U_);
  for (int pass = 0; pass < 2; ++pass) {
    Matrix gram = tall_inner(U_, U_);
    if (!cholesky_lower(gram)) {
      U_.resize(H.rows(), 0);
      S_.resize(0);
      return;
    }
    divide_by_transposed(U_, gram);
  }
}

Matrix NystromPreconditioner::part(ConstBlock X) const {
  Matrix Y = Matrix::Zero(X.rows(), X.cols());
  if (rank() > 0) add_tall_product(U_, tall_inner(U_, X), Y);
  return Y;
}

Matrix NystromPreconditioner::whitened_part(ConstBlock X) const {
  Matrix Y = Matrix::Zero(X.rows(), X.cols());
  if (rank() > 0)
    add_tall_product(U_, (S_.array() + 1.0).rsqrt().matrix().asDiagonal() * tall_inner(U_, X), Y);
  return Y;
}

void NystromPreconditioner::whiten(Block X) const {
  if (rank() == 0) return;
  // (1 + S)^-1/2 - 1
  const Vector factor = (S_.array() + 1.0).rsqrt() - 1.0;
  add_tall_product(U_, factor.asDiagonal() * tall_inner(U_, X), X);
}

}  // namespace gradflow
