#pragma once

#include <optional>
#include <vector>

#include "gradflow/operators/kernel_sum.h"
#include "operators/kernel_recursion.h"
#include "operators/kernel_tiles.h"

namespace gradflow {

/// r o x of every row of X, without the columns of relevance 0, and rows of zeros up to `rows`.
Matrix relevant_features(const KernelTerm& term, ConstBlock X, Index rows);

/// kappa of one term, without its weight, at rows u that are relevant_features of a matrix with `features`
/// columns. Networks and linear: products by BLAS. rbf and Matern: as the tiles below, to the last bit.
Matrix term_cross(const KernelTerm& term, ConstBlock U_new, ConstBlock U, Index features);
Vector term_diagonal(const KernelTerm& term, ConstBlock U, Index features);

/// What a term's tiles are made of.
struct TermRows {
  Matrix rows;                               ///< relevant features, padded to whole tiles
  std::optional<KernelDiagonals> diagonals;  ///< kind network
  Vector diagonal;                           ///< of kappa, padded likewise

  TermRows(const KernelTerm& term, ConstBlock X);
};

/// Tiles of one term, in Real: products or distances of rows, and a function of them. For float the rows of
/// rbf and Matern are centred first, so that only their spread is rounded.
template <typename Real>
class TermTiles {
 public:
  /// `features`: of X, `count`: its rows. Throws InputError where float cannot hold the variances (above
  /// 1e12), the entries (above 1e30) or the weight (outside 1e-30 to 1e30).
  TermTiles(const KernelTerm& term, TermRows rows, Index features, Index count);
  Real weight() const noexcept { return weight_; }

  /// tile <- kappa(rows of block I, rows of block J). Cost 128^2 (d + about 20 depth) multiply-adds.
  void evaluate(Index I, Index J, Real* tile) const;

 private:
  KernelTerm::Kind kind_;
  Real weight_, scale_;  ///< scale: sw2 / d of a network, 1 / d otherwise
  SliverRows<Real> rows_;
  std::optional<KernelRecursion<Real>> recursion_;
};

/// Tiles of Theta = sum_k weight_k kappa_k of the rows of X, in Real.
template <typename Real>
class EvaluatedTiles {
 public:
  EvaluatedTiles(const KernelSum& kernel, ConstBlock X);
  Index blocks() const noexcept { return diagonal_.size() / tile_size; }
  const Vector& diagonal() const noexcept { return diagonal_; }  ///< of Theta, padded, in float64

  /// tile <- Theta(rows of block I, rows of block J), column-major, 64-byte aligned. Rows beyond the last are
  /// rows of zeros. Entries of the diagonal are those of diagonal().
  void evaluate(Index I, Index J, Real* tile) const;

 private:
  void add(const TermTiles<Real>& term, Index I, Index J, Real* tile) const;

  Vector diagonal_;
  std::vector<TermTiles<Real>> terms_;
};

}  // namespace gradflow
