#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "gradflow/data/dataset.h"
#include "gradflow/inference/outcome.h"
#include "gradflow/inference/path.h"
#include "gradflow/model/class_model.h"
#include "gradflow/model/fitted_model.h"
#include "gradflow/report/run_record.h"

/// What the JSON documents have in common.
namespace gradflow {

using Json = nlohmann::ordered_json;

Json number(double value);  ///< null unless finite
Json numbers(const Vector& values);
Json interval_json(const Interval& interval);
Json path_json(const Path& path);
Json record_json(const RunRecord& record);
Json data_json(const DataReport& report);
Json seconds_json(const std::vector<std::pair<std::string, double>>& stages);
void add_predictions(Json& document, const Predictions& predictions);
void add_class_predictions(Json& document, const std::vector<std::string>& classes,
                           const ClassPredictions& predictions);
std::string dump(const Json& document);  ///< indented, ending in a line end

}  // namespace gradflow
