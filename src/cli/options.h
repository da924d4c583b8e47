#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <utility>
#include <vector>

#include "cli/settings.h"

namespace gradflow::cli {

/// The one option table: each function adds a group of options to a command. Numbers are checked while they
/// are parsed (InputError "--level 2: must be between 0 and 1").
void add_data_options(CLI::App& command, Settings& settings);  ///< a table or arrays, and how to encode them
void add_network_options(CLI::App& command, Settings& settings);   ///< network, kernel or matrix
void add_test_options(CLI::App& command, Settings& settings);      ///< the test and the fixed effects
void add_stopping_options(CLI::App& command, Settings& settings);  ///< rules, paths and steps
/// What the likelihood chooses; `predicts`: also how predictions know of it.
void add_choice_options(CLI::App& command, Settings& settings, bool predicts);
void add_noise_options(CLI::App& command, Settings& settings);        ///< of stop and fit: the noise model
void add_computation_options(CLI::App& command, Settings& settings);  ///< engine, memory, checkpoint
void add_rules_option(CLI::App& command, Settings& settings);         ///< all rules or one
void add_new_row_options(CLI::App& command, Settings& settings);     ///< the model and new rows, of `predict`
void add_cross_option(CLI::App& command, Settings& settings);        ///< new rows, of `kernel`
void add_simulation_options(CLI::App& command, Settings& settings);  ///< what `simulate` draws
void add_file_output(CLI::App& command, Settings& settings, const std::string& what, bool required);
void add_report_options(CLI::App& command, Settings& settings);  ///< what `report` is of, and its figures
void add_output_options(CLI::App& command, Settings& settings);  ///< --json, --quiet, --threads

/// Every option of the command with the value in effect, in the order of the help text.
std::vector<std::pair<std::string, std::string>> options_in_effect(const CLI::App& command);

/// The command's option nearest to an unknown one, or "".
std::string nearest_option(const CLI::App& command, const std::string& unknown);

}  // namespace gradflow::cli
