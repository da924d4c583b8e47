#include "gradflow/spectrum/krylov_basis.h"

#include <algorithm>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"

namespace gradflow {
namespace {

constexpr Index block_rows = 2048;

Index columns_in(Index chunk, Index width, Index total) { return std::min(width, total - chunk * width); }

}  // namespace

KrylovBasis::KrylovBasis(Index rows, BasisPrecision precision) : rows_(rows), precision_(precision) {}

void KrylovBasis::append(ConstVector v) {
  require(v.size() == rows_, "KrylovBasis::append v.size", v.size(), "must equal rows()");
  const Index column = size_ % chunk_columns;
  if (precision_ == BasisPrecision::float64) {
    if (column == 0) doubles_.emplace_back(rows_, chunk_columns);
    doubles_.back().col(column) = v;
  } else {
    if (column == 0) singles_.emplace_back(rows_, chunk_columns);
    singles_.back().col(column) = v.cast<float>();
  }
  ++size_;
}

template <typename Body>
void KrylovBasis::for_each_block(Body&& body) const {
  parallel_for(rows_, block_rows,
               [&](Index begin, Index end) { body(begin / block_rows, begin, end - begin); });
}

// Rows [begin, begin + count) of a chunk's first columns, in float64.
Matrix KrylovBasis::rows_of(std::size_t chunk, Index begin, Index count, Index columns) const {
  if (precision_ == BasisPrecision::float64) return doubles_[chunk].block(begin, 0, count, columns);
  return singles_[chunk].block(begin, 0, count, columns).cast<double>();
}

Matrix KrylovBasis::inner(ConstBlock X, Index first) const {
  require(X.rows() == rows_, "KrylovBasis::inner X.rows", X.rows(), "must equal rows()");
  require(first >= 0 && first <= size_, "KrylovBasis::inner columns", first, "must not exceed size()");
  const Index blocks = (rows_ + block_rows - 1) / block_rows;
  // One sum per block of rows, added in the order of the blocks.
  std::vector<Matrix> sums(static_cast<std::size_t>(blocks));
  for_each_block([&](Index block, Index begin, Index count) {
    Matrix sum(first, X.cols());
    for (Index c = 0; c < chunks(first); ++c) {
      const Index columns = columns_in(c, chunk_columns, first);
      sum.middleRows(c * chunk_columns, columns).noalias() =
          rows_of(static_cast<std::size_t>(c), begin, count, columns).transpose() *
          X.middleRows(begin, count);
    }
    sums[static_cast<std::size_t>(block)] = std::move(sum);
  });
  Matrix total = Matrix::Zero(first, X.cols());
  for (const Matrix& sum : sums) total += sum;
  return total;
}

void KrylovBasis::subtract(const Matrix& C, Block X) const {
  require(X.rows() == rows_, "KrylovBasis::subtract X.rows", X.rows(), "must equal rows()");
  for_each_block([&](Index, Index begin, Index count) {
    for (Index c = 0; c < chunks(C.rows()); ++c) {
      const Index columns = columns_in(c, chunk_columns, C.rows());
      X.middleRows(begin, count).noalias() -= rows_of(static_cast<std::size_t>(c), begin, count, columns) *
                                              C.middleRows(c * chunk_columns, columns);
    }
  });
}

Matrix KrylovBasis::times(const Matrix& C) const {
  require(C.rows() <= size_, "KrylovBasis::times C.rows", C.rows(), "must not exceed size()");
  Matrix product = Matrix::Zero(rows_, C.cols());
  subtract(-C, product);
  return product;
}

void KrylovBasis::orthogonalise(Block X, int passes) const {
  for (int pass = 0; pass < passes && size_ > 0; ++pass) subtract(inner(X), X);
}

}  // namespace gradflow
