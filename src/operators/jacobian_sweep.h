#pragma once

#include <vector>

#include "gradflow/network/dense_network.h"
#include "operators/jacobian_kernels.h"

namespace gradflow {

/// What a sweep over a batch reads and leaves behind: DenseNetwork::Sweep with examples as columns, and with
/// biases a last row of bias_scale() in every A_l, so that a bias is one more column of the weights.
template <typename T>
struct BatchSweep {
  using View = Eigen::Map<MatrixOf<T>>;
  std::vector<View> inputs;     ///< A_l: (w_in + bias) x columns, l = 0 ... last
  std::vector<View> gradients;  ///< D_l: w_out x columns, l = 0 ... last - 1; D_last would be ones
};

/// A dense network with its weights at precision T, as layers z_l = [ws_l W_l, b_l] [a_l; bs].
template <typename T>
class BatchNetwork {
 public:
  struct Layer {
    MatrixOf<T> weights;  ///< [ws W, b]: w_out x (w_in + bias)
    double weight_scale;  ///< ws
    Index position;       ///< of the layer's first entry in Parameters::flatten()
    Index inputs() const noexcept { return weights.cols(); }
    Index outputs() const noexcept { return weights.rows(); }
  };

  explicit BatchNetwork(const DenseNetwork& network);

  const std::vector<Layer>& layers() const noexcept { return layers_; }
  std::size_t last() const noexcept { return layers_.size() - 1; }
  bool bias() const noexcept { return bias_; }
  Index parameters() const noexcept { return parameters_; }
  Index widest() const noexcept { return widest_; }  ///< of the hidden layers; 0 without

  /// A_0 <- [X'; bs], X is columns x inputs.
  void load(ConstBlock X, Panel<T> A0) const;
  /// From A_0 everything else, and f. `scratch` has at least widest() rows and as many columns.
  void sweep(BatchSweep<T>& batch, Panel<T> scratch, Eigen::Ref<Vector> output) const;
  /// J J' at each example: sum_l |d_l|^2 (ws_l^2 |a_l|^2 + bs^2).
  void squared_norms(const BatchSweep<T>& batch, Eigen::Ref<Vector> norms) const;

  /// G <- keep G + J_batch' v without the factors ws_l; G is in the order of Parameters::flatten().
  void pull(const BatchSweep<T>& batch, const T* v, bool keep, Panel<T> scratch, T* G) const;
  /// y_i <- scale (J_batch u)_i, with the factors ws_l in U.
  void push(const BatchSweep<T>& batch, const T* U, double scale, Panel<T> scratch,
            Eigen::Ref<Vector> y) const;
  /// The factors ws_l, for pull and push.
  void scale_weights(Eigen::Ref<Vector> parameters) const;

 private:
  Activation activation_;
  bool bias_;
  double bias_scale_;
  Index parameters_ = 0, widest_ = 0;
  std::vector<Layer> layers_;
};

/// Storage of the sweeps over `columns` examples.
template <typename T>
class SweepStore {
 public:
  SweepStore() = default;
  SweepStore(const BatchNetwork<T>& network, Index columns);
  bool empty() const noexcept { return inputs_.empty(); }
  BatchSweep<T> batch(Index begin, Index columns);

 private:
  std::vector<MatrixOf<T>> inputs_, gradients_;
};

}  // namespace gradflow
