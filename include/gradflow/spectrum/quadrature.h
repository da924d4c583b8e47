#pragma once

#include "gradflow/base/types.h"

namespace gradflow {

/// The Jacobi (tridiagonal) matrix T_k that k Lanczos steps leave, and the next off-diagonal entry.
struct Tridiagonal {
  Vector diagonal;      ///< alpha_1 ... alpha_k
  Vector off_diagonal;  ///< beta_1 ... beta_{k-1}
  double next = 0.0;    ///< beta_k; 0: the Krylov space is invariant and every rule below is exact

  Index size() const noexcept { return diagonal.size(); }
  Tridiagonal leading(Index k) const;  ///< what the first k steps left
};

/// A discrete measure: sum_j weights_j f(nodes_j).
struct Quadrature {
  Vector nodes;    ///< ascending
  Vector weights;  ///< >= 0
};

/// Gauss rule of the spectral measure mu of (M, w), mass = w'w:  w'f(M)w ~ sum weights f(nodes). Exact for
/// polynomials of degree 2k - 1. For f with derivatives of alternating sign (exp(-t lambda), 1/(1 + tau
/// lambda), ...: completely monotone) it is a LOWER bound. Nodes and weights by the implicit QL iteration
/// that carries the first row only, about 30 k^2 flops. Throws InternalError when that does not converge.
/// Source: Golub and Welsch (1969); Golub and Meurant (2010), ch. 6.
Quadrature gauss_rule(const Tridiagonal& T, double mass);

/// Gauss-Radau rule with one node at 0, k + 1 nodes: an UPPER bound for completely monotone f when M has no
/// eigenvalue below 0. With next = 0 it is the Gauss rule.
Quadrature radau_rule(const Tridiagonal& T, double mass);

/// Jacobi matrix of the measure lambda dmu (mass = mass * alpha_1), k x k, from T = L L' as L'L. Its Gauss
/// and Radau rules bound w'M f(M) w. Empty when T is not positive definite in floating point: then there is
/// no such bound. Source: Gautschi (2004), 2.4 (Christoffel's theorem).
Tridiagonal first_moment(const Tridiagonal& T);

/// Eigenvalues (ascending) and eigenvectors of T: f(M)w ~ |w| V f(T) e_1.
struct Ritz {
  Vector values;
  Matrix vectors;
};
Ritz ritz(const Tridiagonal& T);

}  // namespace gradflow
