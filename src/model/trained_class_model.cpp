#include "gradflow/model/trained_class_model.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/inference/classification_scores.h"
#include "gradflow/model/version.h"
#include "gradflow/training/export.h"
#include "model/model_tensors.h"
#include "model/recipe_json.h"
#include "model/trained_header.h"

namespace gradflow {
namespace {

constexpr int trained_classes_format = 1;

std::map<std::string, std::string> metadata(const TrainedClassModel& model) {
  const nlohmann::ordered_json json{{"format_version", trained_classes_format},
                                    {"gradflow_version", version},
                                    {"network", model.network.text()},
                                    {"loss", to_string(model.loss)},
                                    {"classes", model.classes},
                                    {"recipe", to_json(model.recipe)}};
  return {{trained_classes_key, json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)}};
}

// A dense network's text says nothing of its outputs.
LayeredArchitecture layers_of(const std::string& text, Index outputs) {
  if (is_layered_text(text)) return parse_layered_architecture(text, outputs);
  LayeredArchitecture layers = layered(parse_architecture(text));
  layers.layers.back().width = outputs;
  return layers;
}

TrainedClassModel model_of(const FieldReader& fields, const std::string& path) {
  Recipe recipe = recipe_from(fields.object("recipe"));
  std::vector<std::string> classes = fields.texts("classes");
  if (classes.size() < 2) fields.fail("classes", "at least 2 names");
  const TrainingLoss loss = parse_training_loss(fields.text("loss"));
  const auto layers = layers_of(fields.text("network"), static_cast<Index>(classes.size()));
  LayeredNetwork network =
      LayeredNetwork::from_file(path, layers, static_cast<Index>(recipe.features.size()));
  return {std::move(recipe), std::move(classes), loss, std::move(network)};
}

}  // namespace

TrainedClassModel make_trained_class_model(const ClassDataset& data, const TrainableNetwork& network,
                                           TrainingLoss loss, const Vector& intercept) {
  const Recipe& recipe = data.data.recipe;
  return {recipe, data.classes, loss,
          in_raw_units(network.layered(), input_centers(recipe), input_scales(recipe), 0.0, 1.0, intercept)};
}

void TrainedClassModel::save(const std::string& path) const {
  write_state_dict(path, network, metadata(*this));
}

void TrainedClassModel::save_onnx(const std::string& path) const {
  write_onnx(path, network, metadata(*this), loss == TrainingLoss::cross_entropy ? "logits" : "scores");
}

TrainedClassModel TrainedClassModel::load(const std::string& path) {
  const nlohmann::json json =
      read_description(read_safetensors_metadata(path), trained_classes_key, trained_classes_format, path);
  const FieldReader fields(json, path);
  return naming_file(path, [&] { return model_of(fields, path); });
}

bool is_trained_class_model(const std::string& path) { return has_metadata(path, trained_classes_key); }

ClassPredictions predict(const TrainedClassModel& model, const NewRows& rows) {
  const auto m = static_cast<Index>(rows.ids.size());
  ClassPredictions out{
      .ids = rows.ids,
      .most_probable = Labels(rows.ids.size(), -1),
      .probabilities = Matrix::Constant(m, model.network.outputs(), std::numeric_limits<double>::quiet_NaN()),
      .warnings = rows.warnings};
  if (rows.X.rows() == 0) return out;
  const Matrix scores = model.network.scores(raw_features(model.recipe, rows.X));
  const Labels largest = most_probable(scores);
  const bool logits = model.loss == TrainingLoss::cross_entropy;
  const Matrix probabilities = logits ? softmax(scores) : Matrix();
  for (std::size_t i = 0; i < rows.row.size(); ++i) {
    out.most_probable[static_cast<std::size_t>(rows.row[i])] = largest[i];
    if (logits) out.probabilities.row(rows.row[i]) = probabilities.row(static_cast<Index>(i));
  }
  return out;
}

}  // namespace gradflow
