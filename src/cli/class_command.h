#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "gradflow/model/class_model.h"

namespace gradflow::cli {

/// --classes, --method and --kernel-grid.
void add_class_options(CLI::App& command, Settings& settings);

/// Throws InputError for an option on the command line that has no meaning for classes, or only for them.
void check_class_options(const CLI::App& command, const Settings& settings);

/// id, class, p_NAME, ...; NA for what is not known.
std::string class_predictions_csv(const std::vector<std::string>& classes,
                                  const ClassPredictions& predictions);

/// `test`, `stop` and `fit` (record.command says which) with --classes. Exit codes as commands.h.
int class_command(Invocation& invocation);

/// `predict` of a model of classes: id, class, p_CLASS, ...
int predict_classes(Invocation& invocation);

}  // namespace gradflow::cli
