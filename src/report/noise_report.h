#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "gradflow/model/job.h"

namespace gradflow {

/// The noise model, and the rows that it made light; empty where none was asked for.
std::string noise_text(const JobResult& result);

/// The same, complete; null where none was asked for.
nlohmann::ordered_json noise_json(const JobResult& result);

/// Standard deviation of the noise of a row of weight 1 (of Student's t, not its scale), at the mean of the
/// noise model's columns.
double noise_standard_deviation(const JobResult& result);

}  // namespace gradflow
