#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "gradflow/model/job.h"

namespace gradflow {

/// What the likelihood chose, and from what: a table of the candidates, the relevances of the features, the
/// transform. Empty where nothing was left to it and the response is not transformed.
std::string choice_text(const PreparedJob& prepared);

/// The same, complete; null where nothing was chosen.
nlohmann::ordered_json choice_json(const PreparedJob& prepared);

}  // namespace gradflow
