#pragma once

#include <vector>

#include "gradflow/operators/layered_kernel.h"

namespace gradflow {

/// K and T of a tile of pairs of examples, between places: for each pair (p, q) of places a block of `width`
/// columns, one per example x'; rows are the examples x. Without `full` only p = q is held.
struct PlaceCovariances {
  Matrix K{}, T{};
  Index width = 0;
  TensorShape shape{};
  bool full = false;

  /// Number of the block of a pair of places.
  Index block(Index p, Index q) const { return full ? p * shape.positions() + q : p; }
  Index blocks() const { return full ? shape.positions() * shape.positions() : shape.positions(); }
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
