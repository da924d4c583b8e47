#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "gradflow/network/activation.h"

// Protobuf: a message is a sequence of fields, each a key (number * 8 + wire type) and a value; wire type 0
// is a varint, 2 a length and that many bytes, 5 four bytes, least significant first. Field numbers below are
// those of onnx.proto3.

namespace gradflow::onnx {

class Message {
 public:
  Message& varint(int field, std::uint64_t value);
  Message& bytes(int field, std::string_view value);
  Message& message(int field, const Message& value) { return bytes(field, value.text_); }
  Message& real(int field, float value);
  const std::string& text() const noexcept { return text_; }

  void append(float value);

 private:
  void key(int field, unsigned wire) { raw_varint(static_cast<std::uint64_t>(field) << 3U | wire); }
  void raw_varint(std::uint64_t value);

  std::string text_;
};

/// Attributes of a node.
Message attribute(const char* name, float value);
Message attribute(const char* name, Index value);
Message attribute(const char* name, const std::vector<Index>& values);

/// A GraphProto that grows node by node; each node has one output.
class Graph {
 public:
  void constant(const std::string& name, const std::vector<Index>& shape, const std::vector<double>& values);
  /// A number that several nodes may use.
  std::string number(const std::string& name, double value);
  std::string node(const char* kind, const std::vector<std::string>& inputs, const std::string& output,
                   const std::vector<Message>& attributes = {});
  /// z -> phi(z); the result's name.
  std::string activation(const Activation& activation, const std::string& z);
  /// The file of a graph from "features", rows x extents, to `output`, rows x columns; to be called last.
  std::string model(const std::vector<Index>& extents, const std::string& output, Index columns,
                    const std::map<std::string, std::string>& metadata);

 private:
  void interface(int field, const std::string& name, const std::vector<Index>& extents);

  Message graph_;
  std::map<std::string, double> numbers_;
};

}  // namespace gradflow::onnx
