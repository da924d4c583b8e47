#pragma once

#include <string>
#include <vector>

#include "cli/settings.h"
#include "gradflow/data/dataset.h"

namespace gradflow::cli {

/// A table, or an array where the name says so, through a model's encoding.
NewRows encode_file(const Recipe& recipe, const std::string& path, const Settings& settings);

/// The new rows of `predict`: a table or --features. Throws InputError for both or none.
NewRows read_new_rows(const Settings& settings, const Recipe& recipe);

/// Warnings on standard error.
void warn(const std::vector<std::string>& warnings);

}  // namespace gradflow::cli
