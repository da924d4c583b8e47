#pragma once

#include <string>

#include "cli/commands.h"
#include "gradflow/model/job.h"
#include "gradflow/report/training_report.h"

/// What `train` does alike for responses that are numbers and for classes.
namespace gradflow::cli {

/// The settings with --width, --depth and --activation, another way to say --network, as its text. Throws
/// InputError for files that cannot be written or are named twice, and for an unknown --parameterization.
Settings training_settings(const Settings& settings);
/// Throws InputError for options of `predict` that a trained network, called `what`, has no answer to.
void check_trained_prediction(const Settings& settings, const std::string& what);

/// The level of a trained network's intervals, which it has where the errors of rows left out are known.
/// Throws InputError for options of `predict` that it has no answer to.
double level_of_trained(const Settings& settings, bool errors_known);

/// What is asked of the training itself. Throws InputError for options that contradict each other.
TrainRequest make_request(const Settings& settings, Index rows);

/// Trains, with progress on the terminal.
TrainReport train_with_progress(TrainableNetwork& network, const TrainingSet& set, TrainingContext& context,
                                const Settings& settings);

/// Whether a training left weights worth writing: usable, diverged (the last good ones) or out of steps.
bool has_weights(const TrainReport& report);

/// The report to its files and the terminal; `note` is said of weights that were written. The exit code.
int give_training(Invocation& invocation, const Settings& settings, const TrainingContext& context,
                  const TrainReport& report, const std::string& note = "");

}  // namespace gradflow::cli
