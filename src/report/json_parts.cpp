#include "report/json_parts.h"

#include <cmath>

#include "gradflow/model/version.h"

namespace gradflow {

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

void add_predictions(Json& json, const Predictions& predictions) {
  json["ids"] = predictions.ids;
  json["mean"] = numbers(predictions.mean);
  json["sd"] = numbers(predictions.sd);
  json["lower"] = numbers(predictions.lower);
  json["upper"] = numbers(predictions.upper);
  json["warnings"] = predictions.warnings;
}

std::string dump(const Json& document) {
  return document.dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
}

Json numbers(const Vector& values) {
  Json list = Json::array();
  for (const double value : values) list.push_back(number(value));
  return list;
}

Json interval_json(const Interval& interval) {
  return {{"lower", number(interval.lower)},
          {"upper", number(interval.upper)},
          {"level", number(interval.level)}};
}

Json path_json(const Path& path) {
  Json json = {{"kind", to_string(path.kind)}, {"time", number(path.time)}};
  if (path.kind == PathKind::decay) json["decay"] = number(path.decay);
  if (path.kind == PathKind::descent) json["learning_rate"] = number(path.learning_rate);
  if (path.kind == PathKind::implicit) json["iterations"] = path.iterations;
  return json;
}

Json record_json(const RunRecord& record) {
  Json options = Json::object();
  for (const auto& [name, value] : record.options) options[name] = value;
  return {{"gradflow", version},           {"command", record.command}, {"argv", record.arguments},
          {"options", std::move(options)}, {"seed", record.seed},       {"threads", record.threads}};
}

Json data_json(const DataReport& report) {
  return {{"rows_read", report.rows_read},
          {"rows_used", report.rows_used},
          {"dropped_rows", report.dropped_rows},
          {"missing_cells", report.missing_cells},
          {"removed_constant", report.removed_constant},
          {"duplicate_rows", report.duplicate_rows},
          {"duplicate_inputs", report.duplicate_inputs},
          {"dropped_copies", report.dropped_copies},
          {"merged_rows", report.merged_rows},
          {"pure_error_sd", number(report.pure_error_sd)},
          {"warnings", report.warnings}};
}

Json seconds_json(const std::vector<std::pair<std::string, double>>& stages) {
  Json json = Json::object();
  for (const auto& [stage, seconds] : stages) json[stage] = seconds;
  return json;
}

}  // namespace gradflow
