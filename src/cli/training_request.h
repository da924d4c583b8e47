#pragma once

#include <string>

#include "cli/commands.h"
#include "gradflow/report/training_report.h"

/// What `train` does alike for responses that are numbers and for classes.
namespace gradflow::cli {

/// --width, --depth and --activation are another way to say --network; the text of either.
std::string network_text(const Settings& settings);
void check_parameterization(const Settings& settings);
/// Files that cannot be written, or are named twice.
void check_outputs(const Settings& settings);

/// What is asked of the training itself. Throws InputError for options that contradict each other.
TrainRequest make_request(const Settings& settings, Index rows);

/// Trains, with progress on the terminal.
TrainReport train_with_progress(TrainableNetwork& network, const TrainingSet& set, TrainingContext& context,
                                const Settings& settings);

/// Whether a training left weights worth writing: usable, diverged (the last good ones) or out of steps.
bool has_weights(const TrainReport& report);

/// The report to its files and the terminal; `written` is said after where the weights are. The exit code.
int give_training(Invocation& invocation, const Settings& settings, const TrainingContext& context,
                  const TrainReport& report, const std::string& written = "");

}  // namespace gradflow::cli
