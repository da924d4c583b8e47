#pragma once

#include <Eigen/QR>
#include <string>
#include <vector>

#include "gradflow/base/types.h"

namespace gradflow {

/// Fixed effects X (n x q): directions that are trained infinitely fast, that is, projected out.
///
///     Q:  n x (n - q), orthonormal, Q'X = 0.     M = Q'HQ,   w = Q'(y - f0),   N = n - q
///
/// Q is never stored: it is the product of the q Householder reflectors of X = (Q1 Q) R, applied in O(n q)
/// per vector. q = 0 is allowed (Q = I).
class FixedEffects {
 public:
  /// `design` is X; `names` (q) label its columns in messages. Throws InputError when a column is a linear
  /// combination of those before it (to 1e-10), and when n <= q.
  FixedEffects(Matrix design, std::vector<std::string> names);

  static FixedEffects none(Index n) { return {Matrix(n, 0), {}}; }
  static FixedEffects intercept(Index n) { return {Matrix::Ones(n, 1), {"(intercept)"}}; }

  Index rows() const noexcept { return design_.rows(); }
  Index count() const noexcept { return design_.cols(); }                 ///< q
  Index residual_dimension() const noexcept { return rows() - count(); }  ///< N
  const Matrix& design() const noexcept { return design_; }
  const std::vector<std::string>& names() const noexcept { return names_; }

  Matrix reduce(ConstBlock V) const;  ///< Q'V, N x b
  Matrix lift(ConstBlock C) const;    ///< Q C, n x b
  Matrix project(Matrix H) const;     ///< Q'HQ, N x N, for symmetric H; O(n^2 q)

  /// Q1, n x q: an orthonormal basis of the columns of X; I - Q1 Q1' is the projector QQ'.
  Matrix orthonormal_design() const;

  Matrix coefficients(ConstBlock V) const;          ///< (X'X)^-1 X'V, q x b
  Matrix averaging() const;                         ///< X (X'X)^-1, n x q: coefficients(V) = averaging()' V
  Vector variance_of_mean(ConstBlock new_X) const;  ///< x'(X'X)^-1 x for each row x of new_X

 private:
  Matrix design_;
  std::vector<std::string> names_;
  Eigen::HouseholderQR<Matrix> qr_;
};

}  // namespace gradflow
