#include "gradflow/model/trained_layers.h"

#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/training/export.h"
#include "model/model_tensors.h"
#include "model/trained_header.h"

namespace gradflow {

TrainedLayers make_trained_layers(const Recipe& recipe, const LayeredNetwork& network, double intercept,
                                  LeftOutErrors errors) {
  if (!recipe.covariates.empty())
    throw InputError(
        "covariates are fitted beside the network, whose weights alone do not predict: leave them out");
  return {recipe,
          in_raw_units(network, input_centers(recipe), input_scales(recipe), recipe.target_center,
                       recipe.target_scale, Vector::Constant(1, intercept)),
          std::move(errors)};
}

void TrainedLayers::save(const std::string& path) const {
  write_state_dict(path, network, trained_metadata(recipe, network.text(), errors));
}

void TrainedLayers::save_onnx(const std::string& path) const {
  write_onnx(path, network, trained_metadata(recipe, network.text(), errors));
}

TrainedLayers TrainedLayers::load(const std::string& path) {
  TrainedHeader header = read_trained_header(path);
  if (!is_layered_text(header.network))
    throw InputError(fmt::format("'{}' is of a dense network, '{}'", path, header.network));
  const auto inputs = static_cast<Index>(header.recipe.features.size());
  LayeredNetwork network = naming_file(path, [&] {
    return LayeredNetwork::from_file(path, parse_layered_architecture(header.network), inputs);
  });
  return {std::move(header.recipe), std::move(network), std::move(header.errors)};
}

bool is_trained_layers(const std::string& path) {
  return is_trained_model(path) && is_layered_text(read_trained_header(path).network);
}

Predictions predict(const TrainedLayers& model, const NewRows& rows, double level) {
  return predict_trained(model.recipe, model.network, model.errors, rows, level);
}

}  // namespace gradflow
