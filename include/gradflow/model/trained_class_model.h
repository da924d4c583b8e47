#pragma once

#include <string>
#include <vector>

#include "gradflow/data/class_dataset.h"
#include "gradflow/model/class_model.h"
#include "gradflow/network/layered_network.h"
#include "gradflow/training/trainable.h"
#include "gradflow/training/trainer.h"

namespace gradflow {

/// A network of K scores trained on classes, as a function of features in their own units. Its file is a
/// PyTorch state_dict (training/export.h) whose metadata say how a table becomes features and what the
/// classes are called; the ONNX file has the output "logits", of squared loss "scores".
///
///     cross_entropy    probabilities softmax(scores)
///     squared losses   the largest score says the class. Scores are fits of the indicators: they sum to one
///                      only where the network's own start did to zero, may lie outside [0, 1], and no map to
///                      probabilities was fitted on rows left out (which gradflow fit --classes does):
///                      probabilities are NaN
struct TrainedClassModel {
  Recipe recipe;
  std::vector<std::string> classes;  ///< K names
  TrainingLoss loss = TrainingLoss::cross_entropy;
  LayeredNetwork network;  ///< of K outputs, in raw units, parameterisation standard; a dense one in layers

  /// Throws InputError "cannot write ...".
  void save(const std::string& path) const;
  void save_onnx(const std::string& path) const;
  /// Throws InputError naming the file: no safetensors file, not of `gradflow train --classes`, damaged.
  static TrainedClassModel load(const std::string& path);
};

/// From a network that was trained on the data's encoded features; intercepts K, zeros under cross-entropy.
/// Throws InputError as TrainableNetwork::layered().
TrainedClassModel make_trained_class_model(const ClassDataset& data, const TrainableNetwork& network,
                                           TrainingLoss loss, const Vector& intercept);

/// Whether the file is one that TrainedClassModel::save() wrote; reads its header alone.
bool is_trained_class_model(const std::string& path);

ClassPredictions predict(const TrainedClassModel& model, const NewRows& rows);

}  // namespace gradflow
