#include "gradflow/training/class_network.h"

#include <cmath>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/training/export.h"

namespace gradflow {
namespace {

Array tensor_of(const TensorFile& file, const std::string& name, const std::string& source) {
  const auto found = file.tensors.find(name);
  if (found == file.tensors.end())
    throw InputError(fmt::format("{}: damaged gradflow model: tensor '{}' is missing", source, name));
  for (const double value : found->second.values)
    if (!std::isfinite(value))
      throw InputError(fmt::format("{}: damaged gradflow model: tensor '{}' is not finite", source, name));
  return found->second;
}

}  // namespace

Matrix ClassNetwork::scores(ConstBlock X) const {
  require(X.cols() == inputs(), "columns of the features", X.cols(),
          fmt::format("must be {}, the network's inputs", inputs()));
  const auto network = make_trainable(architecture, inputs(), outputs(), 1);
  network->set_parameters(parameters.flatten());
  return network->output(X);
}

ClassNetwork class_network(const TrainableNetwork& network, const Vector& center, const Vector& scale,
                           const Vector& intercept) {
  const Index K = network.outputs();
  require(intercept.size() == K, "number of intercepts", intercept.size(), "must be the network's outputs");
  ClassNetwork result;
  Matrix W;
  Vector b(K);
  for (Index k = 0; k < K; ++k) {
    const DenseNetwork one = in_raw_units(network.dense_output(k), center, scale, 0.0, 1.0, intercept(k));
    const Parameters& entries = one.parameters();
    if (k == 0) {
      result.architecture = one.architecture();
      result.parameters = entries;
      W.resize(K, entries.weights.back().cols());
    }
    W.row(k) = entries.weights.back();
    b(k) = entries.biases.back()(0);
  }
  result.parameters.weights.back() = std::move(W);
  result.parameters.biases.back() = std::move(b);
  return result;
}

ClassNetwork class_network_from(const TensorFile& file, const Architecture& architecture,
                                const std::string& source) {
  ClassNetwork result{.architecture = architecture, .parameters = {}};
  for (std::size_t l = 0; l <= architecture.widths.size(); ++l) {
    const std::string weight = fmt::format("{}.weight", 2 * l), bias = fmt::format("{}.bias", 2 * l);
    const Array W = tensor_of(file, weight, source), b = tensor_of(file, bias, source);
    const bool last = l == architecture.widths.size();
    const Index width = last ? b.size() : architecture.widths[l];
    const bool fits = W.shape.size() == 2 && W.shape[0] == width && W.size() > 0 && b.size() == width &&
                      (l == 0 || W.shape[1] == result.parameters.weights.back().rows());
    if (!fits)
      throw InputError(fmt::format("{}: damaged gradflow model: tensors '{}' and '{}' do not fit the network",
                                   source, weight, bias));
    result.parameters.weights.push_back(W.as_matrix(weight));
    result.parameters.biases.push_back(b.as_vector(bias));
  }
  return result;
}

}  // namespace gradflow
