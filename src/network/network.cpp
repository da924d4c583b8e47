#include "gradflow/network/network.h"

#include "gradflow/base/error.h"

namespace gradflow {

Index Parameters::count() const noexcept {
  Index count = 0;
  for (const Matrix& W : weights) count += W.size();
  for (const Vector& b : biases) count += b.size();
  return count;
}

Vector Parameters::flatten() const {
  Vector flat(count());
  Index position = 0;
  for (std::size_t l = 0; l < weights.size(); ++l) {
    flat.segment(position, weights[l].size()) = weights[l].reshaped();
    position += weights[l].size();
    if (biases.empty()) continue;
    flat.segment(position, biases[l].size()) = biases[l];
    position += biases[l].size();
  }
  return flat;
}

Parameters Parameters::unflatten(ConstVector flat) const {
  require(flat.size() == count(), "number of parameters", flat.size(), fmt::format("must be {}", count()));
  Parameters parameters;
  Index position = 0;
  for (std::size_t l = 0; l < weights.size(); ++l) {
    const Matrix& W = weights[l];
    parameters.weights.emplace_back(flat.segment(position, W.size()).reshaped(W.rows(), W.cols()));
    position += W.size();
    if (biases.empty()) continue;
    parameters.biases.emplace_back(flat.segment(position, biases[l].size()));
    position += biases[l].size();
  }
  return parameters;
}

Matrix Network::jacobian(ConstBlock X) const {
  const Sweep pass = sweep(X);
  const Index n = X.rows();
  Matrix J(n, parameters().count());
  Index column = 0;
  const auto sum_positions = [&](const Matrix& rows) {
    Vector sum = rows.topRows(n);
    for (Index begin = n; begin < rows.rows(); begin += n) sum += rows.middleRows(begin, n);
    return sum;
  };
  for (Index l = 0; l < layers(); ++l) {
    const auto& [A, D] = pass.layers[static_cast<std::size_t>(l)];
    for (Index in = 0; in < A.cols(); ++in)
      for (Index out = 0; out < D.cols(); ++out)
        J.col(column++) = weight_scale(l) * sum_positions(D.col(out).cwiseProduct(A.col(in)));
    for (Index out = 0; !parameters().biases.empty() && out < D.cols(); ++out)
      J.col(column++) = bias_scale() * sum_positions(D.col(out));
  }
  return J;
}

}  // namespace gradflow
