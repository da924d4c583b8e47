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

constexpr int format_version = 1;

std::map<std::string, std::string> metadata(const TrainedClassModel& model) {
  const nlohmann::ordered_json json{{"format_version", format_version},
                                    {"gradflow_version", version},
                                    {"network", to_string(model.network.architecture)},
                                    {"loss", to_string(model.loss)},
                                    {"classes", model.classes},
                                    {"recipe", to_json(model.recipe)}};
  return {{trained_classes_key, json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)}};
}

}  // namespace

TrainedClassModel make_trained_class_model(const ClassDataset& data, const TrainableNetwork& network,
                                           TrainingLoss loss, const Vector& intercept) {
  const Recipe& recipe = data.data.recipe;
  return {recipe, data.classes, loss,
          class_network(network, input_centers(recipe), input_scales(recipe), intercept)};
}

void TrainedClassModel::save(const std::string& path) const {
  write_state_dict(path, network.parameters, metadata(*this));
}

void TrainedClassModel::save_onnx(const std::string& path) const {
  write_onnx(path, network.architecture.activation, network.parameters,
             loss == TrainingLoss::cross_entropy ? "logits" : "scores", metadata(*this));
}

TrainedClassModel TrainedClassModel::load(const std::string& path) {
  TensorFile file = read_safetensors(path);
  const nlohmann::json json = read_description(file.metadata, trained_classes_key, format_version, path);
  const FieldReader fields(json, path);
  TrainedClassModel model;
  const TensorReader tensors(file, path);
  naming_file(path, tensors, [&] {
    model.recipe = recipe_from(fields.object("recipe"));
    model.classes = fields.texts("classes");
    model.loss = parse_training_loss(fields.text("loss"));
    model.network = class_network_from(file, parse_architecture(fields.text("network")), path);
  });
  if (model.network.outputs() != static_cast<Index>(model.classes.size()) || model.classes.size() < 2)
    fields.fail("classes", "as many names as the network has outputs, at least 2");
  if (model.network.inputs() != static_cast<Index>(model.recipe.features.size()))
    throw InputError(fmt::format("{}: damaged gradflow model: {} features for {} inputs", path,
                                 model.recipe.features.size(), model.network.inputs()));
  return model;
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
