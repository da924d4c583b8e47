#pragma once

#include <functional>

#include "gradflow/base/types.h"

namespace gradflow {

/// Orthonormal basis V_k of the Krylov space of a symmetric M from a start vector w, and the projection
///
///     V_k' M V_k = T_k (tridiagonal: alpha on the diagonal, beta beside it),     w = |w| v_1
///
/// f(M) w is approximated by |w| V_k f(T_k) e_1. Every new vector is orthogonalised twice against all before
/// it, so Ritz values have no ghosts. Cost per step: one product with M and 8 N k flops. Extending gives the
/// same bits as asking for more steps at once. Source: Golub and Meurant (2010), ch. 4.
class KrylovSpace {
 public:
  using Apply = std::function<void(ConstVector x, Eigen::Ref<Vector> y)>;  ///< y <- M x

  KrylovSpace(Apply apply, const Vector& start, Index max_steps);

  /// Grows to `steps` vectors, or until the space is invariant (then exhausted() is true and f(M) w is
  /// exact).
  void extend(Index steps);

  Index steps() const noexcept { return steps_; }
  bool exhausted() const noexcept { return exhausted_; }
  double start_norm() const noexcept { return start_norm_; }
  auto basis() const { return basis_.leftCols(steps_); }  ///< N x k

  /// Eigenvalues of T_k (ascending) and, for each, its eigenvector (columns).
  struct Ritz {
    Vector values;
    Matrix vectors;
  };
  Ritz ritz() const;

 private:
  Apply apply_;
  Matrix basis_;
  Vector alpha_, beta_, next_;
  double start_norm_ = 0.0;
  double scale_ = 0.0;  // largest |T| entry seen: the yardstick for breakdown
  Index steps_ = 0;
  bool exhausted_ = false;
};

}  // namespace gradflow
