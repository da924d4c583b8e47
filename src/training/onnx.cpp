#include <bit>
#include <cmath>
#include <cstdint>
#include <string_view>

#include "gradflow/base/atomic_file.h"
#include "gradflow/base/error.h"
#include "gradflow/training/export.h"

// Protobuf: a message is a sequence of fields, each a key (number * 8 + wire type) and a value; wire type 0
// is a varint, 2 a length and that many bytes, 5 four bytes, least significant first. Field numbers below are
// those of onnx.proto3.

namespace gradflow {
namespace {

constexpr int float_type = 1;  // TensorProto.FLOAT
constexpr int ir_version = 8, opset = 13;

class Message {
 public:
  Message& varint(int field, std::uint64_t value) {
    key(field, 0);
    raw_varint(value);
    return *this;
  }
  Message& bytes(int field, std::string_view value) {
    key(field, 2);
    raw_varint(value.size());
    text_ += value;
    return *this;
  }
  Message& message(int field, const Message& value) { return bytes(field, value.text_); }
  Message& real(int field, float value) {
    key(field, 5);
    append(value);
    return *this;
  }
  const std::string& text() const noexcept { return text_; }

  void append(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    for (unsigned shift = 0; shift < 32; shift += 8) text_ += static_cast<char>((bits >> shift) & 0xFFU);
  }

 private:
  void key(int field, unsigned wire) { raw_varint(static_cast<std::uint64_t>(field) << 3U | wire); }
  void raw_varint(std::uint64_t value) {
    for (; value >= 0x80U; value >>= 7U) text_ += static_cast<char>((value & 0x7FU) | 0x80U);
    text_ += static_cast<char>(value);
  }

  std::string text_;
};

/// A GraphProto that grows node by node; each node has one output.
class Graph {
 public:
  void constant(const std::string& name, const std::vector<Index>& shape, const std::vector<double>& values) {
    Message tensor, raw;
    for (const Index size : shape) tensor.varint(1, static_cast<std::uint64_t>(size));
    for (const double value : values) raw.append(static_cast<float>(value));
    tensor.varint(2, float_type).bytes(8, name).bytes(9, raw.text());
    graph_.message(5, tensor);
  }

  std::string node(const char* kind, const std::vector<std::string>& inputs, const std::string& output,
                   const Message& attribute = {}) {
    Message node;
    for (const std::string& input : inputs) node.bytes(1, input);
    node.bytes(2, output).bytes(3, output).bytes(4, kind);
    if (!attribute.text().empty()) node.message(5, attribute);
    graph_.message(1, node);
    return output;
  }

  void interface(int field, const std::string& name, Index columns) {
    Message rows, width, shape, tensor, type, value;
    rows.bytes(2, "rows");
    width.varint(1, static_cast<std::uint64_t>(columns));
    shape.message(1, rows).message(1, width);
    tensor.varint(1, float_type).message(2, shape);
    type.message(1, tensor);
    graph_.message(field, value.bytes(1, name).message(2, type));
  }

  Message finish() { return graph_.bytes(2, "gradflow"); }

 private:
  Message graph_;
};

std::string activated(Graph& graph, const Activation& activation, const std::string& z) {
  const std::string a = z + "_a";
  switch (activation.kind) {
    case ActivationKind::relu: return graph.node("Relu", {z}, a);
    case ActivationKind::leaky_relu: {
      Message slope;
      slope.bytes(1, "alpha").real(2, static_cast<float>(activation.slope)).varint(20, 1);
      return graph.node("LeakyRelu", {z}, a, slope);
    }
    case ActivationKind::abs: return graph.node("Abs", {z}, a);
    case ActivationKind::erf: return graph.node("Erf", {z}, a);
    case ActivationKind::tanh: return graph.node("Tanh", {z}, a);
    case ActivationKind::sin: return graph.node("Sin", {z}, a);
    case ActivationKind::cos: return graph.node("Cos", {z}, a);
    case ActivationKind::identity: return graph.node("Identity", {z}, a);
    case ActivationKind::gelu: break;
  }
  graph.node("Mul", {z, "half_root"}, z + "_scaled");
  graph.node("Erf", {z + "_scaled"}, z + "_erf");
  graph.node("Add", {z + "_erf", "one"}, z + "_phi");
  graph.node("Mul", {z, z + "_phi"}, z + "_twice");
  return graph.node("Mul", {z + "_twice", "half"}, a);
}

}  // namespace

void write_onnx(const std::string& path, const DenseNetwork& network,
                const std::map<std::string, std::string>& metadata) {
  if (network.architecture().parameterization != Parameterization::standard || !network.architecture().bias)
    throw InputError("an ONNX file is of a network of parameterization standard with biases");
  write_onnx(path, network.architecture().activation, network.parameters(), "response", metadata);
}

void write_onnx(const std::string& path, const Activation& activation, const Parameters& parameters,
                const std::string& output, const std::map<std::string, std::string>& metadata) {
  Graph graph;
  if (activation.kind == ActivationKind::gelu) {
    graph.constant("half_root", {}, {std::sqrt(0.5)});
    graph.constant("one", {}, {1.0});
    graph.constant("half", {}, {0.5});
  }
  std::string a = "features";
  for (std::size_t l = 0; l < parameters.weights.size(); ++l) {
    const Matrix W = parameters.weights[l].transpose();  // its columns are the rows of W
    const Vector& b = parameters.biases[l];
    const std::string weight = fmt::format("{}.weight", 2 * l), bias = fmt::format("{}.bias", 2 * l);
    graph.constant(weight, {W.cols(), W.rows()}, std::vector<double>(W.data(), W.data() + W.size()));
    graph.constant(bias, {b.size()}, std::vector<double>(b.begin(), b.end()));
    Message transposed;
    transposed.bytes(1, "transB").varint(3, 1).varint(20, 2);
    const bool last = l + 1 == parameters.weights.size();
    const std::string z =
        graph.node("Gemm", {a, weight, bias}, last ? output : fmt::format("z{}", l), transposed);
    if (!last) a = activated(graph, activation, z);
  }
  graph.interface(11, "features", parameters.weights.front().cols());
  graph.interface(12, output, parameters.weights.back().rows());
  Message version, model;
  version.bytes(1, "").varint(2, opset);
  model.varint(1, ir_version).bytes(2, "gradflow").message(7, graph.finish()).message(8, version);
  for (const auto& [name, value] : metadata) model.message(14, Message().bytes(1, name).bytes(2, value));
  write_file_atomically(path, model.text());
}

}  // namespace gradflow
