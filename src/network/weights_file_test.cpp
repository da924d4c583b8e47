#include <gtest/gtest.h>

#include <zlib.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <map>

#include "gradflow/base/error.h"
#include "gradflow/data/safetensors.h"
#include "gradflow/network/dense_network.h"

namespace gradflow {
namespace {

Array array_of(std::vector<Index> shape, double first = 0.25) {
  Array array{std::move(shape), {}};
  Index size = 1;
  for (const Index extent : array.shape) size *= extent;
  for (Index i = 0; i < size; ++i) array.values.push_back(first + 0.5 * static_cast<double>(i));
  return array;
}

void append_number(std::string& bytes, std::uint64_t value, int count) {
  for (int i = 0; i < count; ++i) bytes += static_cast<char>(value >> (8 * i) & 0xff);
}

/// A ZIP archive of stored members, as numpy.savez writes.
std::string zip_of(const std::map<std::string, std::string>& members) {
  std::string bytes, directory;
  for (const auto& [name, content] : members) {
    std::string
        fields;  // version, flags, method, time and date, checksum, sizes, lengths of name and extra field
    for (const int two : {20, 0, 0, 0, 0}) append_number(fields, static_cast<std::uint64_t>(two), 2);
    append_number(fields,
                  crc32(0, reinterpret_cast<const Bytef*>(content.data()), static_cast<uInt>(content.size())),
                  4);
    for (int i = 0; i < 2; ++i) append_number(fields, content.size(), 4);
    append_number(fields, name.size(), 2);
    append_number(fields, 0, 2);
    directory += "PK\1\2\24" + std::string(1, '\0') + fields;
    directory.append(10, '\0');  // comment, disk, attributes
    append_number(directory, bytes.size(), 4);
    directory += name;
    bytes += "PK\3\4" + fields + name + content;
  }
  std::string end = "PK\5\6";
  append_number(end, 0, 4);
  for (int i = 0; i < 2; ++i) append_number(end, members.size(), 2);
  append_number(end, directory.size(), 4);
  append_number(end, bytes.size(), 4);
  append_number(end, 0, 2);
  return bytes + directory + end;
}

class WeightsFile : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::map<std::string, Array>& arrays) const {
    write_safetensors(path_, TensorFile{arrays, {}});
    return path_;
  }
  std::string message(const std::map<std::string, Array>& arrays,
                      const std::string& settings = "linear") const {
    try {
      DenseNetwork::from_file(write(arrays), parse_architecture(settings));
    } catch (const InputError& error) {
      return error.what();
    }
    return "no error";
  }
  const std::string folder_ = testing::TempDir() + "gradflow_weights_file";
  const std::string path_ = folder_ + "/w.safetensors";
};

const std::map<std::string, Array> two_layers{
    {"W0", array_of({3, 2})}, {"b0", array_of({3})}, {"W1", array_of({1, 3})}, {"b1", array_of({1})}};

