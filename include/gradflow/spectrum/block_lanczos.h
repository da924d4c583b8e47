#pragma once

#include <functional>
#include <vector>

#include "gradflow/spectrum/lanczos.h"

namespace gradflow {

/// Orthonormal basis V of the block Krylov space of a symmetric M from b vectors at once, and the projection
///
///     M Q_j = Q_{j-1} B_{j-1}' + Q_j A_j + Q_{j+1} B_j,     V = (Q_1 ... Q_k)
///     V'MV = T, block tridiagonal: A_j on the diagonal, B_j below it
///
/// From random vectors, a way to the leading eigenvectors in few products, where one with b columns costs
/// little more than one with a single column.
///
/// Every block is made by the three-term recurrence in float64, orthogonalised against all kept vectors, made
/// orthonormal in itself, and both once more. Directions in which nothing is left are dropped: blocks may
/// become narrower, and the space is invariant when none is left. Cost per step: a product with b columns and
/// 8 n k b^2 flops; memory as KrylovBasis, and 3 n b doubles. The same bits for any number of threads.
/// Sources: Golub and Underwood (1977); Golub and Meurant (2010), ch. 4.
class BlockKrylovSpace {
 public:
  using Apply = std::function<void(ConstBlock X, Block Y)>;  ///< Y <- M X

  /// `start` is n x b; columns in the span of those before them are dropped. max_size: vectors that the space
  /// may hold; project as for KrylovSpace.
  BlockKrylovSpace(Apply apply, Matrix start, Index max_size,
                   BasisPrecision precision = BasisPrecision::float64, KrylovSpace::Project project = {});

  /// Grows by whole blocks to at least `size` vectors, or until it is at its limit.
  void extend(Index size);

  Index size() const noexcept { return basis_.size(); }
  bool exhausted() const noexcept { return current_.cols() == 0; }  ///< invariant
  /// No further block fits, or none is left.
  bool at_limit() const noexcept { return exhausted() || size() + current_.cols() > max_size_; }
  const KrylovBasis& basis() const noexcept { return basis_; }

  /// Eigenpairs of T, about 5 size^3 flops, and what is left of each Ritz vector's equation.
  struct Pairs {
    Ritz ritz;
    Vector residuals;  ///< |M u_i - theta_i u_i| of u_i = V s_i: |B_k (last block of s_i)|
  };
  Pairs pairs() const;

 private:
  Matrix next_block(Matrix& X) const;

  Apply apply_;
  KrylovSpace::Project project_;
  Index max_size_;
  KrylovBasis basis_;
  Matrix current_, previous_;             // Q_{j+1}, not yet kept, and Q_j
  std::vector<Matrix> diagonal_, below_;  // A_j and B_j
  double scale_ = 0.0;                    // largest |T| entry seen: the yardstick for breakdown
};

}  // namespace gradflow
