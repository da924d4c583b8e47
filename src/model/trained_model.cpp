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
#include "model/trained_header.h"

namespace gradflow {
namespace {

constexpr int trained_format = 1;

}  // namespace

std::map<std::string, std::string> trained_metadata(const Recipe& recipe, const std::string& network) {
  const nlohmann::ordered_json json{{"format_version", trained_format},
                                    {"gradflow_version", version},
                                    {"network", network},
                                    {"recipe", to_json(recipe)}};
  return {{trained_key, json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)}};
}

Vector input_centers(const Recipe& recipe) {
  Vector centers(static_cast<Index>(recipe.features.size()));
  for (Index j = 0; j < centers.size(); ++j) centers(j) = recipe.features[static_cast<std::size_t>(j)].center;
  return centers;
}

Vector input_scales(const Recipe& recipe) {
  Vector scales(static_cast<Index>(recipe.features.size()));
  for (Index j = 0; j < scales.size(); ++j) scales(j) = recipe.features[static_cast<std::size_t>(j)].scale;
  return scales;
}

Matrix raw_features(const Recipe& recipe, const Matrix& encoded) {
  Matrix X = encoded;
  for (Index j = 0; j < X.cols(); ++j) {
    const EncodedColumn& column = recipe.features[static_cast<std::size_t>(j)];
    X.col(j) = column.scale * X.col(j).array() + column.center;
  }
  return X;
}

TrainedModel make_trained_model(const Recipe& recipe, const DenseNetwork& network, double intercept) {
  if (!recipe.covariates.empty())
    throw InputError(
        "covariates are fitted beside the network, whose weights alone do not predict: leave them out");
  return {recipe, in_raw_units(network, input_centers(recipe), input_scales(recipe), recipe.target_center,
                               recipe.target_scale, intercept)};
}

void TrainedModel::save(const std::string& path) const {
  write_state_dict(path, network, trained_metadata(recipe, to_string(network.architecture())));
}

void TrainedModel::save_onnx(const std::string& path) const {
  write_onnx(path, network, trained_metadata(recipe, to_string(network.architecture())));
}

TrainedHeader read_trained_header(const std::string& path) {
  const nlohmann::json json =
      read_description(read_safetensors_metadata(path), trained_key, trained_format, path);
  const FieldReader fields(json, path);
  return naming_file(path, [&] {
    return TrainedHeader{recipe_from(fields.object("recipe")), fields.text("network")};
  });
}

TrainedModel TrainedModel::load(const std::string& path) {
  TrainedHeader header = read_trained_header(path);
  DenseNetwork network =
      naming_file(path, [&] { return DenseNetwork::from_file(path, parse_architecture(header.network)); });
  if (network.inputs() != static_cast<Index>(header.recipe.features.size()))
    throw InputError(fmt::format("{}: damaged gradflow model: {} features for {} inputs", path,
                                 header.recipe.features.size(), network.inputs()));
  return {std::move(header.recipe), std::move(network)};
}

bool is_trained_model(const std::string& path) { return has_metadata(path, trained_key); }

Predictions predict(const TrainedModel& model, const NewRows& rows) {
  return predict_mean(model.recipe, model.network, rows);
}

Predictions predict_mean(const Recipe& recipe, const Network& network, const NewRows& rows) {
  const Vector unknown =
      Vector::Constant(static_cast<Index>(rows.ids.size()), std::numeric_limits<double>::quiet_NaN());
  Predictions out;
  out.ids = rows.ids;
  out.mean = out.sd = out.lower = out.upper = out.location = out.scale = unknown;
  out.warnings = rows.warnings;
  if (rows.X.rows() == 0) return out;
  const Vector f = network.output(raw_features(recipe, rows.X));
  for (std::size_t i = 0; i < rows.row.size(); ++i) out.mean(rows.row[i]) = f(static_cast<Index>(i));
  return out;
}

}  // namespace gradflow
