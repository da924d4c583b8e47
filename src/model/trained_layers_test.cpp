#include "gradflow/model/trained_layers.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"

namespace gradflow {
namespace {

class TrainedLayersFile : public testing::Test {
 protected:
  void SetUp() override {
    RandomStream random(1, "test");
    X_ = (5.0 + 3.0 * random.normals(20, 12).array()).matrix();
    data_ = make_dataset(X_, random.normals(20), {.feature_shape = {2, 2, 3}}, "X", "y");
  }
  void TearDown() override { std::filesystem::remove(path_); }

  Predictions predicted(const TrainedLayers& model) const {
    return predict(model, encode(model.recipe, X_, "X"));
  }

  const std::string path_ = testing::TempDir() + fmt::format("gradflow_trained_layers_{}", getpid());
  Matrix X_;
  Dataset data_;
  const LayeredNetwork network_ = LayeredNetwork::initialise(
      parse_layered_architecture("input:2x2x3 conv2d:3:3 layernorm:affine relu avgpool dense:1,ntk"), 12, 2);
};

TEST_F(TrainedLayersFile, ReadsBackToTheSamePredictionsThoseOfTheNetworkInUnitsOfTheResponse) {
  const TrainedLayers model = make_trained_layers(data_.recipe, network_, 0.7);
  model.save(path_);

  EXPECT_TRUE(is_trained_model(path_));
  EXPECT_TRUE(is_trained_layers(path_));
  const Predictions read = predicted(TrainedLayers::load(path_));

  EXPECT_EQ(read.mean, predicted(model).mean);
  const Vector expected =
      unstandardize_response(data_.recipe, (network_.output(data_.X).array() + 0.7).matrix());
  EXPECT_LT((read.mean - expected).norm(), 1e-12 * expected.norm());
  EXPECT_TRUE(read.sd.array().isNaN().all());
}

TEST_F(TrainedLayersFile, AFileOfADenseNetworkIsNoneOfLayers) {
  Dataset table = make_dataset(X_, data_.y, {}, "X", "y");
  make_trained_model(table.recipe, DenseNetwork::initialise(parse_architecture("relu:4"), 12, 1), 0.0)
      .save(path_);

  EXPECT_FALSE(is_trained_layers(path_));
  try {
    TrainedLayers::load(path_);
    FAIL();
  } catch (const InputError& error) {
    EXPECT_EQ(error.what(), fmt::format("'{}' is of a dense network, 'relu:4'", path_));
  }
  EXPECT_FALSE(is_trained_layers("no such file"));
}

}  // namespace
}  // namespace gradflow
