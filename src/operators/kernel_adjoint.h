#pragma once

#include "gradflow/operators/kernel_sum.h"
#include "operators/kernel_tiles.h"

namespace gradflow {

/// Derivatives of sum_ij W_ij weight kappa(r o x_i, r o x_j) with respect to logarithms.
struct TermGradient {
  double weight = 0.0, sw2 = 0.0, sb2 = 0.0;  ///< sw2 and sb2: networks only
  Vector relevance{};                         ///< d, or empty where not asked for
};

/// One term of a sum of kernels on the rows of X: its tiles and its derivatives.
class TermTiles {
 public:
  TermTiles(const KernelTerm& term, ConstBlock X);
  Index blocks() const noexcept { return tiles_.blocks(); }

  /// tile <- tile + weight kappa(rows of block I, rows of block J), both 64-byte aligned and tile_entries
  /// long; `scratch` is overwritten. Entries of the diagonal are exact.
  void add(Index I, Index J, double* scratch, double* tile) const;

 private:
  TermTiles(const KernelTerm& term, const PaddedRows& padded);

  KernelTerm::Kind kind_;
  double weight_;
  Vector squares_;  ///< |u|^2 / d of the padded rows; only stationary kernels read it
  EvaluatedTiles<double> tiles_;
};

/// The derivatives at a symmetric W (n x n), scaled by `factor`, in reverse mode: products x.x'/d and the
/// recursion of a column of a tile are computed again (storing them would cost 4 n x n matrices per layer),
/// then their adjoints layer by layer:
///
///     K_l' = dG/dK_l, T_l' = dG/dT_l of a pair:   T_{l-1}' = sw2 T_l' D,
///     K_{l-1}' = sw2 (K_l' D + T_l' T_{l-1} D_c) + T_{l-1}'
///
/// with G_a' += sw2 (K_l' V_a + T_l' T_{l-1} D_a) for the two variances, whose own recursion follows when all
/// pairs are done. Relevances: diag(U'AU) with A the adjoint of the products, by tiles, U = X o r. Memory: 3
/// vectors of n per layer, 3 n d, and per thread 2 tiles. Cost about 2.5 Gram matrices, and n^2 d flops for
/// the relevances. The same bits for any number of threads.
TermGradient contract_term(const KernelTerm& term, ConstBlock X, const Matrix& W, double factor,
                           bool relevances);

}  // namespace gradflow
