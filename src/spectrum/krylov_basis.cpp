#include "gradflow/spectrum/krylov_basis.h"

#include <algorithm>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
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
  const SerialBlas serial;
  parallel_for(rows_, block_rows,
               [&](Index begin, Index end) { body(begin / block_rows, begin, end - begin); });
}

// Calls body with rows [begin, begin + count) of each chunk's columns among the first `columns`, in float64,
// and where among all columns they begin.
template <typename Body>
void KrylovBasis::for_each_chunk(Index begin, Index count, Index columns, Body&& body) const {
  Matrix converted;
  for (Index c = 0; c < chunks(columns); ++c) {
    const auto chunk = static_cast<std::size_t>(c);
    const Index first = c * chunk_columns, width = columns_in(c, chunk_columns, columns);
    if (precision_ == BasisPrecision::float64) {
      body(ConstBlock(doubles_[chunk].block(begin, 0, count, width)), first);
    } else {
      converted = singles_[chunk].block(begin, 0, count, width).cast<double>();
      body(ConstBlock(converted), first);
    }
  }
}

Matrix KrylovBasis::inner(ConstBlock X, Index first) const {
  require(X.rows() == rows_, "KrylovBasis::inner X.rows", X.rows(), "must equal rows()");
  require(first >= 0 && first <= size_, "KrylovBasis::inner columns", first, "must not exceed size()");
  const Index blocks = (rows_ + block_rows - 1) / block_rows;
  // One sum per block of rows, added in the order of the blocks.
  std::vector<Matrix> sums(static_cast<std::size_t>(blocks));
  for_each_block([&](Index block, Index begin, Index count) {
    Matrix sum(first, X.cols());
    for_each_chunk(begin, count, first, [&](ConstBlock V, Index column) {
      multiply(V, Transpose::yes, X.middleRows(begin, count), Transpose::no,
               sum.middleRows(column, V.cols()));
    });
    sums[static_cast<std::size_t>(block)] = std::move(sum);
  });
  Matrix total = Matrix::Zero(first, X.cols());
  for (const Matrix& sum : sums) total += sum;
  return total;
}

void KrylovBasis::subtract(const Matrix& C, Block X) const {
  require(X.rows() == rows_, "KrylovBasis::subtract X.rows", X.rows(), "must equal rows()");
  for_each_block([&](Index, Index begin, Index count) {
    for_each_chunk(begin, count, C.rows(), [&](ConstBlock V, Index column) {
      multiply(V, Transpose::no, C.middleRows(column, V.cols()), Transpose::no, X.middleRows(begin, count),
               -1.0, 1.0);
    });
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
