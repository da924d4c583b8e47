#include "training/raw_units.h"

#include "gradflow/base/error.h"

namespace gradflow {

void check_input_units(const Network& network, const Vector& center, const Vector& scale) {
  require(center.size() == network.inputs(), "centers of the inputs", center.size(),
          "must be as many as the network's inputs");
  require(scale.size() == network.inputs(), "scales of the inputs", scale.size(),
          "must be as many as the network's inputs");
}

Parameters standard_entries(const Network& network) {
  const Parameters& own = network.parameters();
  Parameters entries;
  for (Index l = 0; l < network.layers(); ++l) {
    const auto at = static_cast<std::size_t>(l);
    entries.weights.emplace_back(network.weight_scale(l) * own.weights[at]);
    if (own.biases.empty())
      entries.biases.emplace_back(Vector::Zero(own.weights[at].rows()));
    else
      entries.biases.emplace_back(network.bias_scale() * own.biases[at]);
  }
  return entries;
}

void fold_input_units(const Vector& center, const Vector& scale, Parameters& parameters) {
  Matrix& W = parameters.weights.front();
  W = (W.array().rowwise() / scale.transpose().array()).eval();
  parameters.biases.front() -= W * center;
}

void fold_output_units(double center, double scale, const Vector& intercept, Parameters& parameters) {
  parameters.weights.back() *= scale;
  Vector& b = parameters.biases.back();
  b = (scale * (b + intercept).array() + center).eval();
}

}  // namespace gradflow
