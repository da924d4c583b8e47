#pragma once

#include <limits>
#include <string>
#include <vector>

#include "gradflow/base/types.h"

namespace gradflow {

/// The training operator of gradient flow on squared loss averaged over n examples:
///
///     df/dt = -H (f - y),     H = Theta / n,     H is n x n, symmetric positive semidefinite
///
/// Theta is the neural tangent kernel of a network or of its infinite-width limit, or any fixed kernel.
/// Everything that follows (spectrum, inference) sees a network only through this interface.
/// Every implementation is held to tests/laws/training_operator_laws.h.
class TrainingOperator {
 public:
  TrainingOperator() = default;
  TrainingOperator(const TrainingOperator&) = delete;
  TrainingOperator& operator=(const TrainingOperator&) = delete;
  virtual ~TrainingOperator() = default;

  virtual Index size() const noexcept = 0;  ///< n
  /// One line, e.g. "infinite-width NTK, relu, 2 hidden layers".
  virtual std::string description() const = 0;

  /// Y <- H X for b columns at once. X and Y are n x b and do not overlap.
  /// Cost 2 n^2 b flops for a dense operator. Throws InputError on a shape mismatch.
  void apply(ConstBlock X, Block Y) const;

  /// Columns that apply() takes at once for at most a few times the cost of one: 1 where each costs the same.
  virtual Index columns_at_once() const noexcept { return 1; }

  /// Diagonal of H (n) and its sum. Cost O(n).
  Vector diagonal() const { return do_diagonal(); }
  double trace() const { return do_diagonal().sum(); }

  /// Sum of the squared entries of H, tr H^2. NaN where that would cost more than a few products.
  double squared_norm() const { return do_squared_norm(); }

  /// H as a matrix, n x n, both triangles filled. Cost n^2 doubles.
  Matrix matrix() const { return do_matrix(); }

  /// H(rows, cols): the entries in these rows and columns (0-based), in this order. Throws InputError on an
  /// index out of range. Cost: the result (dense), or that of matrix().
  Matrix entries(const std::vector<Index>& rows, const std::vector<Index>& cols) const;

 private:
  virtual void do_apply(ConstBlock X, Block Y) const = 0;
  virtual Vector do_diagonal() const = 0;
  virtual double do_squared_norm() const { return std::numeric_limits<double>::quiet_NaN(); }
  virtual Matrix do_matrix() const;  ///< default: apply() to the identity
  virtual Matrix do_entries(const std::vector<Index>& rows, const std::vector<Index>& cols) const;
};

}  // namespace gradflow
