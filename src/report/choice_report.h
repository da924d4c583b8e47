#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "gradflow/model/job.h"

namespace gradflow {

/// What the likelihood chose, and from what: a table of the candidates, the relevances of the features, the
/// transform. Empty where nothing was left to it and the response is not transformed.
std::string choice_text(const Job& job, const PreparedJob& prepared);

/// The same, complete; null where nothing was chosen.
nlohmann::ordered_json choice_json(const PreparedJob& prepared);

/// Left-out errors of a choice repeated without folds: how many, and their root mean square; null where they
/// are not known.
nlohmann::ordered_json left_out_json(const LeftOutErrors& errors);

}  // namespace gradflow
