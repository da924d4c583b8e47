#pragma once

#include <string>
#include <vector>

#include "gradflow/data/dataset.h"
#include "gradflow/model/fitted_model.h"
#include "gradflow/network/dense_network.h"

namespace gradflow {

/// A trained network in raw units with the encoding of its features: what `gradflow train` writes.
///
///     mean(x) = g(encoded x), g from numbers and 0/1 indicators as they are to units of the response
///
/// The file is a PyTorch state_dict (training/export.h) whose metadata holds the rest.
struct TrainedModel {
  Recipe recipe;         ///< without covariates
  DenseNetwork network;  ///< g, parameterisation standard, with biases

  /// Throws InputError "cannot write ..." and for recipes with covariates, which g does not take.
  void save(const std::string& path) const;
  void save_onnx(const std::string& path) const;
  /// Throws InputError naming the file: no safetensors file, not of `gradflow train`, damaged.
  static TrainedModel load(const std::string& path);
};

/// From a network that was trained on the recipe's encoded features and response; intercept in units of the
/// encoded response. Throws InputError for a recipe with covariates.
TrainedModel make_trained_model(const Recipe& recipe, const DenseNetwork& network, double intercept);

/// Whether the file is one that TrainedModel::save() wrote.
bool is_trained_model(const std::string& path);

/// The mean for each row of the input, NaN where a row was not predicted. A trained network says nothing of
/// its errors: all else is NaN.
Predictions predict(const TrainedModel& model, const NewRows& rows);

}  // namespace gradflow
