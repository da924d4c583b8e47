#pragma once

#include <map>
#include <string>

#include "gradflow/model/trained_model.h"

namespace gradflow {

/// What the metadata of a file of `gradflow train` hold beside the weights.
struct TrainedHeader {
  Recipe recipe;
  std::string network;  ///< its text
  LeftOutErrors errors;
};
std::map<std::string, std::string> trained_metadata(const Recipe& recipe, const std::string& network,
                                                    const LeftOutErrors& errors);
/// Reads the file's header alone. Throws InputError as TrainedModel::load().
TrainedHeader read_trained_header(const std::string& path);

/// Those of the recipe's features, in order.
Vector input_centers(const Recipe& recipe);
Vector input_scales(const Recipe& recipe);
/// Encoded features in their own units, as a trained network takes them.
Matrix raw_features(const Recipe& recipe, const Matrix& encoded);

/// As predict() of TrainedModel.
Predictions predict_trained(const Recipe& recipe, const Network& network, const LeftOutErrors& errors,
                            const NewRows& rows, double level);

}  // namespace gradflow
