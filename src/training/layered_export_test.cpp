// Trained networks of layers as functions of features in their own units.
#include <gtest/gtest.h>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/training/export.h"

namespace gradflow {
namespace {

/// The inputs have 24 entries.
const char* const exported_networks[] = {
    "input:24 dense:1",
    "input:24 dense:6 layernorm:affine tanh res(dense:6 relu) dense:1",
    "input:24 layernorm dense:4 relu dense:1",
    "input:24 res(tanh dense:24) dense:1",
    "input:2x12 conv1d:3:5:2 relu layernorm:affine flatten dense:1",
    "input:2x3x4 conv2d:3:3 gelu res(conv2d:3:3) avgpool dense:5 sin dense:1",
    "input:2x3x4 avgpool dense:1"};

/// One center and scale for each of the two channels, or for each feature.
struct Units {
  Vector center{24}, scale{24};
  explicit Units(bool channels, RandomStream& random) {
    for (Index j = 0; j < 24; ++j) {
      const bool again = channels && j % 12 > 0;
      center(j) = again ? center(j - 1) : 3.0 * random.normal();
      scale(j) = again ? scale(j - 1) : 0.5 + random.uniform();
    }
  }
};

TEST(LayeredExport, InRawUnitsIsTheSameFunction) {
  for (const std::string text : exported_networks)
    for (const char* options : {"", ",no-bias", ",ntk,sb2=0.3", ",no-bias,ntk"}) {
      RandomStream random(3, text + options);
      const auto network = LayeredNetwork::initialise(parse_layered_architecture(text + options), 24, 5);
      const Units units(text.find('x') != std::string::npos, random);
      const Matrix X = random.normals(7, 24);
      const Matrix raw = (X.array().rowwise() * units.scale.transpose().array()).rowwise() +
                         units.center.transpose().array();

      const LayeredNetwork g =
          in_raw_units(network, units.center, units.scale, 100.0, 20.0, Vector::Constant(1, 0.3));

      const Vector expected = 100.0 + 20.0 * (network.output(X).array() + 0.3);
      EXPECT_LT((g.output(raw) - expected).norm(), 1e-12 * expected.norm()) << text << options;
      EXPECT_EQ(g.architecture().parameterization, Parameterization::standard);
      EXPECT_TRUE(g.architecture().bias);
      EXPECT_EQ(parse_layered_architecture(g.text()), g.architecture());
    }
}

TEST(LayeredExport, PutsALayerBeforeTheOthersOnlyWhereThereIsSomethingToStandardise) {
  RandomStream random(4, "test");
  const Units units(true, random);
  for (const char* text : exported_networks) {
    const auto network = LayeredNetwork::initialise(parse_layered_architecture(text), 24, 5);
    const bool dense = network.sequence().front().layer.kind == LayerKind::dense;
    const auto count = network.sequence().size();

    EXPECT_EQ(in_raw_units(network, Vector::Zero(24), Vector::Ones(24), 1.0, 2.0, Vector::Zero(1))
                  .sequence()
                  .size(),
              count);
    EXPECT_EQ(in_raw_units(network, units.center, units.scale, 1.0, 2.0, Vector::Zero(1)).sequence().size(),
              dense ? count : count + 1);
  }
}

TEST(LayeredExport, RefusesUnitsThatDifferWithinAChannelAndScalesThatPyTorchHasNot) {
  const auto images =
      LayeredNetwork::initialise(parse_layered_architecture("input:2x3x4 conv2d:3:3 avgpool dense:1"), 24, 5);
  Vector scale = Vector::Ones(24);
  scale(13) = 2.0;
  try {
    in_raw_units(images, Vector::Zero(24), scale, 0.0, 1.0, Vector::Zero(1));
    FAIL();
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(),
                 "scales of the inputs differ within channel 2: an array's are one for each channel");
  }
  EXPECT_THROW(in_raw_units(images, Vector::Zero(3), scale, 0.0, 1.0, Vector::Zero(1)), InputError);
  const auto ntk = LayeredNetwork::initialise(parse_layered_architecture("dense:3 relu dense:1,ntk"), 4, 5);
  EXPECT_THROW(write_state_dict("unused", ntk, {}), InputError);
  EXPECT_THROW(write_onnx("unused", ntk, {}), InputError);
}

}  // namespace
}  // namespace gradflow
