#include "operators/jacobian_sweep.h"

#include <algorithm>
#include <utility>

namespace gradflow {

template <typename T>
BatchNetwork<T>::BatchNetwork(const DenseNetwork& network)
    : activation_(network.architecture().activation),
      bias_(network.architecture().bias),
      bias_scale_(network.bias_scale()) {
  const Parameters& source = network.parameters();
  for (std::size_t l = 0; l < source.weights.size(); ++l) {
    const Matrix& W = source.weights[l];
    Layer layer{MatrixOf<T>(W.rows(), W.cols() + (bias_ ? 1 : 0)),
                network.weight_scale(static_cast<Index>(l)), parameters_};
    layer.weights.leftCols(W.cols()) = (layer.weight_scale * W).template cast<T>();
    if (bias_) layer.weights.col(W.cols()) = source.biases[l].template cast<T>();
    parameters_ += layer.weights.size();
    if (l + 1 < source.weights.size()) widest_ = std::max(widest_, W.rows());
    layers_.push_back(std::move(layer));
  }
}

template <typename T>
void BatchNetwork<T>::load(ConstBlock X, Panel<T> A0) const {
  constexpr Index tile = 32;  // features at a time, so that the lines of X stay in cache while examples go by
  for (Index j = 0; j < X.cols(); j += tile) {
    const Index width = std::min(tile, X.cols() - j);
    A0.middleRows(j, width) = X.middleCols(j, width).transpose().template cast<T>();
  }
  if (bias_) A0.bottomRows(1).setConstant(static_cast<T>(bias_scale_));
}

template <typename T>
void BatchNetwork<T>::sweep(BatchSweep<T>& batch, Panel<T> scratch, Eigen::Ref<Vector> output) const {
  const Index columns = output.size();
  for (std::size_t l = 0; l < last(); ++l) {
    // z_l = [ws W, b] [a_l; bs]. D_l first holds phi'(z_l); the way back multiplies what comes from above
    // into it.
    auto Z = batch.inputs[l + 1].topRows(layers_[l].outputs());
    multiply(layers_[l].weights, Transpose::no, batch.inputs[l], Transpose::no, Z);
    activate_serially(activation_, Z, batch.gradients[l]);
    if (bias_) batch.inputs[l + 1].bottomRows(1).setConstant(static_cast<T>(bias_scale_));
  }
  const T* const top = layers_[last()].weights.data();
  for (Index i = 0; i < columns; ++i)
    output[i] = dot(top, batch.inputs[last()].col(i).data(), layers_[last()].inputs());
  for (std::size_t l = last(); l-- > 0;) {
    auto& D = batch.gradients[l];
    if (l + 1 == last()) {
      const Eigen::Map<const Eigen::VectorX<T>> from_above(top, D.rows());
      for (Index i = 0; i < columns; ++i) D.col(i).array() *= from_above.array();
    } else {
      auto from_above = scratch.topLeftCorner(D.rows(), columns);
      multiply(layers_[l + 1].weights.leftCols(D.rows()), Transpose::yes, batch.gradients[l + 1],
               Transpose::no, from_above);
      D.array() *= from_above.array();
    }
  }
}

template <typename T>
void BatchNetwork<T>::squared_norms(const BatchSweep<T>& batch, Eigen::Ref<Vector> norms) const {
  for (Index i = 0; i < norms.size(); ++i) {
    norms[i] = 0.0;
    for (std::size_t l = 0; l <= last(); ++l) {
      const T* const a = batch.inputs[l].col(i).data();
      const double scale = layers_[l].weight_scale;
      const double of_inputs = scale * scale * dot(a, a, layers_[l].inputs() - (bias_ ? 1 : 0));
      const T* const d = l < last() ? batch.gradients[l].col(i).data() : nullptr;
      const double of_gradients = d != nullptr ? dot(d, d, layers_[l].outputs()) : 1.0;
      norms[i] += of_gradients * (of_inputs + bias_scale_ * bias_scale_);
    }
  }
}

template <typename T>
void BatchNetwork<T>::pull(const BatchSweep<T>& batch, const T* v, bool keep, Panel<T> scratch, T* G) const {
  for (std::size_t l = 0; l < last(); ++l) {
    // G_l = D diag(v) A', the factor v to the narrower of the two
    const auto &A = batch.inputs[l], &D = batch.gradients[l];
    const bool scale_gradients = D.rows() <= A.rows();
    const auto& narrow = scale_gradients ? D : A;
    auto scaled = scratch.topLeftCorner(narrow.rows(), narrow.cols());
    for (Index i = 0; i < narrow.cols(); ++i) scaled.col(i) = v[i] * narrow.col(i);
    const ConstPanel<T> left = scale_gradients ? ConstPanel<T>(scaled) : ConstPanel<T>(D);
    const ConstPanel<T> right = scale_gradients ? ConstPanel<T>(A) : ConstPanel<T>(scaled);
    Eigen::Map<MatrixOf<T>> result(G + layers_[l].position, D.rows(), A.rows());
    multiply(left, Transpose::no, right, Transpose::yes, result, 1.0, keep ? 1.0 : 0.0);
  }
  const auto& top = batch.inputs[last()];
  weighted_sum(top.data(), top.rows(), top.cols(), v, keep, G + layers_[last()].position);
}

template <typename T>
void BatchNetwork<T>::push(const BatchSweep<T>& batch, const T* U, double scale, Panel<T> scratch,
                           Eigen::Ref<Vector> y) const {
  const T* const top = U + layers_[last()].position;
  for (Index i = 0; i < y.size(); ++i)
    y[i] = dot(top, batch.inputs[last()].col(i).data(), layers_[last()].inputs());
  for (std::size_t l = 0; l < last(); ++l) {
    // d_i' U_l a_i as the dot of d_i with U_l a_i, or of U_l' d_i with a_i, whichever is shorter
    const auto &A = batch.inputs[l], &D = batch.gradients[l];
    const Eigen::Map<const MatrixOf<T>> U_l(U + layers_[l].position, D.rows(), A.rows());
    const bool forward = D.rows() <= A.rows();
    const auto& shorter = forward ? D : A;
    auto product = scratch.topLeftCorner(shorter.rows(), y.size());
    multiply(U_l, forward ? Transpose::no : Transpose::yes, forward ? A : D, Transpose::no, product);
    for (Index i = 0; i < y.size(); ++i)
      y[i] += dot<T>(shorter.col(i).data(), product.col(i).data(), shorter.rows());
  }
  y *= scale;
}

template <typename T>
void BatchNetwork<T>::scale_weights(Eigen::Ref<Vector> parameters) const {
  for (const Layer& layer : layers_)
    if (layer.weight_scale != 1.0)
      parameters.segment(layer.position, layer.outputs() * (layer.inputs() - (bias_ ? 1 : 0))) *=
          layer.weight_scale;
}

template <typename T>
SweepStore<T>::SweepStore(const BatchNetwork<T>& network, Index columns) {
  for (const auto& layer : network.layers()) {
    inputs_.emplace_back(layer.inputs(), columns);
    if (inputs_.size() <= network.last()) gradients_.emplace_back(layer.outputs(), columns);
  }
}

template <typename T>
BatchSweep<T> SweepStore<T>::batch(Index begin, Index columns) {
  const auto view = [&](MatrixOf<T>& all) {
    return typename BatchSweep<T>::View(all.col(begin).data(), all.rows(), columns);
  };
  BatchSweep<T> batch;
  for (MatrixOf<T>& A : inputs_) batch.inputs.push_back(view(A));
  for (MatrixOf<T>& D : gradients_) batch.gradients.push_back(view(D));
  return batch;
}

template class BatchNetwork<float>;
template class BatchNetwork<double>;
template class SweepStore<float>;
template class SweepStore<double>;

}  // namespace gradflow
