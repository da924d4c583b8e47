#include "operators/kernel_adjoint.h"

#include <algorithm>
#include <utility>

#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"

namespace gradflow {
namespace {

/// X o r, padded. Stationary kernels see differences only: of centred features they lose less to rounding.
Matrix scaled_features(const KernelTerm& term, ConstBlock X) {
  Matrix U = Matrix::Zero(tile_blocks(X.rows()) * tile_size, X.cols());
  U.topRows(X.rows()) = X;
  if (term.kind != KernelTerm::Kind::network && term.kind != KernelTerm::Kind::linear)
    U.topRows(X.rows()).rowwise() -= X.colwise().mean();
  if (term.relevance.size() > 0) U *= term.relevance.asDiagonal();
  return U;
}

void load_dense(const Matrix& W, Index I, Index J, double scale, double* tile) {
  const Index n = W.rows(), i0 = I * tile_size, j0 = J * tile_size;
  const Index rows = std::min(tile_size, n - i0), columns = std::min(tile_size, n - j0);
  std::fill_n(tile, tile_entries, 0.0);
  for (Index j = 0; j < columns; ++j)
    for (Index i = 0; i < rows; ++i) tile[j * tile_size + i] = scale * W(i0 + i, j0 + j);
}

Vector diagonal_of(const LowRankWeights& W) { return W.diagonal + W.factors.cwiseAbs2() * W.coefficients; }

}  // namespace

WeightTiles::WeightTiles(const Matrix& W)
    : diagonal_(W.diagonal()),
      load_([&W](Index I, Index J, double scale, double* tile) { load_dense(W, I, J, scale, tile); }) {}

// Entries of the diagonal of the tiles themselves are not those of W: who reads them takes diagonal().
WeightTiles::WeightTiles(const LowRankWeights& W) : diagonal_(diagonal_of(W)) {
  Matrix F = Matrix::Zero(tile_blocks(W.factors.rows()) * tile_size, W.factors.cols());
  F.topRows(W.factors.rows()) = W.factors;
  Matrix G = F * W.coefficients.asDiagonal();
  load_ = [F = std::move(F), G = std::move(G)](Index I, Index J, double scale, double* tile) {
    std::fill_n(tile, tile_entries, 0.0);
    multiply(F.middleRows(I * tile_size, tile_size), Transpose::no, G.middleRows(J * tile_size, tile_size),
             Transpose::yes, Eigen::Map<Matrix>(tile, tile_size, tile_size), scale);
  };
}

FamilyTerm::FamilyTerm(const KernelTerm& term, ConstBlock X)
    : term_(term),
      U_(scaled_features(term, X)),
      squares_(U_.rowwise().squaredNorm() / static_cast<double>(X.cols())),
      pairs_(make_pair_adjoint(term, squares_)) {}

/// tile <- (rows of I) (rows of J)' / d
void FamilyTerm::multiply_rows(Index I, Index J, double* tile) const {
  multiply(U_.middleRows(I * tile_size, tile_size), Transpose::no, U_.middleRows(J * tile_size, tile_size),
           Transpose::yes, Eigen::Map<Matrix>(tile, tile_size, tile_size),
           1.0 / static_cast<double>(U_.cols()));
}

void FamilyTerm::add(Index I, Index J, double* scratch, double* tile) const {
  multiply_rows(I, J, scratch);
  pairs_->evaluate(I, J, scratch);
  for (Index at = 0; at < tile_entries; ++at) tile[at] += term_.weight * scratch[at];
}

TermGradient FamilyTerm::contract(const WeightTiles& W, double factor, bool relevances) const {
  const double scale = factor * term_.weight;
  const Index n = W.diagonal().size(), d = U_.cols();
  const std::unique_ptr<PairAdjoint> adjoint = make_pair_adjoint(term_, squares_);
  Matrix AU = Matrix::Zero(U_.rows(), relevances ? d : 0);  // A: the adjoint of the products, i != j
  {
    const SerialBlas serial;
    for_each_tile(blocks(), [&](Index I, Index J) {
      alignas(64) double products[tile_entries], tile[tile_entries];
      multiply_rows(I, J, products);
      // A tile below the diagonal stands for both triangles: twice.
      W.load(I, J, I == J ? scale : 2.0 * scale, tile);
      if (I == J)
        for (Index i = 0; i < tile_size; ++i) tile[i * (tile_size + 1)] = 0.0;
      adjoint->reverse(I, J, products, tile);
      if (!relevances) return;
      const double *rows = U_.data() + I * tile_size, *columns = U_.data() + J * tile_size;
      double* const result = AU.data() + I * tile_size;
      multiply_tile(static_cast<const double*>(tile), true, {rows, columns, result, result, d, U_.rows()});
    });
  }
  adjoint->reverse_diagonal(scale * W.diagonal());
  const PairAdjoint::Totals totals = adjoint->totals();
  TermGradient gradient{totals.value, term_.network.sw2 * totals.sw2, term_.network.sb2 * totals.sb2, {}};
  if (!relevances) return gradient;
  // g_ij = sum_k u_ik u_jk / d with u_ik = r_k x_ik: d g_ij / d log r_k = 2 u_ik u_jk / d
  const auto rows = U_.topRows(n);
  const Matrix sums = AU.topRows(n) + adjoint->squares_adjoint(n).asDiagonal() * rows;
  gradient.relevance = 2.0 / static_cast<double>(d) * rows.cwiseProduct(sums).colwise().sum().transpose();
  return gradient;
}

}  // namespace gradflow
