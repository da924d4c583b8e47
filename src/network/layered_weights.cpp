#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/network/layered_network.h"
#include "network/weight_arrays.h"

namespace gradflow {
namespace {

using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

std::string shape_text(const std::vector<Index>& shape) {
  return fmt::format("({})", fmt::join(shape, ", "));
}

/// What stands before all names of the file: the first prefix with which every name is there, or none.
std::string find_prefix(const std::map<std::string, Array>& arrays, const std::vector<std::string>& names) {
  for (const auto& [name, array] : arrays) {
    if (!name.ends_with(names.front())) continue;
    const std::string prefix = name.substr(0, name.size() - names.front().size());
    const auto is_there = [&](const std::string& wanted) { return arrays.contains(prefix + wanted); };
    if (std::ranges::all_of(names, is_there)) return prefix;
  }
  return {};
}

Array take(std::map<std::string, Array>& arrays, const std::string& path, const std::string& name,
           const std::vector<Index>& shape) {
  const auto found = arrays.find(name);
  if (found == arrays.end())
    throw InputError(
        fmt::format("weights '{}': array '{}' of shape {} is missing", path, name, shape_text(shape)));
  Array array = std::move(found->second);
  arrays.erase(found);
  if (array.shape != shape)
    throw InputError(fmt::format("weights '{}': array '{}' has shape {}: must be {}", path, name,
                                 shape_text(array.shape), shape_text(shape)));
  require_finite(path, name, array);
  return array;
}

}  // namespace

LayeredNetwork LayeredNetwork::from_file(const std::string& path, const LayeredArchitecture& architecture,
                                         Index inputs) {
  const LayeredNetwork shapes = initialise(architecture, inputs, 0);
  std::map<std::string, Array> arrays = read_weight_arrays(path);
  std::vector<std::string> names;
  for (const auto& [name, array] : shapes.state_dict()) names.push_back(name);
  const std::string prefix = find_prefix(arrays, names);
  Parameters parameters;
  for (Index l = 0; l < shapes.layers(); ++l) {
    const std::string name = prefix + shapes.state_name(l);
    const Matrix& W = shapes.parameters().weights[static_cast<std::size_t>(l)];
    const Array weight = take(arrays, path, name + ".weight", shapes.weight_shape(l));
    parameters.weights.emplace_back(Eigen::Map<const RowMajor>(weight.values.data(), W.rows(), W.cols()));
    if (architecture.bias)
      parameters.biases.push_back(take(arrays, path, name + ".bias", {W.rows()}).as_vector(name));
  }
  if (!arrays.empty())
    throw InputError(fmt::format("weights '{}': array '{}' belongs to no layer of '{}'", path,
                                 arrays.begin()->first, shapes.text()));
  return {shapes.architecture(), std::move(parameters)};
}

std::map<std::string, Array> LayeredNetwork::state_dict() const {
  std::map<std::string, Array> arrays;
  for (Index l = 0; l < layers(); ++l) {
    const Matrix& W = parameters_.weights[static_cast<std::size_t>(l)];
    Array weight{weight_shape(l), std::vector<double>(static_cast<std::size_t>(W.size()))};
    Eigen::Map<RowMajor>(weight.values.data(), W.rows(), W.cols()) = W;
    arrays[state_name(l) + ".weight"] = std::move(weight);
    if (parameters_.biases.empty()) continue;
    const Vector& b = parameters_.biases[static_cast<std::size_t>(l)];
    arrays[state_name(l) + ".bias"] = {{b.size()}, {b.begin(), b.end()}};
  }
  return arrays;
}

}  // namespace gradflow
