#pragma once

#include <CLI/CLI.hpp>

#include "cli/settings.h"

namespace gradflow::cli {

/// The tests of `gradflow test` beside the score test, as a group of options.
void add_further_test_options(CLI::App& command, Settings& settings);

}  // namespace gradflow::cli
