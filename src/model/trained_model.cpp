#include "gradflow/model/trained_model.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/data/safetensors.h"
#include "gradflow/model/version.h"
#include "gradflow/training/export.h"
#include "model/model_tensors.h"
#include "model/recipe_json.h"

namespace gradflow {
namespace {

constexpr const char* key = "gradflow_trained";
constexpr int format_version = 1;

std::map<std::string, std::string> metadata(const TrainedModel& model) {
  const nlohmann::ordered_json json{{"format_version", format_version},
                                    {"gradflow_version", version},
                                    {"network", to_string(model.network.architecture())},
                                    {"recipe", to_json(model.recipe)}};
  return {{key, json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)}};
}

}  // namespace

TrainedModel make_trained_model(const Recipe& recipe, const DenseNetwork& network, double intercept) {
  if (!recipe.covariates.empty())
    throw InputError(
        "covariates are fitted beside the network, whose weights alone do not predict: leave them out");
  const auto d = static_cast<Index>(recipe.features.size());
  Vector center(d), scale(d);
  for (Index j = 0; j < d; ++j) {
    center(j) = recipe.features[static_cast<std::size_t>(j)].center;
    scale(j) = recipe.features[static_cast<std::size_t>(j)].scale;
  }
  return {recipe, in_raw_units(network, center, scale, recipe.target_center, recipe.target_scale, intercept)};
}

void TrainedModel::save(const std::string& path) const { write_state_dict(path, network, metadata(*this)); }

void TrainedModel::save_onnx(const std::string& path) const { write_onnx(path, network, metadata(*this)); }

TrainedModel TrainedModel::load(const std::string& path) {
  const TensorFile file = read_safetensors(path);
  const auto found = file.metadata.find(key);
  if (found == file.metadata.end())
    throw InputError(fmt::format("'{}' is not a file of gradflow train", path));
  const nlohmann::json json = nlohmann::json::parse(found->second, nullptr, false);
  if (!json.is_object()) throw InputError(fmt::format("{}: damaged gradflow model: no JSON object", path));
  const FieldReader fields(json, path);
  if (fields.count("format_version", 1000000) > format_version)
    throw InputError(fmt::format("{}: written by a newer gradflow: format {}", path,
                                 fields.count("format_version", 1000000)));
  Recipe recipe = recipe_from(fields.object("recipe"));
  DenseNetwork network = DenseNetwork::from_file(path, parse_architecture(fields.text("network")));
  if (network.inputs() != static_cast<Index>(recipe.features.size()))
    throw InputError(fmt::format("{}: damaged gradflow model: {} features for {} inputs", path,
                                 recipe.features.size(), network.inputs()));
  return {std::move(recipe), std::move(network)};
}

bool is_trained_model(const std::string& path) { return has_metadata(path, key); }

Predictions predict(const TrainedModel& model, const NewRows& rows) {
  const Vector unknown =
      Vector::Constant(static_cast<Index>(rows.ids.size()), std::numeric_limits<double>::quiet_NaN());
  Predictions out;
  out.ids = rows.ids;
  out.mean = out.sd = out.lower = out.upper = out.location = out.scale = unknown;
  out.warnings = rows.warnings;
  Matrix X = rows.X;
  for (Index j = 0; j < X.cols(); ++j) {
    const EncodedColumn& column = model.recipe.features[static_cast<std::size_t>(j)];
    X.col(j) = column.scale * X.col(j).array() + column.center;
  }
  if (X.rows() == 0) return out;
  const Vector f = model.network.output(X);
  for (std::size_t i = 0; i < rows.row.size(); ++i) out.mean(rows.row[i]) = f(static_cast<Index>(i));
  return out;
}

}  // namespace gradflow
