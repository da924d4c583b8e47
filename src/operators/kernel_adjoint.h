#pragma once

#include <functional>
#include <memory>

#include "gradflow/operators/kernel_sum.h"
#include "gradflow/operators/operator_family.h"
#include "operators/pair_adjoint.h"

namespace gradflow {

/// Derivatives of sum_ij W_ij weight kappa(r o x_i, r o x_j) with respect to logarithms.
struct TermGradient {
  double weight = 0.0, sw2 = 0.0, sb2 = 0.0;  ///< sw2 and sb2: networks only
  Vector relevance{};                         ///< d, or empty where not asked for
};

/// The weights W of a contraction, by tiles.
class WeightTiles {
 public:
  explicit WeightTiles(const Matrix& W);          ///< outlives this
  explicit WeightTiles(const LowRankWeights& W);  ///< memory 2 n k; a tile costs 2 128^2 k flops

  /// tile <- scale W on the block (I, J), J <= I, zeros beyond the last row; 64-byte aligned. Only while a
  /// SerialBlas lives.
  void load(Index I, Index J, double scale, double* tile) const { load_(I, J, scale, tile); }
  const Vector& diagonal() const noexcept { return diagonal_; }  ///< n, of W

 private:
  Vector diagonal_;
  std::function<void(Index I, Index J, double scale, double* tile)> load_;
};

/// One term of a sum of kernels on the rows of X: its entries, by tiles, and its derivatives. Memory: n d and
/// 4 vectors of n per layer.
class FamilyTerm {
 public:
  FamilyTerm(const KernelTerm& term, ConstBlock X);
  Index blocks() const noexcept { return U_.rows() / tile_size; }

  /// tile <- tile + weight kappa(rows of block I, rows of block J), both 64-byte aligned and tile_entries
  /// long; `scratch` is overwritten. Entries of the diagonal are exact. Only while a SerialBlas lives.
  void add(Index I, Index J, double* scratch, double* tile) const;

  /// The derivatives at a symmetric W, scaled by `factor`, in reverse mode: products and the
  /// recursion of a column of a tile are computed again (storing them would take 4 n x n matrices per layer),
  /// then their adjoints layer by layer. With K_l' and T_l' those of K_l and T_l of a pair,
  ///
  ///     T_{l-1}' = sw2 T_l' D,   K_{l-1}' = sw2 (K_l' D + T_l' T_{l-1} D_c) + T_{l-1}'
  ///
  /// and the two variances get sw2 (K_l' V_a + T_l' T_{l-1} D_a), a and b, which their own recursion takes on
  /// when all pairs are done. Relevances: diag(U'AU) with A the adjoint of the products, by tiles, U = X o r.
  /// Memory 3 n d, and per thread 2 tiles. Cost about 3 Gram matrices, and 2 n^2 d flops for the relevances.
  /// The same bits for any number of threads.
  TermGradient contract(const WeightTiles& W, double factor, bool relevances) const;

 private:
  void multiply_rows(Index I, Index J, double* tile) const;

  KernelTerm term_;
  Matrix U_;                            ///< X o r (centred: rbf, Matern), padded by rows of zeros
  Vector squares_;                      ///< |u|^2 / d
  std::unique_ptr<PairAdjoint> pairs_;  ///< for the entries
};

}  // namespace gradflow
