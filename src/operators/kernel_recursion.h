#pragma once

#include <vector>

#include "gradflow/operators/dual_activation.h"
#include "gradflow/operators/infinite_ntk.h"

namespace gradflow {

/// K_0(x, x), ..., K_depth(x, x) of every row of X, and T_depth(x, x); see infinite_ntk.h. `features` is the
/// d of its formula: at least X's columns, as columns of zeros need not be there.
struct KernelDiagonals {
  std::vector<Vector> K;
  Vector T;

  KernelDiagonals(const InfiniteArchitecture& architecture, ConstBlock X, Index features);
  /// The diagonal of the kernel: T or K_depth.
  const Vector& kernel(const InfiniteArchitecture& architecture) const;
};

/// The recursion of infinite_ntk.h for blocks of pairs of rows, in float or double. Memory: 3 numbers (tanh:
/// 2 terms) per row and layer.
template <typename Real>
class KernelRecursion {
 public:
  static constexpr Index most_rows = 128, most_columns = 8;

  KernelRecursion(const InfiniteArchitecture& architecture, const KernelDiagonals& rows,
                  const KernelDiagonals& columns);
  /// The same rows on both sides.
  KernelRecursion(const InfiniteArchitecture& architecture, const KernelDiagonals& both);

  /// Turns `count` x `columns` products sw2 x.x'/d, x in rows first + i and x' in rows column + j, into
  /// kernel entries, in place. count <= most_rows, columns <= most_columns; column j of the block begins at
  /// entries + j stride. Cost about 40 operations per entry and layer.
  void evaluate(Index column, Index columns, Index first, Index count, Real* entries, Index stride) const;

 private:
  bool tangent_;
  Real sw2_, sb2_;
  std::vector<BasicDualActivation<Real>> layers_;
};

extern template class KernelRecursion<double>;
extern template class KernelRecursion<float>;

}  // namespace gradflow
