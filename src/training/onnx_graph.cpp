#include "training/onnx_graph.h"

#include <bit>
#include <cmath>

namespace gradflow::onnx {
namespace {

constexpr int float_type = 1;  // TensorProto.FLOAT
constexpr int ir_version = 8, opset = 13;

}  // namespace

Message& Message::varint(int field, std::uint64_t value) {
  key(field, 0);
  raw_varint(value);
  return *this;
}

Message& Message::bytes(int field, std::string_view value) {
  key(field, 2);
  raw_varint(value.size());
  text_ += value;
  return *this;
}

Message& Message::real(int field, float value) {
  key(field, 5);
  append(value);
  return *this;
}

void Message::append(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  for (unsigned shift = 0; shift < 32; shift += 8) text_ += static_cast<char>((bits >> shift) & 0xFFU);
}

void Message::raw_varint(std::uint64_t value) {
  for (; value >= 0x80U; value >>= 7U) text_ += static_cast<char>((value & 0x7FU) | 0x80U);
  text_ += static_cast<char>(value);
}

// AttributeProto: name 1, f 2, i 3, ints 8, type 20.
Message attribute(const char* name, float value) {
  return Message().bytes(1, name).real(2, value).varint(20, 1);
}

Message attribute(const char* name, Index value) {
  return Message().bytes(1, name).varint(3, static_cast<std::uint64_t>(value)).varint(20, 2);
}

Message attribute(const char* name, const std::vector<Index>& values) {
  Message message;
  message.bytes(1, name);
  for (const Index value : values) message.varint(8, static_cast<std::uint64_t>(value));
  return message.varint(20, 7);
}

void Graph::constant(const std::string& name, const std::vector<Index>& shape,
                     const std::vector<double>& values) {
  Message tensor, raw;
  for (const Index size : shape) tensor.varint(1, static_cast<std::uint64_t>(size));
  for (const double value : values) raw.append(static_cast<float>(value));
  tensor.varint(2, float_type).bytes(8, name).bytes(9, raw.text());
  graph_.message(5, tensor);
}

std::string Graph::number(const std::string& name, double value) {
  if (numbers_.emplace(name, value).second) constant(name, {}, {value});
  return name;
}

std::string Graph::node(const char* kind, const std::vector<std::string>& inputs, const std::string& output,
                        const std::vector<Message>& attributes) {
  Message node;
  for (const std::string& input : inputs) node.bytes(1, input);
  node.bytes(2, output).bytes(3, output).bytes(4, kind);
  for (const Message& each : attributes) node.message(5, each);
  graph_.message(1, node);
  return output;
}

std::string Graph::activation(const Activation& activation, const std::string& z) {
  const std::string a = z + "_a";
  switch (activation.kind) {
    case ActivationKind::relu: return node("Relu", {z}, a);
    case ActivationKind::leaky_relu:
      return node("LeakyRelu", {z}, a, {attribute("alpha", static_cast<float>(activation.slope))});
    case ActivationKind::abs: return node("Abs", {z}, a);
    case ActivationKind::erf: return node("Erf", {z}, a);
    case ActivationKind::tanh: return node("Tanh", {z}, a);
    case ActivationKind::sin: return node("Sin", {z}, a);
    case ActivationKind::cos: return node("Cos", {z}, a);
    case ActivationKind::identity: return node("Identity", {z}, a);
    case ActivationKind::gelu: break;
  }
  node("Mul", {z, number("half_root", std::sqrt(0.5))}, z + "_scaled");
  node("Erf", {z + "_scaled"}, z + "_erf");
  node("Add", {z + "_erf", number("one", 1.0)}, z + "_phi");
  node("Mul", {z, z + "_phi"}, z + "_twice");
  return node("Mul", {z + "_twice", number("half", 0.5)}, a);
}

void Graph::interface(int field, const std::string& name, const std::vector<Index>& extents) {
  Message rows, shape, tensor, type, value;
  rows.bytes(2, "rows");
  shape.message(1, rows);
  for (const Index extent : extents)
    shape.message(1, Message().varint(1, static_cast<std::uint64_t>(extent)));
  tensor.varint(1, float_type).message(2, shape);
  type.message(1, tensor);
  graph_.message(field, value.bytes(1, name).message(2, type));
}

std::string Graph::model(const std::vector<Index>& extents, const std::string& output, Index columns,
                         const std::map<std::string, std::string>& metadata) {
  interface(11, "features", extents);
  interface(12, output, {columns});
  Message version, model;
  version.bytes(1, "").varint(2, opset);
  model.varint(1, ir_version)
      .bytes(2, "gradflow")
      .message(7, graph_.bytes(2, "gradflow"))
      .message(8, version);
  for (const auto& [name, value] : metadata) model.message(14, Message().bytes(1, name).bytes(2, value));
  return model.text();
}

}  // namespace gradflow::onnx
