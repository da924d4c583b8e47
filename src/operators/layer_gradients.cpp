#include "operators/layer_gradients.h"

#include "gradflow/base/linear_algebra.h"

namespace gradflow {
namespace {

/// use(i, G, g): example i's gradient in W / weight_scale (w_out x w_in) and in b / bias_scale.
template <typename Use>
void for_examples(const LayerSweep& layer, Index n, const Use& use) {
  using Places = Eigen::Map<const Matrix, 0, Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>>;
  const auto& [A, D] = layer;
  const Index places = n > 0 ? D.rows() / n : 0;
  for (Index i = 0; i < n; ++i) {
    const Matrix a = Places(A.data() + i, places, A.cols(), {A.rows(), n});
    const Matrix d = Places(D.data() + i, places, D.cols(), {D.rows(), n});
    use(i, multiply(d, Transpose::yes, a, Transpose::no), Vector(d.colwise().sum()));
  }
}

}  // namespace

Matrix layer_gradients(const LayerSweep& layer, Index n, double weight_scale, double bias_scale) {
  const Index outputs = layer.gradients.cols(), weights = layer.inputs.cols() * outputs;
  Matrix G(n, weights + (bias_scale != 0.0 ? outputs : 0));
  for_examples(layer, n, [&](Index i, const Matrix& of_weights, const Vector& of_biases) {
    G.row(i).head(weights) = weight_scale * of_weights.reshaped().transpose();
    if (bias_scale != 0.0) G.row(i).tail(outputs) = bias_scale * of_biases.transpose();
  });
  return G;
}

Vector squared_layer_gradients(const LayerSweep& layer, Index n, double weight_scale, double bias_scale) {
  const auto& [A, D] = layer;
  const double weight = weight_scale * weight_scale, bias = bias_scale * bias_scale;
  if (D.rows() == n)
    return (D.rowwise().squaredNorm().array() * (weight * A.rowwise().squaredNorm().array() + bias)).matrix();
  Vector squares(n);
  for_examples(layer, n, [&](Index i, const Matrix& of_weights, const Vector& of_biases) {
    squares[i] = weight * of_weights.squaredNorm() + bias * of_biases.squaredNorm();
  });
  return squares;
}

}  // namespace gradflow
