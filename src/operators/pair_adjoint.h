#pragma once

#include <memory>

#include "gradflow/operators/kernel_sum.h"
#include "operators/kernel_tiles.h"

namespace gradflow {

/// The entries of one kernel from the products g_ij = u_i.u_j/d of padded rows, and reverse mode from entries
/// to products, for pairs i != j by tiles and then for the diagonal. Sums over tiles go to places of their
/// block row, in the order of for_each_tile: the same bits for any number of threads.
class PairAdjoint {
 public:
  struct Totals {
    double value = 0.0;  ///< sum_ij W_ij kappa_ij
    double sw2 = 0.0, sb2 = 0.0;
  };

  virtual ~PairAdjoint() = default;
  /// A tile of products (64-byte aligned) becomes one of kappa. Entries of the diagonal are exact.
  void evaluate(Index I, Index J, double* tile) const;
  /// W, the adjoint of the entries of a tile, becomes the adjoint of its products. Both 64-byte aligned.
  void reverse(Index I, Index J, const double* products, double* W);
  /// After all tiles. w: adjoint of the diagonal of the kernel (n). Fills the sums below.
  void reverse_diagonal(ConstVector w);

  Totals totals() const;
  /// The adjoint of g_ii = |u_i|^2/d, from pairs and diagonal.
  auto squares_adjoint(Index n) const { return variance_adjoint_.col(0).head(n); }

 protected:
  /// Sums of a tile, one place per row.
  struct Sums {
    alignas(64) double value[tile_size] = {}, sw2[tile_size] = {}, sb2[tile_size] = {};
  };
  /// squares: g_ii of the padded rows. levels: variances per row that pairs depend on.
  PairAdjoint(Vector squares, Index levels);
  static double sum(const double* rows);  ///< of tile_size numbers, in a fixed order

  Vector squares_, kernel_diagonal_;  ///< kappa(u, u), set by the constructors of kernels
  Matrix variance_adjoint_;           ///< padded rows x levels

 private:
  virtual void do_evaluate(Index I, Index J, double* tile) const = 0;
  virtual void do_reverse(Index I, Index J, const double* products, double* W, Sums& sums) = 0;
  /// totals.value is set.
  virtual void do_reverse_diagonal(ConstVector w, Totals& totals) = 0;

  Matrix tile_totals_;  ///< 3 x block rows
  Totals diagonal_totals_;
};

/// squares: |u|^2/d of the padded rows. The term has passed the checks of KernelFamily.
std::unique_ptr<PairAdjoint> make_pair_adjoint(const KernelTerm& term, Vector squares);
std::unique_ptr<PairAdjoint> make_network_adjoint(const InfiniteArchitecture& network, Vector squares);

}  // namespace gradflow
