#include "operators/kernel_adjoint.h"

#include <algorithm>

#include "operators/kernel_lanes.h"
#include "operators/pair_adjoint.h"
#include "operators/radial_kernels.h"

namespace gradflow {
namespace {

Matrix scaled_features(const KernelTerm& term, ConstBlock X) {
  if (term.relevance.size() == 0) return X;
  return X * term.relevance.asDiagonal();
}

const InfiniteArchitecture& recursion_of(const KernelTerm& term) {
  static const InfiniteArchitecture product = product_kernel();
  return term.kind == KernelTerm::Kind::network ? term.network : product;
}

/// tile <- factor W on the block (I, J), J <= I, zeros beyond the last row and on the diagonal. A tile below
/// the diagonal stands for both triangles: twice.
void load_tile(const Matrix& W, Index I, Index J, double factor, double* tile) {
  const Index n = W.rows(), i0 = I * tile_size, j0 = J * tile_size;
  const Index rows = std::min(tile_size, n - i0), columns = std::min(tile_size, n - j0);
  const double scale = I == J ? factor : 2.0 * factor;
  std::fill_n(tile, tile_entries, 0.0);
  for (Index j = 0; j < columns; ++j)
    for (Index i = 0; i < rows; ++i) tile[j * tile_size + i] = scale * W(i0 + i, j0 + j);
  if (I == J)
    for (Index i = 0; i < rows; ++i) tile[i * (tile_size + 1)] = 0.0;
}

}  // namespace

TermTiles::TermTiles(const KernelTerm& term, ConstBlock X)
    : TermTiles(term, PaddedRows(recursion_of(term), scaled_features(term, X))) {}

TermTiles::TermTiles(const KernelTerm& term, const PaddedRows& padded)
    : kind_(term.kind),
      weight_(term.weight),
      squares_(padded.diagonals.K.front()),
      tiles_(recursion_of(term), padded) {}

void TermTiles::add(Index I, Index J, double* scratch, double* tile) const {
  tiles_.evaluate(I, J, scratch);
  const double weight = weight_;
  const bool stationary = radial::visit(kind_, [&](const auto& kernel) {
    const double* const squares = squares_.data() + I * tile_size;
    for (Index j = 0; j < tile_size; ++j) {
      const double column = squares_[J * tile_size + j];
      lanes::dispatch([&](auto) __attribute__((always_inline)) {
        for (Index i = 0; i < tile_size; ++i) {
          const Index at = j * tile_size + i;
          tile[at] += weight * kernel(radial::squared_distance(squares[i], column, scratch[at])).k;
        }
      });
    }
  });
  if (stationary) return;
  for (Index at = 0; at < tile_entries; ++at) tile[at] += weight * scratch[at];
}

TermGradient contract_term(const KernelTerm& term, ConstBlock X, const Matrix& W, double factor,
                           bool relevances) {
  const double scale = factor * term.weight;
  const Index n = X.rows(), d = X.cols();
  const PaddedRows padded(product_kernel(), scaled_features(term, X));
  const EvaluatedTiles<double> products(product_kernel(), padded);
  const std::unique_ptr<PairAdjoint> adjoint = make_pair_adjoint(term, padded.diagonals.K.front());
  const Matrix& U = padded.rows;
  Matrix AU = Matrix::Zero(U.rows(), relevances ? d : 0);  // A: the adjoint of the products, i != j
  for_each_tile(products.blocks(), [&](Index I, Index J) {
    alignas(64) double product_tile[tile_entries], tile[tile_entries];
    products.evaluate(I, J, product_tile);
    load_tile(W, I, J, scale, tile);
    adjoint->tile(I, J, product_tile, tile);
    if (!relevances) return;
    const double *rows = U.data() + I * tile_size, *columns = U.data() + J * tile_size;
    double* const result = AU.data() + I * tile_size;
    multiply_tile(static_cast<const double*>(tile), true, {rows, columns, result, result, d, U.rows()});
  });
  adjoint->diagonal(scale * W.diagonal());
  const PairAdjoint::Totals totals = adjoint->totals();
  TermGradient gradient{totals.value, term.network.sw2 * totals.sw2, term.network.sb2 * totals.sb2, {}};
  if (!relevances) return gradient;
  // g_ij = sum_k u_ik u_jk / d with u_ik = r_k x_ik: d g_ij / d log r_k = 2 u_ik u_jk / d
  const auto rows = U.topRows(n);
  const Matrix sums = AU.topRows(n) + adjoint->squares_adjoint(n).asDiagonal() * rows;
  gradient.relevance = 2.0 / static_cast<double>(d) * rows.cwiseProduct(sums).colwise().sum().transpose();
  return gradient;
}

}  // namespace gradflow
