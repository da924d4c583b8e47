#include "gradflow/training/export.h"

#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/data/safetensors.h"
#include "training/raw_units.h"

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
  check_input_units(network, input_center, input_scale);
  Architecture architecture = network.architecture();
  architecture.parameterization = Parameterization::standard;
  architecture.bias = true;
  Parameters parameters = standard_entries(network);
  fold_input_units(input_center, input_scale, parameters);
  fold_output_units(output_center, output_scale, Vector::Constant(1, intercept), parameters);
  return DenseNetwork(architecture, std::move(parameters));
}

void write_state_dict(const std::string& path, const DenseNetwork& network,
                      const std::map<std::string, std::string>& metadata) {
  if (network.architecture().parameterization != Parameterization::standard)
    throw InputError(
        "a PyTorch module has no scales of its own: the network must be of parameterization standard");
  const Parameters& parameters = network.parameters();
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
