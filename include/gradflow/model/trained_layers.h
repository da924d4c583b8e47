#pragma once

#include <string>

#include "gradflow/model/trained_model.h"
#include "gradflow/network/layered_network.h"

namespace gradflow {

/// A trained network of layers: what trained_model.h says of dense networks, with the modules of
/// LayeredNetwork::state_dict(). Where its first layer is not dense and the features were standardised, a
/// layer that does it comes before the others (training/export.h), so that the file needs nothing else.
struct TrainedLayers {
  Recipe recipe;           ///< without covariates
  LayeredNetwork network;  ///< in raw units, parameterisation standard, with biases
  LeftOutErrors errors{};  ///< as in TrainedModel

  /// Throws InputError "cannot write ...".
  void save(const std::string& path) const;
  void save_onnx(const std::string& path) const;
  /// Throws InputError naming the file: as TrainedModel::load(), or of a dense network.
  static TrainedLayers load(const std::string& path);
};

/// From a network that was trained on the recipe's encoded features and response; intercept in units of the
/// encoded response. Throws InputError for a recipe with covariates.
TrainedLayers make_trained_layers(const Recipe& recipe, const LayeredNetwork& network, double intercept,
                                  LeftOutErrors errors = {});

/// Whether the file is one that TrainedLayers::save() wrote.
bool is_trained_layers(const std::string& path);

Predictions predict(const TrainedLayers& model, const NewRows& rows, double level = 0.95);

}  // namespace gradflow
