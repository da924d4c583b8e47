#include "gradflow/network/layered_architecture.h"

#include <cmath>

#include "gradflow/base/error.h"
#include "network/layer_kinds.h"

namespace gradflow {
namespace {

constexpr Index most_width = 1'000'000, most_size = 10'000, most_entries = 100'000'000;

[[noreturn]] void misfit(const Layer& layer, const TensorShape& input, std::string_view reason) {
  throw InputError(
      fmt::format("layer '{}' gets the shape {}: {}", to_string(layer), to_string(input), reason));
}

Index places(const Layer& layer, const TensorShape& input, Index length) {
  const Index padded = length + 2 * layer.padding;
  if (padded < layer.size)
    misfit(layer, input, fmt::format("it needs a length of at least {}", layer.size - 2 * layer.padding));
  return (padded - layer.size) / layer.stride + 1;
}

TensorShape convolved(const Layer& layer, const TensorShape& input) {
  const bool two = layer.kind == LayerKind::conv2d;
  if (input.rank != (two ? 3 : 2))
    misfit(layer, input,
           two ? "it takes channels x height x width, given by input:CxHxW"
               : "it takes channels x length, given by input:CxL");
  TensorShape output{layer.width, 1, places(layer, input, input.width), input.rank};
  if (two) output.height = places(layer, input, input.height);
  if (output.size() > most_entries)
    misfit(layer, input, fmt::format("it gives {}, more than {} entries", to_string(output), most_entries));
  return output;
}

void check_layers(const std::vector<Layer>& layers, Index& count) {
  for (const Layer& layer : layers) {
    require(++count <= most_layers, "number of layers", count, fmt::format("must be <= {}", most_layers));
    const std::string name = fmt::format("layer {}", count);
    const bool convolution = layer.kind == LayerKind::conv1d || layer.kind == LayerKind::conv2d;
    if (convolution || layer.kind == LayerKind::dense)
      require(layer.width >= 1 && layer.width <= most_width, name + " width", layer.width,
              fmt::format("must be from 1 to {}", most_width));
    if (convolution) {
      require(layer.size >= 1 && layer.size <= most_size, name + " size", layer.size,
              fmt::format("must be from 1 to {}", most_size));
      require(layer.stride >= 1 && layer.stride <= most_size, name + " stride", layer.stride,
              fmt::format("must be from 1 to {}", most_size));
      require(layer.padding >= 0 && layer.padding < layer.size, name + " padding", layer.padding,
              "must be from 0 to size - 1");
    }
    require(std::isfinite(layer.activation.slope), name + " leaky-relu slope", layer.activation.slope,
            "must be finite");
    require(layer.kind != LayerKind::residual || !layer.inner.empty(), name, "res()",
            "a residual block needs layers");
    check_layers(layer.inner, count);
  }
}

}  // namespace

std::string to_string(const TensorShape& shape) {
  if (shape.rank == 1) return fmt::format("{}", shape.channels);
  if (shape.rank == 2) return fmt::format("{}x{}", shape.channels, shape.width);
  return fmt::format("{}x{}x{}", shape.channels, shape.height, shape.width);
}

TensorShape output_shape(const Layer& layer, const TensorShape& input) {
  switch (layer.kind) {
    case LayerKind::dense:
      if (input.rank != 1) misfit(layer, input, "put flatten or avgpool between an array and a dense layer");
      return {.channels = layer.width};
    case LayerKind::conv1d:
    case LayerKind::conv2d: return convolved(layer, input);
    case LayerKind::flatten:
      if (input.rank == 1) misfit(layer, input, "only an array can be flattened");
      return {.channels = input.size()};
    case LayerKind::average_pool:
      if (input.rank == 1) misfit(layer, input, "only an array has places to average over");
      return {.channels = input.channels};
    case LayerKind::residual: {
      TensorShape shape = input;
      for (const Layer& inner : layer.inner) shape = output_shape(inner, shape);
      if (shape != input)
        misfit(layer, input,
               fmt::format("the layers of a residual block must keep it, and give {}", to_string(shape)));
      return input;
    }
    case LayerKind::activation:
    case LayerKind::layer_norm: break;
  }
  return input;
}

TensorShape LayeredArchitecture::input_shape(Index features) const {
  if (input.empty()) return {.channels = features};
  TensorShape shape{.channels = input.front(), .rank = static_cast<Index>(input.size())};
  if (input.size() > 1) shape.width = input.back();
  if (input.size() > 2) shape.height = input[1];
  if (shape.size() != features)
    throw InputError(fmt::format("the network takes an input of shape {}, and the data have {} features",
                                 to_string(shape), features));
  return shape;
}

void LayeredArchitecture::check(Index outputs) const {
  Index count = 0, entries = 1;
  check_layers(layers, count);
  require(input.size() <= 3, "dimensions of the input", input.size(), "must be <= 3");
  for (const Index extent : input) {
    require(extent >= 1 && extent <= most_entries / entries, "extent of the input", extent,
            fmt::format("must be >= 1, and their product at most {}", most_entries));
    entries *= extent;
  }
  const bool dense = !layers.empty() && layers.back().kind == LayerKind::dense;
  require(
      dense && (outputs == any_outputs || layers.back().width == outputs), "last layer",
      layers.empty() ? std::string("none") : to_string(layers.back()),
      outputs == any_outputs ? "must be dense:K with K outputs" : fmt::format("must be dense:{}", outputs));
  if (parameterization == Parameterization::ntk) {
    require(sw2 > 0.0 && std::isfinite(sw2), "network sw2", sw2, "must be > 0 and finite");
    require(sb2 >= 0.0 && std::isfinite(sb2), "network sb2", sb2, "must be >= 0 and finite");
  }
  if (input.empty()) return;
  TensorShape shape = input_shape(entries);
  for (const Layer& layer : layers) shape = output_shape(layer, shape);
}

LayeredArchitecture layered(const Architecture& architecture) {
  LayeredArchitecture result{.bias = architecture.bias,
                             .parameterization = architecture.parameterization,
                             .sw2 = architecture.sw2,
                             .sb2 = architecture.sb2};
  for (const Index width : architecture.widths) {
    result.layers.push_back({.kind = LayerKind::dense, .width = width});
    result.layers.push_back({.kind = LayerKind::activation, .activation = architecture.activation});
  }
  result.layers.push_back({.kind = LayerKind::dense, .width = 1});
  return result;
}

}  // namespace gradflow
