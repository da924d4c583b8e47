#include <algorithm>
#include <nlohmann/json.hpp>

#include "gradflow/base/error.h"
#include "gradflow/network/layered_architecture.h"
#include "network/layer_kinds.h"

namespace gradflow {
namespace {

using Json = nlohmann::ordered_json;

[[noreturn]] void reject_field(const std::string& where, const std::string& must) {
  throw InputError(fmt::format("network in JSON: field '{}' must be {}", where, must));
}

Index read_count(const Json& value, const std::string& where) {
  if (!value.is_number_integer() || value.get<double>() < 0.0 || value.get<double>() > 1e9)
    reject_field(where, "a whole number from 0 to 1e9");
  return value.get<Index>();
}

std::vector<Layer> read_layers(const Json& list, const std::string& where, int nested);

// The fields of an object that are none of those expected.
void check_fields(const Json& object, const std::string& where, const std::vector<std::string>& allowed) {
  for (const auto& [name, value] : object.items())
    if (std::find(allowed.begin(), allowed.end(), name) == allowed.end())
      reject_field(where.empty() ? name : where + "." + name,
                   fmt::format("absent: allowed are {}", fmt::join(allowed, ", ")));
}

Layer read_layer(const Json& object, const std::string& where, int nested) {
  if (!object.is_object() || !object.contains("layer") || !object["layer"].is_string())
    reject_field(where, "an object with the text \"layer\"");
  const std::string name = object["layer"];
  Layer layer;
  if (name == "res") {
    check_fields(object, where, {"layer", "layers"});
    layer.kind = LayerKind::residual;
    layer.inner =
        read_layers(object.contains("layers") ? object["layers"] : Json(), where + ".layers", nested + 1);
  } else if (name == "dense") {
    check_fields(object, where, {"layer", "width"});
    layer.kind = LayerKind::dense;
    layer.width = read_count(object.contains("width") ? object["width"] : Json(), where + ".width");
  } else if (name == "conv1d" || name == "conv2d") {
    check_fields(object, where, {"layer", "channels", "size", "stride", "padding"});
    layer.kind = name == "conv1d" ? LayerKind::conv1d : LayerKind::conv2d;
    const auto field = [&](const char* key, Index otherwise) {
      return object.contains(key) || otherwise < 0
                 ? read_count(object.contains(key) ? object[key] : Json(), where + "." + key)
                 : otherwise;
    };
    layer.width = field("channels", -1);
    layer.size = field("size", -1);
    layer.stride = field("stride", 1);
    layer.padding = field("padding", layer.size > 0 ? (layer.size - 1) / 2 : 0);
  } else if (name == "layernorm") {
    check_fields(object, where, {"layer", "affine"});
    layer.kind = LayerKind::layer_norm;
    if (object.contains("affine")) {
      if (!object["affine"].is_boolean()) reject_field(where + ".affine", "true or false");
      layer.affine = object["affine"];
    }
  } else {
    check_fields(object, where, {"layer"});
    // What has no numbers is named as in the text.
    const std::string ending = "dense:1";
    try {
      layer = parse_layered_architecture(name + " " + ending).layers.front();
    } catch (const InputError&) {
      reject_field(where + ".layer",
                   "dense, conv1d, conv2d, flatten, avgpool, layernorm, res, or an activation as relu");
    }
    if (layer.affine) reject_field(where + ".layer", "'layernorm', with \"affine\": true");
    if (to_string(layer) != name) reject_field(where + ".layer", fmt::format("'{}'", to_string(layer)));
  }
  return layer;
}

std::vector<Layer> read_layers(const Json& list, const std::string& where, int nested) {
  if (!list.is_array()) reject_field(where, "a list of layers");
  if (nested > most_nested)
    reject_field(where, fmt::format("at most {} blocks within each other", most_nested));
  std::vector<Layer> layers;
  for (const Json& item : list)
    layers.push_back(read_layer(item, fmt::format("{}[{}]", where, layers.size()), nested));
  return layers;
}

Json json_of(const std::vector<Layer>& layers) {
  Json list = Json::array();
  for (const Layer& layer : layers) {
    Json object;
    if (layer.kind == LayerKind::residual)
      object = {{"layer", "res"}, {"layers", json_of(layer.inner)}};
    else if (layer.kind == LayerKind::dense)
      object = {{"layer", "dense"}, {"width", layer.width}};
    else if (is_convolution(layer))
      object = {{"layer", layer.kind == LayerKind::conv1d ? "conv1d" : "conv2d"},
                {"channels", layer.width},
                {"size", layer.size},
                {"stride", layer.stride},
                {"padding", layer.padding}};
    else if (layer.affine)
      object = {{"layer", "layernorm"}, {"affine", true}};
    else
      object = {{"layer", to_string(layer)}};
    list.push_back(std::move(object));
  }
  return list;
}

double read_variance(const Json& document, const char* name, double otherwise) {
  if (!document.contains(name)) return otherwise;
  if (!document[name].is_number()) reject_field(name, "a number");
  return document[name];
}

}  // namespace

LayeredArchitecture layered_architecture_from_json(const std::string& json, Index outputs) {
  const Json document = Json::parse(json, nullptr, false);
  if (document.is_discarded() || !document.is_object())
    throw InputError("network in JSON: not a valid JSON object");
  check_fields(document, "", {"input", "layers", "bias", "parameterization", "sw2", "sb2"});
  LayeredArchitecture architecture;
  if (document.contains("input")) {
    if (!document["input"].is_array()) reject_field("input", "a list of extents");
    for (const Json& extent : document["input"]) architecture.input.push_back(read_count(extent, "input"));
  }
  architecture.layers = read_layers(document.contains("layers") ? document["layers"] : Json(), "layers", 0);
  if (document.contains("bias")) {
    if (!document["bias"].is_boolean()) reject_field("bias", "true or false");
    architecture.bias = document["bias"];
  }
  if (document.contains("parameterization")) {
    if (document["parameterization"] == "ntk")
      architecture.parameterization = Parameterization::ntk;
    else if (document["parameterization"] != "standard")
      reject_field("parameterization", "standard or ntk");
  }
  if (architecture.parameterization == Parameterization::standard)
    for (const char* name : {"sw2", "sb2"})
      if (document.contains(name)) reject_field(name, "absent: it is of the parameterization ntk");
  architecture.sw2 = read_variance(document, "sw2", architecture.sw2);
  architecture.sb2 = read_variance(document, "sb2", architecture.sb2);
  try {
    architecture.check(outputs);
  } catch (const InputError& error) {
    throw InputError(fmt::format("network in JSON: {}", error.what()));
  }
  return architecture;
}

std::string to_json(const LayeredArchitecture& architecture) {
  Json document;
  if (!architecture.input.empty()) document["input"] = architecture.input;
  document["layers"] = json_of(architecture.layers);
  document["bias"] = architecture.bias;
  const bool ntk = architecture.parameterization == Parameterization::ntk;
  document["parameterization"] = ntk ? "ntk" : "standard";
  if (ntk) {
    document["sw2"] = architecture.sw2;
    document["sb2"] = architecture.sb2;
  }
  return document.dump();
}

}  // namespace gradflow
