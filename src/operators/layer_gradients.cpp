#include "operators/layer_gradients.h"

namespace gradflow {

Matrix layer_gradients(const LayerSweep& layer, Index n, double weight_scale, double bias_scale) {
  const auto& [A, D] = layer;
  const Index places = D.rows() / n, weights = A.cols() * D.cols();
  Matrix G = Matrix::Zero(n, weights + (bias_scale != 0.0 ? D.cols() : 0));
  for (Index p = 0; p < places; ++p)
    for (Index out = 0; out < D.cols(); ++out) {
      const auto d = D.col(out).segment(p * n, n).array();
      for (Index in = 0; in < A.cols(); ++in)
        G.col(in * D.cols() + out).array() += d * A.col(in).segment(p * n, n).array();
      if (bias_scale != 0.0) G.col(weights + out).array() += bias_scale * d;
    }
  if (weight_scale != 1.0) G.leftCols(weights) *= weight_scale;
  return G;
}

Vector squared_layer_gradients(const LayerSweep& layer, Index n, double weight_scale, double bias_scale) {
  const auto& [A, D] = layer;
  if (D.rows() > n) return layer_gradients(layer, n, weight_scale, bias_scale).rowwise().squaredNorm();
  return (D.rowwise().squaredNorm().array() *
          (weight_scale * weight_scale * A.rowwise().squaredNorm().array() + bias_scale * bias_scale))
      .matrix();
}

}  // namespace gradflow
