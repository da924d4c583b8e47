#pragma once

#include <functional>

#include "gradflow/spectrum/krylov_basis.h"
#include "gradflow/spectrum/quadrature.h"

namespace gradflow {

/// Orthonormal basis V_k of the Krylov space of a symmetric M from a start vector w, and the projection
///
///     V_k' M V_k = T_k (tridiagonal: alpha on the diagonal, beta beside it),     w = |w| v_1
///
/// f(M) w is approximated by |w| V_k f(T_k) e_1. Every new vector is made by the three-term recurrence in
/// float64 and then orthogonalised twice against all that are kept, so Ritz values have no ghosts, also when
/// they are kept in float32 (a basis orthogonal to the square root of rounding gives T to rounding: Simon
/// 1984). Cost per step: one product with M and 8 n k flops. Extending gives the same bits as asking for more
/// steps at once. Source: Golub and Meurant (2010), ch. 4.
class KrylovSpace {
 public:
  using Apply = std::function<void(ConstVector x, Eigen::Ref<Vector> y)>;  ///< y <- M x
  using Project = std::function<void(Block x)>;                            ///< x <- P x

  /// max_steps: the dimension of the space that w lives in, or less. project: onto that space, where it is
  /// not the whole one. Every new vector is projected again, as what rounding puts outside the space grows
  /// from step to step by alpha / beta.
  KrylovSpace(Apply apply, const Vector& start, Index max_steps,
              BasisPrecision precision = BasisPrecision::float64, Project project = {});

  /// Grows to `steps` vectors, or until the space is invariant (then exhausted() is true and f(M) w is
  /// exact).
  void extend(Index steps);

  Index steps() const noexcept { return basis_.size(); }
  bool exhausted() const noexcept { return exhausted_; }
  bool at_limit() const noexcept { return exhausted_ || steps() >= max_steps_; }
  double start_norm() const noexcept { return start_norm_; }
  const KrylovBasis& basis() const noexcept { return basis_; }
  Tridiagonal tridiagonal() const;  ///< T_k and beta_k (0 when exhausted)

 private:
  Apply apply_;
  Project project_;
  Index max_steps_;
  KrylovBasis basis_;
  std::vector<double> alpha_, beta_;
  Vector current_, previous_;
  double start_norm_ = 0.0;
  double scale_ = 0.0;  // largest |T| entry seen: the yardstick for breakdown
  bool exhausted_ = false;
};

}  // namespace gradflow
