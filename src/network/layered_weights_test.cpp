#include <gtest/gtest.h>

#include <filesystem>
#include <limits>

#include "gradflow/base/error.h"
#include "gradflow/data/safetensors.h"
#include "gradflow/network/layered_network.h"

namespace gradflow {
namespace {

class LayeredWeights : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }
  std::string write(const std::map<std::string, Array>& arrays) const {
    write_safetensors(path_, TensorFile{arrays, {}});
    return path_;
  }
  std::string message(const std::map<std::string, Array>& arrays) const {
    try {
      LayeredNetwork::from_file(write(arrays), architecture_, 12);
    } catch (const InputError& error) {
      return error.what();
    }
    return "no error";
  }
  const std::string path_ = testing::TempDir() + "gradflow_layered_weights.safetensors";
  const LayeredArchitecture architecture_ =
      parse_layered_architecture("input:1x3x4 conv2d:2:3 relu res(conv2d:2:1) avgpool dense:1");
  const LayeredNetwork network_ = LayeredNetwork::initialise(architecture_, 12, 4);
};

TEST_F(LayeredWeights, AStateDictReadsBackToTheSameBitsUnderAnyPrefix) {
  std::map<std::string, Array> prefixed;
  for (const auto& [name, array] : network_.state_dict()) prefixed["module.net." + name] = array;

  for (const auto& arrays : {network_.state_dict(), prefixed})
    EXPECT_EQ(LayeredNetwork::from_file(write(arrays), architecture_, 12).parameters().flatten(),
              network_.parameters().flatten());
}

TEST_F(LayeredWeights, ScalesAndShiftsOfALayerNormAreItsWeightAndBias) {
  const auto architecture = parse_layered_architecture("dense:3 layernorm:affine dense:1");
  const LayeredNetwork network(LayeredNetwork::initialise(architecture, 2, 4).architecture(),
                               {{Matrix::Ones(3, 2), Matrix{{4}, {5}, {6}}, Matrix::Ones(1, 3)},
                                {Vector::Zero(3), Vector{{7, 8, 9}}, Vector::Zero(1)}});
  const auto arrays = network.state_dict();

  EXPECT_EQ(arrays.at("1.weight").shape, std::vector<Index>{3});
  EXPECT_EQ(arrays.at("1.weight").values, (std::vector<double>{4, 5, 6}));
  EXPECT_EQ(arrays.at("1.bias").values, (std::vector<double>{7, 8, 9}));
  EXPECT_EQ(LayeredNetwork::from_file(write(arrays), architecture, 2).parameters().flatten(),
            network.parameters().flatten());
}

TEST_F(LayeredWeights, EntriesAreInPyTorchsOrder) {
  const Array weight = network_.state_dict().at("0.weight");
  const Matrix& W = network_.parameters().weights[0];

  EXPECT_EQ(weight.shape, (std::vector<Index>{2, 1, 3, 3}));
  // (out, in, row, column), C order
  EXPECT_EQ(weight.values[9 + 3 * 1 + 2], W(1, 5));
}

TEST_F(LayeredWeights, WhatDoesNotFitIsNamed) {
  const std::string start = "weights '" + path_ + "': ";
  auto arrays = network_.state_dict();
  arrays.erase("2.block.0.weight");
  EXPECT_EQ(message(arrays), start + "array '2.block.0.weight' of shape (2, 2, 1, 1) is missing");
  arrays = network_.state_dict();
  arrays["0.weight"].shape = {2, 9};
  EXPECT_EQ(message(arrays), start + "array '0.weight' has shape (2, 9): must be (2, 1, 3, 3)");
  arrays = network_.state_dict();
  arrays["0.bias"].values[1] = std::numeric_limits<double>::infinity();
  EXPECT_EQ(message(arrays), start + "array '0.bias' has the value inf: every entry must be finite");
  arrays = network_.state_dict();
  arrays["6.weight"] = arrays.at("0.bias");
  EXPECT_EQ(message(arrays), start +
                                 "array '6.weight' belongs to no layer of 'input:1x3x4 conv2d:2:3 relu "
                                 "res(conv2d:2:1) avgpool dense:1'");
  EXPECT_EQ(message(network_.state_dict()), "no error");
}

}  // namespace
}  // namespace gradflow
