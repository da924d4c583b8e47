#include "gradflow/training/export.h"

#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/data/safetensors.h"

namespace gradflow {
namespace {

Array row_major(const Matrix& W) {
  Array array;
  array.shape = {W.rows(), W.cols()};
  array.values.reserve(static_cast<std::size_t>(W.size()));
  for (Index i = 0; i < W.rows(); ++i)
    for (Index j = 0; j < W.cols(); ++j) array.values.push_back(W(i, j));
  return array;
}

}  // namespace

DenseNetwork in_raw_units(const DenseNetwork& network, const Vector& input_center, const Vector& input_scale,
                          double output_center, double output_scale, double intercept) {
  require(input_center.size() == network.inputs(), "centers of the inputs", input_center.size(),
          "must be as many as the network's inputs");
  require(input_scale.size() == network.inputs(), "scales of the inputs", input_scale.size(),
          "must be as many as the network's inputs");
  Architecture architecture = network.architecture();
  architecture.parameterization = Parameterization::standard;
  architecture.bias = true;
  Parameters parameters;
  for (Index l = 0; l < network.layers(); ++l) {
    const auto at = static_cast<std::size_t>(l);
    Matrix W = network.weight_scale(l) * network.parameters().weights[at];
    Vector b = Vector::Zero(W.rows());
    if (network.architecture().bias) b = network.bias_scale() * network.parameters().biases[at];
    if (l == 0) {
      W = (W.array().rowwise() / input_scale.transpose().array()).eval();
      b -= W * input_center;
    }
    if (l + 1 == network.layers()) {
      W *= output_scale;
      b = (output_scale * (b.array() + intercept) + output_center).eval();
    }
    parameters.weights.push_back(std::move(W));
    parameters.biases.push_back(std::move(b));
  }
  return DenseNetwork(architecture, std::move(parameters));
}

void write_state_dict(const std::string& path, const DenseNetwork& network,
                      const std::map<std::string, std::string>& metadata) {
  if (network.architecture().parameterization != Parameterization::standard)
    throw InputError(
        "a PyTorch module has no scales of its own: the network must be of parameterization standard");
  write_state_dict(path, network.parameters(), metadata);
}

void write_state_dict(const std::string& path, const Parameters& parameters,
                      const std::map<std::string, std::string>& metadata) {
  TensorFile file;
  file.metadata = metadata;
  for (std::size_t l = 0; l < parameters.weights.size(); ++l) {
    file.tensors[fmt::format("{}.weight", 2 * l)] = row_major(parameters.weights[l]);
    if (parameters.biases.empty()) continue;
    const Vector& b = parameters.biases[l];
    file.tensors[fmt::format("{}.bias", 2 * l)] = {{b.size()}, std::vector<double>(b.begin(), b.end())};
  }
  write_safetensors(path, file);
}

}  // namespace gradflow
