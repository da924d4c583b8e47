#pragma once

#include <string>
#include <vector>

#include "cli/settings.h"
#include "gradflow/data/dataset.h"
#include "gradflow/model/fitted_model.h"

namespace gradflow::cli {

/// A table, or an array where the name says so, through a model's encoding.
NewRows encode_file(const Recipe& recipe, const std::string& path, const Settings& settings);

/// The new rows of `predict`: a table or --features. Throws InputError for both or none.
NewRows read_new_rows(const Settings& settings, const Recipe& recipe);

/// id, mean, sd, lower, upper; NA for what is not known.
std::string predictions_csv(const Predictions& predictions);

/// Predictions as CSV to -o, or to standard output; with a file, the statements and how many rows there are.
void give_predictions(const Settings& settings, const NewRows& rows, const std::string& csv,
                      const std::vector<std::string>& statements = {});

/// Warnings on standard error.
void warn(const std::vector<std::string>& warnings);

}  // namespace gradflow::cli
