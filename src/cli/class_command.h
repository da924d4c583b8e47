#pragma once

#include <CLI/CLI.hpp>

#include "cli/commands.h"

namespace gradflow::cli {

/// --classes, --method and --kernel-grid.
void add_class_options(CLI::App& command, Settings& settings);

/// Throws InputError for an option on the command line that has no meaning for classes, or only for them.
void check_class_options(const CLI::App& command, const Settings& settings);

/// `test`, `stop` and `fit` (record.command says which) with --classes. Exit codes as commands.h.
int class_command(Invocation& invocation);

/// `predict` of a model of classes: id, class, p_CLASS, ...
int predict_classes(Invocation& invocation);

}  // namespace gradflow::cli