TEST_F(WeightsFile, NamesOfEveryStyleGiveTheSameNetwork) {
  const auto reference = DenseNetwork::from_file(write(two_layers), parse_architecture("tanh:3"));
  EXPECT_EQ(reference.parameters().weights[0], (Matrix{{0.25, 0.75}, {1.25, 1.75}, {2.25, 2.75}}));
  EXPECT_EQ(reference.parameters().biases[0], (Vector{{0.25, 0.75, 1.25}}));
  EXPECT_EQ(to_string(reference.architecture()), "tanh:3");

  for (const auto& [w0, b0, w1, b1] : {std::array{"0.weight", "0.bias", "2.weight", "2.bias"},
                                       {"net.9.weight", "net.9.bias", "net.10.weight", "net.10.bias"},
                                       {"model.W0", "model.b0", "model.W1", "model.b1"},
                                       {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"}}) {
    const std::map<std::string, Array> arrays{{w0, two_layers.at("W0")},
                                              {b0, two_layers.at("b0")},
                                              {w1, two_layers.at("W1")},
                                              {b1, two_layers.at("b1")}};
    const auto network = DenseNetwork::from_file(write(arrays), Architecture{{ActivationKind::tanh}, {}});
    EXPECT_EQ(network.parameters().flatten(), reference.parameters().flatten()) << w0;
  }
}

TEST_F(WeightsFile, NpzGivesTheSameNetworkAsSafetensors) {
  std::map<std::string, std::string> members;
  for (const auto& [name, array] : two_layers) {
    const std::string member = folder_ + "/member.npy";
    if (array.shape.size() == 1)
      write_npy_vector(member, array.as_vector(name));
    else
      write_npy(member, array.as_matrix(name));
    std::ifstream in(member, std::ios::binary);
    members[name + ".npy"] = {std::istreambuf_iterator<char>(in), {}};
  }
  std::ofstream(folder_ + "/w.npz", std::ios::binary) << zip_of(members);

  EXPECT_EQ(DenseNetwork::from_file(folder_ + "/w.npz", parse_architecture("linear")).parameters().flatten(),
            DenseNetwork::from_file(write(two_layers), parse_architecture("linear")).parameters().flatten());
}

TEST_F(WeightsFile, WithoutBiasesTheNetworkHasNone) {
  const auto network = DenseNetwork::from_file(write({{"W0", array_of({4, 2})}, {"W1", array_of({1, 4})}}),
                                               parse_architecture("relu:4,ntk"));

  EXPECT_EQ(to_string(network.architecture()), "relu:4,no-bias,ntk");
  EXPECT_EQ(network.inputs(), 2);
}

TEST_F(WeightsFile, WhatDoesNotFitIsNamed) {
  const std::string start = "weights '" + path_ + "'";
  auto arrays = two_layers;
  arrays["scale"] = array_of({1});
  EXPECT_EQ(message(arrays),
            start +
                ": array 'scale' belongs to no layer; arrays must be named W0, b0, W1, b1, ... or "
                "0.weight, 0.bias, 2.weight, ...");
  arrays = two_layers;
  arrays["W1"] = array_of({1, 4});
  EXPECT_EQ(message(arrays), start + ": array 'W1' has shape (1, 4): the layer before it has 3 outputs");
  arrays = two_layers;
  arrays["W1"] = array_of({2, 3});
  arrays["b1"] = array_of({2});
  EXPECT_EQ(message(arrays), start + ": array 'W1' has shape (2, 3): the last layer must have one output");
  arrays = two_layers;
  arrays["b0"] = array_of({2});
  EXPECT_EQ(message(arrays), start + ": array 'b0' has shape (2): must be (3), the outputs of its layer");
  arrays = two_layers;
  arrays["W0"] = array_of({6});
  EXPECT_EQ(message(arrays),
            start + ": array 'W0' has shape (6): must be (outputs, inputs) of a dense layer");
  arrays = two_layers;
  arrays["W0"].values[4] = std::numeric_limits<double>::infinity();
  EXPECT_EQ(message(arrays), start + ": array 'W0' has the value inf: every entry must be finite");
  arrays = two_layers;
  arrays.erase("b1");
  EXPECT_EQ(message(arrays),
            start + ": 'W1' lacks a bias, unlike the first layer: all layers or none must have one");
  arrays = two_layers;
  arrays["x.W1"] = array_of({1, 3});
  EXPECT_EQ(message(arrays),
            start +
                ": arrays 'W1' and 'x.W1' claim the same place; arrays must be named W0, b0, W1, "
                "b1, ... or 0.weight, 0.bias, 2.weight, ...");
  EXPECT_EQ(message(two_layers, "relu:5"), start + " are those of the network 'relu:3': not of 'relu:5'");
  EXPECT_EQ(message(two_layers), "no error");
  EXPECT_THROW(DenseNetwork::from_file(folder_ + "/absent.npz", parse_architecture("linear")), InputError);
}

}  // namespace
}  // namespace gradflow
