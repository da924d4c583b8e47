#pragma once

#include "gradflow/operators/training_operator.h"

namespace gradflow {

/// A training operator held as an n x n matrix: built from a network, from an infinite-width kernel, or given
/// by the user. Memory n^2 doubles.
class DenseOperator final : public TrainingOperator {
 public:
  /// H must be square with finite entries, symmetric to 1e-8 of its largest entry, and without a diagonal
  /// entry below -1e-10 of the largest; otherwise InputError whose message starts with `name`. The stored
  /// matrix is the mean of H and H'. (That no eigenvalue is negative is checked where the spectrum is
  /// computed.)
  explicit DenseOperator(Matrix H, std::string name = "operator");

  Index size() const noexcept override { return H_.rows(); }
  std::string description() const override { return name_; }
  Index columns_at_once() const noexcept override { return 8; }  ///< the matrix is read once for all
  using TrainingOperator::entries;
  const Matrix& entries() const noexcept { return H_; }  ///< all of them, n x n

 private:
  void do_apply(ConstBlock X, Block Y) const override;
  Vector do_diagonal() const override { return H_.diagonal(); }
  double do_squared_norm() const override { return H_.squaredNorm(); }
  Matrix do_matrix() const override { return H_; }
  Matrix do_entries(const std::vector<Index>& rows, const std::vector<Index>& cols) const override;

  Matrix H_;
  std::string name_;
};

}  // namespace gradflow
