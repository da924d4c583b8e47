#include "gradflow/base/atomic_file.h"
#include "gradflow/base/error.h"
#include "gradflow/training/export.h"
#include "training/onnx_graph.h"

namespace gradflow {

void write_onnx(const std::string& path, const DenseNetwork& network,
                const std::map<std::string, std::string>& metadata) {
  if (network.architecture().parameterization != Parameterization::standard || !network.architecture().bias)
    throw InputError("an ONNX file is of a network of parameterization standard with biases");
  const Parameters& parameters = network.parameters();
  onnx::Graph graph;
  std::string a = "features";
  for (std::size_t l = 0; l < parameters.weights.size(); ++l) {
    const Matrix W = parameters.weights[l].transpose();  // its columns are the rows of W
    const Vector& b = parameters.biases[l];
    const std::string weight = fmt::format("{}.weight", 2 * l), bias = fmt::format("{}.bias", 2 * l);
    graph.constant(weight, {W.cols(), W.rows()}, std::vector<double>(W.data(), W.data() + W.size()));
    graph.constant(bias, {b.size()}, std::vector<double>(b.begin(), b.end()));
    const bool last = l + 1 == parameters.weights.size();
    const std::string z = graph.node("Gemm", {a, weight, bias}, last ? "response" : fmt::format("z{}", l),
                                     {onnx::attribute("transB", Index{1})});
    if (!last) a = graph.activation(network.architecture().activation, z);
  }
  write_file_atomically(path, graph.model({network.inputs()}, "response", 1, metadata));
}

}  // namespace gradflow
