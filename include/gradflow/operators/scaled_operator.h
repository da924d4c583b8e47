#pragma once

#include "gradflow/operators/training_operator.h"

namespace gradflow {

/// The training operator of rows with weights w_i, seen by whitened responses sqrt(w_i) y_i:
///
///     H~ = factor D H D,     D = diag(scale),  scale_i = sqrt(w_i)
///
/// Gradient flow on the weighted loss 1/(2 W) sum w_i (f_i - y_i)^2, W = sum w_i, has H = Theta/n rows become
/// factor = n / W: then a row of weight m does what m equal rows do, with the same time t.
class ScaledOperator final : public TrainingOperator {
 public:
  /// H outlives this. scale: n, finite, > 0; factor > 0. Throws InputError otherwise.
  ScaledOperator(const TrainingOperator& H, Vector scale, double factor);

  Index size() const noexcept override { return H_.size(); }
  std::string description() const override { return H_.description(); }
  Index columns_at_once() const noexcept override { return H_.columns_at_once(); }

 private:
  void do_apply(ConstBlock X, Block Y) const override;  ///< 2 n b flops and a product with H
  Vector do_diagonal() const override;
  /// Only where H's entries are kept as a matrix: NaN otherwise.
  double do_squared_norm() const override;
  Matrix do_matrix() const override;
  Matrix do_entries(const std::vector<Index>& rows, const std::vector<Index>& cols) const override;

  const TrainingOperator& H_;
  Vector scale_;
  double factor_;
};

}  // namespace gradflow
