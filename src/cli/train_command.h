#pragma once

#include <CLI/CLI.hpp>

#include "cli/commands.h"

namespace gradflow::cli {

/// Network, optimiser, stop and output options of `train`.
void add_training_options(CLI::App& command, Settings& settings);

/// Exit codes as commands.h; 3 also when the training diverged, with the last good weights written.
int train_command(Invocation& invocation);

/// `predict` with a file of `train`: id, mean.
int predict_trained(Invocation& invocation);

}  // namespace gradflow::cli
