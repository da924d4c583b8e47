#pragma once

#include <vector>

#include "gradflow/operators/layered_kernel.h"

namespace gradflow {

/// K and T of a tile of pairs of examples (x, x'), between places: for a pair (p, q) of places a block of
/// `rows` x `width` pairs. With `full` the blocks are those of one matrix, p down and q across; otherwise
/// only p = q is held, side by side.
struct PlaceCovariances {
  Index rows = 0, width = 0;
  TensorShape shape{};
  bool full = false;
  Matrix K{}, T{};

  Index places() const { return shape.positions(); }
  void set_zero() { K = T = Matrix::Zero(full ? places() * rows : rows, places() * width); }
  auto block(Matrix& M, Index p, Index q) const {
    return M.block(full ? p * rows : 0, (full ? q : p) * width, rows, width);
  }
  auto block(const Matrix& M, Index p, Index q) const {
    return M.block(full ? p * rows : 0, (full ? q : p) * width, rows, width);
  }
  /// use(p, q) for the pairs that are held.
  template <typename Use>
  void for_places(const Use& use) const {
    for (Index q = 0; q < places(); ++q)
      for (Index p = full ? 0 : q; p < (full ? places() : q + 1); ++p) use(p, q);
  }
};

/// Equations in layered_kernel.h. The kernel has been checked.
class LayeredRecursion {
 public:
  LayeredRecursion(const LayeredKernel& kernel, Index inputs);

  /// What one set of examples needs in any pair: the variances that activations and layer norms see, in the
  /// order in which they are met (n x places each), and the kernel of each example with itself.
  struct Marginals {
    std::vector<Matrix> variances;
    Vector kernel;
  };
  Marginals marginals(ConstBlock X) const;

  /// The kernel between rows [row, row + rows) of X and [column, column + columns) of Y.
  Matrix tile(ConstBlock X, const Marginals& of_X, Index row, Index rows, ConstBlock Y, const Marginals& of_Y,
              Index column, Index columns) const;

  /// Numbers of K for a pair of examples, at most.
  Index entries_per_pair() const noexcept { return entries_; }

 private:
  const LayeredKernel& kernel_;
  double sw2_, sb2_;
  TensorShape input_;
  bool full_ = false;
  Index entries_ = 1;
};

}  // namespace gradflow
