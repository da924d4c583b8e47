#include "gradflow/network/layered_architecture.h"

#include <gtest/gtest.h>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "support/message.h"

namespace gradflow {
namespace {

const char* const texts[] = {
    "dense:1",
    "dense:64 relu dense:64 relu dense:1",
    "input:7 dense:8 leaky-relu@0.2 res(dense:8 tanh dense:8) layernorm dense:1,no-bias",
    "input:3x8x8 conv2d:32:3 relu res(conv2d:32:3 relu conv2d:32:3) relu avgpool dense:64 relu dense:1",
    "input:1x50 conv1d:8:5:2 erf conv1d:4:4:1:0 gelu flatten dense:1,no-bias,ntk,sw2=1.5,sb2=0",
    "dense:6 layernorm:affine relu res(layernorm:affine dense:6) dense:1",
    "res(res(dense:3 sin) dense:3) dense:1,ntk,sb2=0.25",
    "conv2d:4:3:2:2 avgpool dense:1"};

TEST(LayeredArchitecture, TextAndJsonAreInverseToTheirParsers) {
  for (const char* text : texts) {
    const LayeredArchitecture architecture = parse_layered_architecture(text);

    EXPECT_EQ(to_string(architecture), text);
    EXPECT_EQ(parse_layered_architecture(to_string(architecture)), architecture) << text;
    EXPECT_EQ(layered_architecture_from_json(to_json(architecture)), architecture) << to_json(architecture);
    EXPECT_TRUE(is_layered_text(text)) << text;
  }
  for (const char* text : {"relu:128x2", "linear", "leaky-relu@0.2:100-50-20,no-bias", "relu"})
    EXPECT_FALSE(is_layered_text(text)) << text;
}

/// Random layers that keep the shape of a vector of 6 features, or of an array.
std::vector<Layer> random_layers(RandomStream& random, int depth, bool array) {
  std::vector<Layer> layers;
  const auto count = 1 + random.below(3);
  for (std::uint64_t i = 0; i < count; ++i) switch (random.below(depth > 0 ? 4 : 3)) {
      case 0:
        if (array)
          layers.push_back(
              {.kind = LayerKind::conv2d, .width = 3, .size = 1 + 2 * static_cast<Index>(random.below(3))});
        else
          layers.push_back({.kind = LayerKind::dense, .width = 6});
        if (array) layers.back().padding = (layers.back().size - 1) / 2;
        break;
      case 1: layers.push_back({.activation = {ActivationKind::leaky_relu, random.uniform()}}); break;
      case 2: layers.push_back({.kind = LayerKind::layer_norm, .affine = random.below(2) == 1}); break;
      default:
        layers.push_back({.kind = LayerKind::residual, .inner = random_layers(random, depth - 1, array)});
    }
  return layers;
}

TEST(LayeredArchitecture, RandomNetworksSurviveTextAndJson) {
  RandomStream random(1, "test");
  for (int i = 0; i < 200; ++i) {
    const bool array = random.below(2) == 1;
    LayeredArchitecture architecture{.layers = random_layers(random, 3, array), .bias = random.below(2) == 1};
    if (array) {
      architecture.input = {3, 5, 4};
      architecture.layers.push_back(
          {.kind = random.below(2) == 1 ? LayerKind::flatten : LayerKind::average_pool});
    }
    architecture.layers.push_back({.kind = LayerKind::dense, .width = 1});
    if (random.below(2) == 1) {
      architecture.parameterization = Parameterization::ntk;
      architecture.sw2 = 0.1 + random.uniform();
      architecture.sb2 = random.uniform();
    }

    EXPECT_EQ(parse_layered_architecture(to_string(architecture)), architecture);
    EXPECT_EQ(layered_architecture_from_json(to_json(architecture)), architecture);
  }
}

TEST(LayeredArchitecture, DefaultsOfAConvolutionAreStrideOneAndTheSameShape) {
  const auto layer = [](const char* text) { return parse_layered_architecture(text).layers.front(); };
  const TensorShape image{3, 9, 7, 3}, series{2, 1, 10, 2};

  EXPECT_EQ(output_shape(layer("conv2d:4:3 avgpool dense:1"), image), (TensorShape{4, 9, 7, 3}));
  EXPECT_EQ(output_shape(layer("conv2d:4:3:2 avgpool dense:1"), image), (TensorShape{4, 5, 4, 3}));
  EXPECT_EQ(output_shape(layer("conv2d:4:3:1:0 avgpool dense:1"), image), (TensorShape{4, 7, 5, 3}));
  EXPECT_EQ(output_shape(layer("conv1d:4:4 avgpool dense:1"), series), (TensorShape{4, 1, 9, 2}));
  EXPECT_EQ(output_shape(layer("flatten dense:1"), image).size(), 189);
  EXPECT_EQ(output_shape(layer("avgpool dense:1"), image), (TensorShape{.channels = 3}));
}

TEST(LayeredArchitecture, ADenseDescriptionIsThatOfTheDenseNetwork) {
  EXPECT_EQ(to_string(layered(parse_architecture("relu:128x2,ntk,sw2=1.5"))),
            "dense:128 relu dense:128 relu dense:1,ntk,sw2=1.5");
  EXPECT_EQ(to_string(layered(parse_architecture("linear,no-bias"))), "dense:1,no-bias");
}

TEST(LayeredArchitecture, NonsenseIsRefusedWithItsPositionAndWhatIsAllowed) {
  const auto message = [](const std::string& text) {
    return message_of([&] { parse_layered_architecture(text); });
  };
  EXPECT_EQ(message("dense:8 swish dense:1"),
            "network 'dense:8 swish dense:1', character 9: 'swish': is no layer: must be dense:WIDTH, "
            "conv1d:CHANNELS:SIZE[:STRIDE[:PADDING]], conv2d:CHANNELS:SIZE[:STRIDE[:PADDING]], flatten, "
            "avgpool, layernorm[:affine], res(LAYERS), an activation as relu, or first of all input:CxHxW");
  EXPECT_EQ(message("dense:x relu dense:1"),
            "network 'dense:x relu dense:1', character 1: 'dense:x': must be dense:WIDTH, as dense:128");
  EXPECT_EQ(message("res(dense:8 dense:1"),
            "network 'res(dense:8 dense:1', character 1: 'res(': no ')' closes this block");
  EXPECT_EQ(message("dense:8) dense:1"),
            "network 'dense:8) dense:1', character 8: ')': no residual block is open");
  EXPECT_EQ(message("relu(dense:8) dense:1"),
            "network 'relu(dense:8) dense:1', character 1: 'relu': only res takes layers in parentheses, as "
            "res(dense:8 relu)");
  EXPECT_EQ(message("res() dense:1"),
            "network 'res() dense:1', character 1: 'res()': a residual block needs layers");
  EXPECT_EQ(message("dense:8 relu"), "network 'dense:8 relu': last layer = relu: must be dense:1");
  EXPECT_EQ(message(""), "network '': last layer = none: must be dense:1");
  EXPECT_EQ(message("dense:8 relu dense:3"),
            "network 'dense:8 relu dense:3': last layer = dense:3: must be dense:1");
  EXPECT_EQ(parse_layered_architecture("dense:8 relu dense:3", 3).outputs(), 3);
  EXPECT_EQ(parse_layered_architecture("dense:3", LayeredArchitecture::any_outputs).outputs(), 3);
  EXPECT_THROW(parse_layered_architecture("dense:8 relu dense:3", 2), InputError);
  EXPECT_THROW(parse_layered_architecture("dense:8 relu", LayeredArchitecture::any_outputs), InputError);
  EXPECT_EQ(message("dense:0 dense:1"),
            "network 'dense:0 dense:1': layer 1 width = 0: must be from 1 to "
            "1000000");
  EXPECT_EQ(message("conv2d:8:3:1:3 avgpool dense:1"),
            "network 'conv2d:8:3:1:3 avgpool dense:1': layer 1 padding = 3: must be from 0 to size - 1");
  EXPECT_EQ(message("input:9 conv2d:8:3 avgpool dense:1"),
            "network 'input:9 conv2d:8:3 avgpool dense:1': layer 'conv2d:8:3' gets the shape 9: it takes "
            "channels x height x width, given by input:CxHxW");
  EXPECT_EQ(message("input:1x9 relu dense:1"),
            "network 'input:1x9 relu dense:1': layer 'dense:1' gets the shape 1x9: put flatten or avgpool "
            "between an array and a dense layer");
  EXPECT_EQ(message("input:4 res(dense:8) dense:1"),
            "network 'input:4 res(dense:8) dense:1': layer 'res(dense:8)' gets the shape 4: the layers of a "
            "residual block must keep it, and give 8");
  EXPECT_EQ(message("dense:1,sw2=1"),
            "network 'dense:1,sw2=1', character 9: 'sw2=1': needs the option ntk "
            "before it");
  for (const char* text :
       {"input:1x2x3x4 dense:1", "input:0 dense:1", "input:1x1 dense:1 input:4", "conv2d:3",
        "conv2d:3:3:1:1:1 dense:1", "dense dense:1", "dense:1:2 dense:1", "dense:1,", "dense:1,ntk,sw2=0",
        "dense:1,ntk,sb2=nan", "dense:99999999999999999999 dense:1",
        "input:1x3x3 conv2d:2:9:1:0 avgpool dense:1", "dense:4 flatten dense:1,", "input:3 flatten dense:1",
        "input:3 avgpool dense:1", ",ntk", "leaky-relu@x dense:1", "input:100000x100000 flatten dense:1",
        "input:1x10000x10000 conv2d:9:3 avgpool dense:1"})
    EXPECT_TRUE(message(text).starts_with("network '" + std::string(text) + "'")) << message(text);
}

TEST(LayeredArchitecture, ALayerNormTakesNothingButAffine) {
  for (const char* text : {"layernorm:1 dense:1", "layernorm:affine:1 dense:1", "layernorm: dense:1"})
    EXPECT_NE(message_of([&] { parse_layered_architecture(text); }).find("': is no layer: must be"),
              std::string::npos)
        << text;
}

TEST(LayeredArchitecture, NonsenseInJsonIsRefusedWithItsField) {
  const auto message = [](const char* json) {
    return message_of([&] { layered_architecture_from_json(json); });
  };
  EXPECT_EQ(message("{"), "network in JSON: not a valid JSON object");
  EXPECT_EQ(message("{}"), "network in JSON: field 'layers' must be a list of layers");
  EXPECT_EQ(message(R"({"layers": [{"layer": "dense"}]})"),
            "network in JSON: field 'layers[0].width' must be a whole number from 0 to 1e9");
  EXPECT_EQ(message(R"({"layers": [{"layer": "res", "layers": [{"layer": "swish"}]}]})"),
            "network in JSON: field 'layers[0].layers[0].layer' must be dense, conv1d, conv2d, flatten, "
            "avgpool, layernorm, res, or an activation as relu");
  EXPECT_EQ(message(R"({"layers": [{"layer": "dense", "width": 1, "units": 3}]})"),
            "network in JSON: field 'layers[0].units' must be absent: allowed are layer, width");
  EXPECT_EQ(message(R"({"layers": [{"layer": "layernorm", "affine": 1}, {"layer": "dense", "width": 1}]})"),
            "network in JSON: field 'layers[0].affine' must be true or false");
  EXPECT_EQ(message(R"({"layers": [{"layer": "layernorm:affine"}, {"layer": "dense", "width": 1}]})"),
            "network in JSON: field 'layers[0].layer' must be 'layernorm', with \"affine\": true");
  EXPECT_EQ(message(R"({"layers": [{"layer": "dense", "width": 1}], "sw2": 3})"),
            "network in JSON: field 'sw2' must be absent: it is of the parameterization ntk");
  EXPECT_EQ(message(R"({"layers": [{"layer": "dense", "width": 2}]})"),
            "network in JSON: last layer = dense:2: must be dense:1");
  EXPECT_EQ(message(R"({"layers": [{"layer": "conv2d", "channels": 2, "size": 3}, {"layer": "avgpool"},
                       {"layer": "dense", "width": 1}], "input": [3, 3]})"),
            "network in JSON: layer 'conv2d:2:3' gets the shape 3x3: it takes channels x height x width, "
            "given by input:CxHxW");
}

}  // namespace
}  // namespace gradflow
