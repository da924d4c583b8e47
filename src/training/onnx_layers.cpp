#include <utility>

#include "gradflow/base/atomic_file.h"
#include "gradflow/base/error.h"
#include "gradflow/training/export.h"
#include "training/onnx_graph.h"

namespace gradflow {
namespace {

/// Nodes of a network of layers, one after another.
class LayerNodes {
 public:
  LayerNodes(const LayeredNetwork& network, const std::string& output) : network_(network), output_(output) {}

  std::string add(const std::vector<PlacedLayer>& layers, std::string a) {
    for (const PlacedLayer& placed : layers) a = add(placed, a);
    return a;
  }

  onnx::Graph graph{};

 private:
  std::string add(const PlacedLayer& placed, const std::string& a) {
    const Layer& layer = placed.layer;
    const std::string z = "z" + placed.name;
    switch (layer.kind) {
      case LayerKind::dense: {
        const bool last = placed.parameters + 1 == network_.layers();
        const auto [weight, bias] = weights_of(placed);
        return graph.node("Gemm", {a, weight, bias}, last ? output_ : z,
                          {onnx::attribute("transB", Index{1})});
      }
      case LayerKind::conv1d:
      case LayerKind::conv2d: {
        const std::size_t directions = layer.kind == LayerKind::conv1d ? 1 : 2;
        const auto [weight, bias] = weights_of(placed);
        const auto all = [](std::size_t count, Index value) { return std::vector<Index>(count, value); };
        return graph.node("Conv", {a, weight, bias}, z,
                          {onnx::attribute("kernel_shape", all(directions, layer.size)),
                           onnx::attribute("strides", all(directions, layer.stride)),
                           onnx::attribute("pads", all(2 * directions, layer.padding))});
      }
      case LayerKind::activation: return graph.activation(layer.activation, a);
      case LayerKind::residual: return graph.node("Add", {a, add(placed.inner, a)}, z);
      case LayerKind::layer_norm: return normalised(placed, a);
      case LayerKind::flatten: return graph.node("Flatten", {a}, z, {onnx::attribute("axis", Index{1})});
      case LayerKind::average_pool: break;
    }
    const std::vector<Index> places =
        placed.input.rank == 2 ? std::vector<Index>{2} : std::vector<Index>{2, 3};
    return graph.node("ReduceMean", {a}, z,
                      {onnx::attribute("axes", places), onnx::attribute("keepdims", Index{0})});
  }

  std::string normalised(const PlacedLayer& placed, const std::string& a) {
    const std::string z = "z" + placed.name;
    const auto mean = [&](const std::string& of, const std::string& name) {
      return graph.node(
          "ReduceMean", {of}, name,
          {onnx::attribute("axes", std::vector<Index>{1}), onnx::attribute("keepdims", Index{1})});
    };
    graph.node("Sub", {a, mean(a, z + "_mean")}, z + "_centered");
    graph.node("Mul", {z + "_centered", z + "_centered"}, z + "_square");
    const std::string variance = mean(z + "_square", z + "_variance");
    graph.node("Add", {variance, graph.number("epsilon", layer_norm_epsilon)}, z + "_raised");
    graph.node("Sqrt", {z + "_raised"}, z + "_sd");
    graph.node("Div", {z + "_centered", z + "_sd"}, z);
    if (placed.parameters < 0) return z;
    // (channels, 1, ...): the same at every place
    std::vector<Index> shape(static_cast<std::size_t>(placed.input.rank), 1);
    shape.front() = placed.input.channels;
    const auto [weight, bias] = weights_of(placed, shape);
    return graph.node("Add", {graph.node("Mul", {z, weight}, z + "_scaled"), bias}, z + "_shifted");
  }

  std::pair<std::string, std::string> weights_of(const PlacedLayer& placed) {
    return weights_of(placed, network_.weight_shape(placed.parameters));
  }

  // Names of the constants; a layer norm's bias has the shape of its weight.
  std::pair<std::string, std::string> weights_of(const PlacedLayer& placed, const std::vector<Index>& shape) {
    const auto l = static_cast<std::size_t>(placed.parameters);
    const Matrix W = network_.parameters().weights[l].transpose();  // its columns are the rows of W
    const Vector& b = network_.parameters().biases[l];
    const std::string weight = placed.name + ".weight", bias = placed.name + ".bias";
    const bool norm = placed.layer.kind == LayerKind::layer_norm;
    graph.constant(weight, shape, std::vector<double>(W.data(), W.data() + W.size()));
    graph.constant(bias, norm ? shape : std::vector<Index>{b.size()},
                   std::vector<double>(b.begin(), b.end()));
    return {weight, bias};
  }

  const LayeredNetwork& network_;
  const std::string& output_;
};

}  // namespace

void write_onnx(const std::string& path, const LayeredNetwork& network,
                const std::map<std::string, std::string>& metadata, const std::string& output) {
  if (network.architecture().parameterization != Parameterization::standard || !network.architecture().bias)
    throw InputError("an ONNX file is of a network of parameterization standard with biases");
  LayerNodes nodes(network, output);
  nodes.add(network.sequence(), "features");
  write_file_atomically(path,
                        nodes.graph.model(network.architecture().input, output, network.outputs(), metadata));
}

}  // namespace gradflow
