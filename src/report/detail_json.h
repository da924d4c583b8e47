#pragma once

#include "gradflow/model/run_detail.h"
#include "report/json_parts.h"

namespace gradflow {

/// Rows listed in a document; of more, evenly spaced ones and those of the largest residuals.
inline constexpr Index most_rows_in_document = 20000;

/// Adds what a report draws: curves, profiles, directions, rows, coverage, largest_residuals. Numbers to nine
/// digits.
void add_detail(Json& json, const RunDetail& detail);

}  // namespace gradflow
