#pragma once

#include <string>
#include <vector>

#include "gradflow/data/dataset.h"
#include "gradflow/inference/left_out.h"
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
  /// |y - mean| of rows that networks trained without their folds predicted (stop cross_validation), in units
  /// of the response; unknown otherwise.
  LeftOutErrors errors{};

  /// Throws InputError "cannot write ..." and for recipes with covariates, which g does not take.
  void save(const std::string& path) const;
  void save_onnx(const std::string& path) const;
  /// Throws InputError naming the file: no safetensors file, not of `gradflow train`, damaged.
  static TrainedModel load(const std::string& path);
};

/// From a network that was trained on the recipe's encoded features and response; intercept in units of the
/// encoded response. Throws InputError for a recipe with covariates.
TrainedModel make_trained_model(const Recipe& recipe, const DenseNetwork& network, double intercept,
                                LeftOutErrors errors = {});

/// |y - left_out| of rows in encoded units, in those of the response.
LeftOutErrors left_out_errors(const Recipe& recipe, const Vector& y, const Vector& left_out, int folds);

/// Whether the file is one that TrainedModel::save() wrote.
bool is_trained_model(const std::string& path);

/// The mean for each row of the input, NaN where a row was not predicted. Where the errors of rows left out
/// are known, an interval of `level` for a new response: mean -+ their quantile, the same everywhere
/// (IntervalKind::cross_validated). A trained network says nothing else of its errors: all else is NaN.
/// Throws InputError for a level outside (0, 1).
Predictions predict(const TrainedModel& model, const NewRows& rows, double level = 0.95);

}  // namespace gradflow
