#pragma once

#include <memory>
#include <vector>

#include "gradflow/training/trainable.h"

namespace gradflow {

/// Up to which TrainableNetwork::products() keeps the sweeps of its network.
inline constexpr double kept_sweep_bytes = 2147483648.0;

/// Groups of rows that a pass of n rows makes.
Index count_groups(Index n);

/// Forward and reverse pass of a dense network with examples as columns:
///
///     Z_l = ws_l W_l A_l + bs b_l,   A_{l+1} = phi(Z_l),   D_l = (ws_{l+1} W_{l+1}' D_{l+1}) o phi'(Z_l)
///     dL/dW_l = ws_l D_l A_l',       dL/db_l = bs D_l 1
///
/// over fixed groups of rows: each group is one task with serial BLAS, and the groups' gradients are added in
/// order, so that the bits do not depend on the number of threads. Cost of both passes: 6 n P flops.
template <typename T>
class DensePass final : public NetworkPass {
 public:
  /// The arguments are those of the network, which outlives this.
  DensePass(const Activation& activation, const std::vector<LayerEntries>& layers, const Vector& theta);

  const Matrix& forward(ConstBlock X) override;
  Vector pull_back(ConstBlock U) override;

 private:
  using Panel = Eigen::MatrixX<T>;
  struct Group {
    Index begin = 0, rows = 0;
    std::vector<Panel> inputs;  // A_l, w_in x rows
    std::vector<Panel> slopes;  // phi'(Z_l) of the hidden layers, then D_l
    Panel last;                 // Z of the last layer, K x rows
    Eigen::VectorX<T> gradient;
  };

  void resize(Index n);
  /// Of a forward pass: half of a reverse one.
  double flops() const {
    return 2.0 * static_cast<double>(output_.rows()) * static_cast<double>(theta_.size());
  }
  void forward(ConstBlock X, Group& group);
  void reverse(ConstBlock U, Group& group);

  const Activation& activation_;
  const std::vector<LayerEntries>& layers_;
  const Vector& theta_;
  std::vector<Panel> weights_;              // at this precision
  std::vector<Eigen::VectorX<T>> offsets_;  // bs b, or empty
  std::vector<Group> groups_;
  Matrix output_;
};

/// f = (f_1 - f_2) / sqrt(2) of two networks with equal shapes.
std::unique_ptr<TrainableNetwork> make_paired(std::unique_ptr<TrainableNetwork> first,
                                              std::unique_ptr<TrainableNetwork> second);

}  // namespace gradflow
