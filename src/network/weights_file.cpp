#include <cctype>
#include <charconv>
#include <fstream>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/data/array_file.h"
#include "gradflow/data/safetensors.h"
#include "gradflow/network/dense_network.h"
#include "network/weight_arrays.h"

namespace gradflow {
namespace {

constexpr std::string_view naming =
    "arrays must be named W0, b0, W1, b1, ... or 0.weight, 0.bias, 2.weight, ...";

struct LayerName {
  Index number;
  bool is_weight;
};

std::optional<Index> read_index(std::string_view digits) {
  Index number = 0;
  const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (digits.empty() || error != std::errc() || stop != digits.data() + digits.size() || number < 0)
    return {};
  return number;
}

/// The last run of digits in `text`: "encoder.3.linear" has 3, "fc12" has 12.
std::optional<Index> last_index(std::string_view text) {
  const auto is_digit = [](char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; };
  std::size_t end = text.size();
  while (end > 0 && !is_digit(text[end - 1])) --end;
  std::size_t begin = end;
  while (begin > 0 && is_digit(text[begin - 1])) --begin;
  return read_index(text.substr(begin, end - begin));
}

/// PREFIX.W3, PREFIX.b3, PREFIX.3.weight, PREFIX.fc3.bias
std::optional<LayerName> parse_name(std::string_view name) {
  for (const auto& [ending, is_weight] :
       {std::pair<std::string_view, bool>{".weight", true}, {".bias", false}})
    if (name.ends_with(ending))
      if (const auto number = last_index(name.substr(0, name.size() - ending.size())))
        return LayerName{*number, is_weight};
  const std::size_t dot = name.find_last_of("./");
  const std::string_view leaf = dot == std::string_view::npos ? name : name.substr(dot + 1);
  if (leaf.empty() || std::string_view("WwBb").find(leaf.front()) == std::string_view::npos) return {};
  const auto number = read_index(leaf.substr(1));
  if (!number) return {};
  return LayerName{*number, leaf.front() == 'W' || leaf.front() == 'w'};
}

std::string shape_text(const Array& array) { return fmt::format("({})", fmt::join(array.shape, ", ")); }

using NamedArray = std::pair<std::string, Array>;

struct FileLayer {
  std::optional<NamedArray> weight, bias;
};

std::map<Index, FileLayer> sort_layers(const std::string& path, std::map<std::string, Array> arrays) {
  if (arrays.empty()) throw InputError(fmt::format("weights '{}': the file has no arrays; {}", path, naming));
  std::map<Index, FileLayer> layers;
  for (auto& [name, array] : arrays) {
    const auto parsed = parse_name(name);
    if (!parsed)
      throw InputError(fmt::format("weights '{}': array '{}' belongs to no layer; {}", path, name, naming));
    auto& slot = parsed->is_weight ? layers[parsed->number].weight : layers[parsed->number].bias;
    if (slot)
      throw InputError(fmt::format("weights '{}': arrays '{}' and '{}' claim the same place; {}", path,
                                   slot->first, name, naming));
    slot.emplace(name, std::move(array));
  }
  return layers;
}

Matrix read_weight(const std::string& path, const NamedArray& named) {
  const auto& [name, array] = named;
  if (array.shape.size() != 2 || array.size() == 0)
    throw InputError(
        fmt::format("weights '{}': array '{}' has shape {}: must be (outputs, inputs) of a dense layer", path,
                    name, shape_text(array)));
  require_finite(path, name, array);
  return array.as_matrix(name);
}

Vector read_bias(const std::string& path, const NamedArray& named, Index outputs) {
  const auto& [name, array] = named;
  if (array.size() != outputs || array.shape.size() > 2)
    throw InputError(
        fmt::format("weights '{}': array '{}' has shape {}: must be ({}), the outputs of its layer", path,
                    name, shape_text(array), outputs));
  require_finite(path, name, array);
  return array.as_vector(name);
}

}  // namespace

std::map<std::string, Array> read_weight_arrays(const std::string& path) {
  char start[2] = {0, 0};
  const bool readable = static_cast<bool>(std::ifstream(path, std::ios::binary).read(start, 2));
  const bool is_zip = readable ? start[0] == 'P' && start[1] == 'K' : path.ends_with(".npz");
  return is_zip ? read_npz(path) : read_safetensors(path).tensors;
}

void require_finite(const std::string& path, const std::string& name, const Array& array) {
  for (const double value : array.values)
    if (!std::isfinite(value))
      throw InputError(fmt::format("weights '{}': array '{}' has the value {}: every entry must be finite",
                                   path, name, value));
}

DenseNetwork DenseNetwork::from_file(const std::string& path, const Architecture& settings) {
  const auto layers = sort_layers(path, read_weight_arrays(path));
  Architecture architecture = settings;
  architecture.widths.clear();
  architecture.bias = layers.begin()->second.bias.has_value();
  Parameters parameters;
  for (const auto& [number, layer] : layers) {
    if (!layer.weight)
      throw InputError(fmt::format("weights '{}': array '{}' has no weights beside it; {}", path,
                                   layer.bias->first, naming));
    const std::string& name = layer.weight->first;
    if (layer.bias.has_value() != architecture.bias)
      throw InputError(fmt::format(
          "weights '{}': '{}' {} a bias, unlike the first layer: all layers or none must have one", path,
          name, architecture.bias ? "lacks" : "has"));
    Matrix W = read_weight(path, *layer.weight);
    if (!parameters.weights.empty()) {
      const Index before = parameters.weights.back().rows();
      if (W.cols() != before)
        throw InputError(
            fmt::format("weights '{}': array '{}' has shape {}: the layer before it has {} outputs", path,
                        name, shape_text(layer.weight->second), before));
      architecture.widths.push_back(before);
    }
    if (architecture.bias) parameters.biases.push_back(read_bias(path, *layer.bias, W.rows()));
    parameters.weights.push_back(std::move(W));
  }
  if (parameters.weights.back().rows() != 1)
    throw InputError(fmt::format("weights '{}': array '{}' has shape {}: the last layer must have one output",
                                 path, layers.rbegin()->second.weight->first,
                                 shape_text(layers.rbegin()->second.weight->second)));
  if (!settings.widths.empty() && settings.widths != architecture.widths)
    throw InputError(fmt::format("weights '{}' are those of the network '{}': not of '{}'", path,
                                 to_string(architecture), to_string(settings)));
  return DenseNetwork(std::move(architecture), std::move(parameters));
}

}  // namespace gradflow
