#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gradflow/operators/kernel_sum.h"
#include "gradflow/operators/precision.h"
#include "gradflow/operators/training_operator.h"

namespace gradflow {

/// What a KernelOperator keeps: nothing (every entry is evaluated again in each product), or its entries in
/// this type.
enum class KernelStorage { none, float32, float64 };

struct KernelOptions {
  KernelStorage storage = KernelStorage::none;
  /// In which products x.x' and the recursion are evaluated. The entries of a product with storage none are
  /// of this type too; sums over them are always in float64.
  Precision precision = Precision::float64;
};

/// H = Theta(X, X) / n of a sum of kernels, in tiles of 128 x 128 entries that never form an n x n
/// matrix: with T(I, J), J <= I, the tiles of Theta's lower triangle,
///
///     n Y_I = sum_{J <= I} T(I, J) V_J + sum_{J > I} T(J, I)' V_J
///
/// where each tile is evaluated (all terms of the sum one after another) or read once per product for all
/// columns of V. Tiles are taken in rounds in
/// which each block row occurs once, so that no two threads write the same rows and every sum has one order:
/// the same bits for any number of threads, without sums of its own per thread. Between processors with
/// different vector registers results differ by rounding.
///
/// Accuracy, relative to sqrt(Theta_ii Theta_jj): float64 as kernel_gram. In float32, networks about 1e-6 per
/// layer, except where rows are nearly equal or opposite (1 - |rho| < 1e-4): relu, leaky_relu and abs have an
/// infinite second derivative there, and a rounding error e of rho shows as sqrt(e), at most 1e-3 per layer.
/// Equal rows give equal entries. sin and cos: the variance times float's rounding. linear, rbf and Matern
/// about 2e-7, the last two and 1e-7 max |u - mean| / sqrt(d) more (features u are centred before they are
/// rounded); their entries never fall below exp(-87), and equal rows give exactly 1.
///
/// Cost of a product with b columns: n^2/2 c + 2 n^2 b flops with storage none, n^2/2 entries read from
/// memory otherwise. c is the sum over the terms of 2d + about 60 depth for a network, 2d (linear), 3d + 15
/// (rbf) and 3d + 25 (Matern); columns of relevance 0 do not count in d here.
class KernelOperator final : public TrainingOperator {
 public:
  /// X is n x d, n >= 1, d >= 1, finite; it is copied. With storage, evaluates all entries here. Throws
  /// InputError for other X, and where float32 cannot hold the variances (above 1e12), the entries (above
  /// 1e30) or a weight (outside 1e-30 to 1e30); std::bad_alloc where the bytes below are not there.
  KernelOperator(const KernelSum& kernel, ConstBlock X, const KernelOptions& options = {});
  ~KernelOperator() override;

  Index size() const noexcept override { return diagonal_.size(); }
  std::string description() const override;
  Index columns_at_once() const noexcept override { return 8; }  ///< tiles are read or evaluated once for all

  /// Bytes of the stored entries: the lower triangle of tiles, about n^2/2 entries; 0 for none.
  static double storage_bytes(Index n, KernelStorage storage);

  /// Bytes of everything else for X of n x d and products of `columns` columns at a time, at most: the rows
  /// twice and once more for every term, for networks five numbers per row and layer (tanh: 2050 more, which
  /// only variances above 20 need, see dual_activation.h), and two blocks of n x columns. V and Y themselves
  /// are not counted.
  static double working_bytes(const KernelSum& kernel, Index n, Index d, Index columns);

 private:
  struct Tiles;  ///< evaluated or stored

  void do_apply(ConstBlock X, Block Y) const override;
  Vector do_diagonal() const override;
  double do_squared_norm() const override;  ///< reads or evaluates every tile once
  Matrix do_matrix() const override;
  /// Cost: with storage none, of kernel_cross between these rows, in float64.
  Matrix do_entries(const std::vector<Index>& rows, const std::vector<Index>& cols) const override;

  KernelSum kernel_;
  Matrix X_;         ///< n x d; empty with storage
  Vector diagonal_;  ///< of Theta
  std::unique_ptr<const Tiles> tiles_;
};

}  // namespace gradflow
