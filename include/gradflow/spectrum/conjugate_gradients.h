#pragma once

#include <functional>
#include <limits>
#include <vector>

#include "gradflow/spectrum/quadrature.h"

namespace gradflow {

struct ConjugateGradientOptions {
  double tolerance = 1e-4;     ///< of |b - A x| / |b|, > 0
  Vector tolerances{};         ///< of each column; empty: `tolerance` for all
  Index roots = 0;             ///< of so many columns, the last, A^-1/2 b is wanted in the place of A^-1 b
  Index max_iterations = 500;  ///< >= 1
};

/// A X = B column by column (or A^1/2 X = B), and what the iterations say of A.
struct BlockSolution {
  Matrix X{};                          ///< A^-1 b; of the last `roots` columns A^-1/2 b
  std::vector<Tridiagonal> lanczos{};  ///< of each column: T_k of A from b/|b|, `next` not computed (0)
  Index iterations = 0;                ///< most of any column: products with A
  double residual = std::numeric_limits<double>::quiet_NaN();  ///< largest |b - A x| / |b|, by recurrence
  bool converged = false;                                      ///< every column met its tolerance
  bool definite = true;  ///< false: a direction with x'Ax <= 0 was met, the solution is none
};

/// Conjugate gradients for several right-hand sides that share the products: each column has a recurrence of
/// its own, and leaves the block when it has met its tolerance. A symmetric positive definite. For sharp
/// spectra A should be preconditioned by the caller on both sides (nystrom.h), so that the tridiagonals are
/// those of the operator whose logarithm is wanted. Nothing is kept of the directions: ghosts among the Ritz
/// values, which rounding brings, change neither the solution nor a Gauss rule beyond rounding (Greenbaum
/// 1989; Golub and Meurant 2010, ch. 8).
///
/// A^-1/2 b = |b| Q T_k^-1/2 e_1 from the residuals, whose normalised columns Q are kept: n iterations
/// doubles for each such column. It has converged where A^-1 b has. Cost per iteration: one product with the
/// columns that are left, 10 n flops each. Memory 4 n columns.
BlockSolution conjugate_gradients(const std::function<void(ConstBlock X, Block Y)>& apply, ConstBlock B,
                                  const ConjugateGradientOptions& options = {});

}  // namespace gradflow
