#pragma once

#include "cli/commands.h"

namespace gradflow::cli {

/// The names in --target A,B,... ; one where it names a column of the table as it stands.
std::vector<std::string> targets_of(const Settings& settings);

/// Runs `command` (test, stop, fit or train) for each target by itself: the other targets are no features of
/// it, files of its own go to NAME.TARGET.EXTENSION, and --json holds an object for each target. What one
/// target lacks stops that one only. Returns 0 where all are usable, 3 where some are not, 2 where all have
/// bad input.
int several_targets(const Invocation& invocation, const std::vector<std::string>& targets,
                    int (*command)(Invocation&));

}  // namespace gradflow::cli
