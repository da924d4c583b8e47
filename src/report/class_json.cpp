#include "gradflow/report/class_report.h"
#include "report/json_parts.h"

namespace gradflow {
namespace {

Json test_json(const ClassResult& result) {
  const ClassTest& test = result.test;
  Json json = {{"outcome", to_string(test.outcome)},
               {"reason", test.reason},
               {"kernel", result.test_kernel},
               {"statistic", number(test.statistic)},
               {"method", to_string(test.method)},
               {"p_value", number(test.p_value)},
               {"log10_p_value", number(test.log10_p_value)},
               {"standard_error", number(test.standard_error)},
               {"log10_p_value_asymptotic", number(test.log10_p_value_asymptotic)},
               {"permutations", test.resampled.draws},
               {"exceedances", test.resampled.exceedances},
               {"upper_bound", test.resampled.upper_bound},
               {"class_statistic", numbers(test.class_statistic)},
               {"class_p_value", numbers(test.class_p_value)}};
  return json;
}

Json scores_json(const ClassScores& scores) {
  return {{"accuracy", number(scores.accuracy)},
          {"log_loss", number(scores.log_loss)},
          {"brier", number(scores.brier)},
          {"calibration_error", number(scores.calibration_error)}};
}

Json reliability_json(const Reliability& reliability) {
  Json bins = Json::array();
  for (const ReliabilityBin& bin : reliability.bins)
    bins.push_back({{"count", bin.count},
                    {"predicted", number(bin.predicted)},
                    {"observed", number(bin.observed)},
                    {"interval", interval_json(bin.interval)}});
  return {{"calibration_error", number(reliability.calibration_error)}, {"bins", std::move(bins)}};
}

Json classes_json(const ClassResult& result) {
  std::vector<Index> count(result.data.classes.size(), 0);
  for (const Index label : result.data.labels) ++count[static_cast<std::size_t>(label)];
  Json list = Json::array();
  for (std::size_t c = 0; c < count.size(); ++c)
    list.push_back({{"name", result.data.classes[c]}, {"rows", count[c]}});
  return list;
}

Json fit_json(const ClassFit& fit) {
  return {{"method", to_string(fit.method)},
          {"outcome", to_string(fit.outcome)},
          {"reason", fit.reason},
          {"tau", number(fit.tau)},
          {"interval", interval_json(fit.interval)},
          {"criterion", number(fit.criterion)},
          {"criterion_at_zero", number(fit.criterion_at_zero)},
          {"latent_variance", number(fit.latent_variance)},
          {"evaluations", fit.evaluations},
          {"map",
           {{"outcome", to_string(fit.map.outcome)},
            {"reason", fit.map.reason},
            {"slope", numbers(fit.map.slope)},
            {"offset", numbers(fit.map.offset)}}}};
}

Json candidates_json(const ClassResult& result) {
  Json list = Json::array();
  for (const KernelCandidate& candidate : result.candidates)
    list.push_back({{"kernel", candidate.text},
                    {"outcome", to_string(candidate.outcome)},
                    {"criterion", number(candidate.criterion)},
                    {"chosen", candidate.chosen}});
  return list;
}

Json names_of(const std::vector<EncodedColumn>& columns) {
  Json names = Json::array();
  for (const EncodedColumn& column : columns) names.push_back(column.name);
  return names;
}

}  // namespace

std::string json_class_report(const RunRecord& record, const ClassJob& job, const ClassResult& result) {
  Json json = record_json(record);
  const Dataset& data = result.data.data;
  json["outcome"] = to_string(result.fit.outcome);
  json["reason"] = result.fit.reason;
  json["data"] = data_json(data.report);
  json["encoding"] = {{"response", data.recipe.options.target}, {"features", names_of(data.recipe.features)}};
  json["operator"] = {{"kind", to_string(result.kernel->kind())},
                      {"text", result.kernel->text()},
                      {"description", result.operator_description}};
  json["n"] = data.X.rows();
  json["d"] = data.X.cols();
  json["classes"] = classes_json(result);
  json["test"] = test_json(result);
  json["fit"] = fit_json(result.fit);
  json["chosen"] = {{"rule", to_string(result.fit.method)},
                    {"time", number(result.fit.path.time)},
                    {"path", path_json(result.fit.path)},
                    {"flow_time", number(result.flow_time)}};
  json["candidates"] = candidates_json(result);
  json["leave_one_out"] = scores_json(result.scores);
  json["leave_one_out"]["calibration_error_if_calibrated"] = {
      {"mean", number(result.calibrated.mean)},
      {"standard_error", number(result.calibrated.standard_error)},
      {"quantile", number(result.calibrated.quantile)},
      {"level", number(job.level)}};
  json["class_frequencies"] = scores_json(result.frequencies);
  json["reliability"] = reliability_json(result.reliability);
  json["reliability"]["of_class"] = Json::array();
  for (const Reliability& one : result.of_class)
    json["reliability"]["of_class"].push_back(reliability_json(one));
  json["confusion"] = result.confusion;
  json["warnings"] = result.warnings;
  json["seconds"] = seconds_json(result.seconds);
  return dump(json);
}

std::string json_class_prediction_report(const RunRecord& record, const ClassModel& model,
                                         const ClassPredictions& predictions) {
  Json json = record_json(record);
  json["model"] = {{"gradflow", model.gradflow_version},
                   {"operator", model.kernel->text()},
                   {"n", model.rows()},
                   {"method", to_string(model.fit.method)},
                   {"path", path_json(model.fit.path)},
                   {"tau", number(model.fit.tau)},
                   {"log10_p_value", number(model.log10_p_value)},
                   {"warnings", model.warnings}};
  add_class_predictions(json, model.classes, predictions);
  return dump(json);
}

void add_class_predictions(Json& json, const std::vector<std::string>& classes,
                           const ClassPredictions& predictions) {
  json["classes"] = classes;
  json["ids"] = predictions.ids;
  json["class"] = Json::array();
  for (const Index label : predictions.most_probable)
    json["class"].push_back(label < 0 ? Json(nullptr) : Json(classes[static_cast<std::size_t>(label)]));
  json["probabilities"] = Json::array();
  for (Index c = 0; c < predictions.probabilities.cols(); ++c)
    json["probabilities"].push_back(numbers(predictions.probabilities.col(c)));
  json["warnings"] = predictions.warnings;
}

}  // namespace gradflow
