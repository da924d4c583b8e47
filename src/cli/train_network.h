#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/settings.h"
#include "gradflow/data/class_dataset.h"
#include "gradflow/inference/left_out.h"
#include "gradflow/model/job.h"
#include "gradflow/training/trainer.h"

namespace gradflow::cli {

/// --precision of a training.
Precision training_precision(const Settings& settings);

/// The network of --network, --weights, --center and --precision for these data. Throws InputError where it
/// could not be written to the files asked for.
std::unique_ptr<TrainableNetwork> make_network(const Settings& settings, const Job& job, const Dataset& data);

/// That of --classes, with an output for each class: of --network, --weights, --center and
/// --precision.
std::unique_ptr<TrainableNetwork> make_class_network(const Settings& settings, const Job& job,
                                                     const ClassDataset& data);

/// Fixed effects of a training: an intercept where asked for, then the covariates.
Matrix design_of(const Matrix& covariates, bool intercept);

/// --held-out through the encoding of the rows trained on, with an intercept beside its covariates where
/// asked for; no rows where the option is not given. What was left out is added to the warnings.
TrainingSet held_out_rows(const Settings& settings, const Recipe& recipe, bool intercept,
                          const std::vector<std::string>& classes, std::vector<std::string>& warnings);

/// Whether a module was put before those trained (training/export.h): a sentence, or nothing.
std::string standardising_note(const LayeredNetwork& trained, const LayeredNetwork& written);

/// Writes -o and --onnx, as far as given. What the user must know of them, or nothing.
std::string write_network(const Settings& settings, const Job& job, const Dataset& data,
                          const TrainableNetwork& network, double intercept, const LeftOutErrors& errors);

}  // namespace gradflow::cli
