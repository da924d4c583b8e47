#include "gradflow/report/json_report.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "gradflow/model/summary.h"
#include "report/choice_report.h"
#include "report/detail_json.h"
#include "report/further_tests.h"
#include "report/json_parts.h"
#include "report/noise_report.h"

namespace gradflow {
namespace {

Json encoding_json(const Dataset& dataset) {
  Json features = Json::array(), covariates = Json::array();
  for (const EncodedColumn& column : dataset.recipe.features) features.push_back(column.name);
  for (const EncodedColumn& column : dataset.recipe.covariates) covariates.push_back(column.name);
  return {{"response", dataset.recipe.options.target},
          {"features", std::move(features)},
          {"covariates", std::move(covariates)},
          {"response_center", number(dataset.recipe.target_center)},
          {"response_scale", number(dataset.recipe.target_scale)}};
}

Json operator_json(const Job& job, const PreparedJob& prepared) {
  Json json = {{"kind", to_string(job.operator_spec.kind)},
               {"text", prepared.kernel ? prepared.kernel->text() : job.operator_spec.text()},
               {"description", prepared.H->description()},
               {"weights", job.operator_spec.weights},
               {"trace", number(prepared.H->trace())}};
  const KernelSum* kernel =
      prepared.kernel && prepared.kernel->kernel() ? &*prepared.kernel->kernel() : nullptr;
  if (kernel == nullptr || !is_scaled(*kernel)) return json;
  json["relevances"] = Json::array();  // of every term, none where it has none
  for (const KernelTerm& term : kernel->terms) json["relevances"].push_back(numbers(term.relevance));
  return json;
}

Json fit_json(const RemlFit& fit) {
  return {{"outcome", to_string(fit.outcome)},
          {"reason", fit.reason},
          {"path", path_json(fit.path)},
          {"time", number(fit.path.time)},
          {"interval", interval_json(fit.interval)},
          {"noise_variance", number(fit.noise_variance)},
          {"effective_dof", number(fit.effective_dof)},
          {"signal_share", number(fit.signal_share)},
          {"criterion", number(fit.criterion)},
          {"criterion_at_zero", number(fit.criterion_at_zero)},
          {"likelihood_ratio", number(fit.likelihood_ratio())},
          {"largest_time_searched", number(fit.upper_bound)},
          {"evaluations", fit.evaluations}};
}

Json profile_json(const ProfileInterval& profile) {
  return {{"outcome", to_string(profile.outcome)},
          {"reason", profile.reason},
          {"estimate", number(profile.estimate)},
          {"interval", interval_json(profile.interval)}};
}

Json components_json(const ProfileIntervals& components) {
  return {{"time", profile_json(components.time)},
          {"noise_variance", profile_json(components.noise_variance)},
          {"signal_share", profile_json(components.signal_share)},
          {"effective_dof", profile_json(components.effective_dof)}};
}

Json calibration_json(const ErrorCalibration& calibration) {
  Json json = {{"rows", calibration.rows},
               {"sampled_from", calibration.sampled_from},
               {"factor", number(calibration.factor)},
               {"gain", number(calibration.gain)},
               {"normal_probability", number(calibration.normal_probability)},
               {"reason", calibration.reason},
               {"members", Json::array()}};
  if (!calibration.known()) return json;
  const ScaleMixture& shape = calibration.shape;
  for (Index k = 0; k < shape.weights.size(); ++k)
    json["members"].push_back({{"weight", number(shape.weights(k))}, {"scale", number(shape.scales(k))}});
  return json;
}

Json mixture_json(const MixtureCalibration& mixture) {
  return {{"folds", mixture.folds},
          {"own_factor", number(mixture.own_factor)},
          {"left_out_factor", number(mixture.left_out_factor)},
          {"scores", calibration_json(mixture.scores)}};
}

Json residuals_json(const ResidualCheck& check) {
  return {{"outcome", to_string(check.outcome)},
          {"anderson_darling", number(check.anderson_darling)},
          {"anderson_darling_p_value", number(check.anderson_darling_p_value)},
          {"skewness", number(check.skewness)},
          {"skewness_p_value", number(check.skewness_p_value)},
          {"kurtosis", number(check.kurtosis)},
          {"kurtosis_p_value", number(check.kurtosis_p_value)},
          {"lag_one_correlation", number(check.lag_one)},
          {"lag_one_p_value", number(check.lag_one_p_value)},
          {"draws", check.draws},
          {"departs_from_normal", check.departs_from_normal},
          {"depends_on_order", check.depends_on_order},
          {"normality", check.normality},
          {"dependence", check.dependence}};
}

Json rules_json(const Analysis& analysis) {
  Json rules = Json::object();
  for (const StoppingRule& rule : analysis.rules)
    rules[rule.name] = {{"outcome", to_string(rule.outcome)},
                        {"reason", rule.reason},
                        {"time", number(rule.time)},
                        {"log_time_standard_error", number(rule.log_time_standard_error)},
                        {"steps", number(rule.steps)},
                        {"interval", interval_json(rule.interval)},
                        {"effective_dof", number(rule.effective_dof)},
                        {"estimated_rmse", number(rule.estimated_rmse)},
                        {"loo_rmse", number(rule.loo_rmse)}};
  return rules;
}

Json fixed_json(const JobResult& result) {
  const std::vector<FixedCoefficient> coefficients = raw_coefficients(result.prepared, result.analysis);
  Json list = Json::array();
  const std::vector<std::string>& names = result.analysis.fixed.names();
  for (std::size_t i = 0; i < names.size(); ++i)
    list.push_back(
        {{"name", names[i]},
         {"coefficient", i < coefficients.size() ? number(coefficients[i].value) : Json(nullptr)}});
  return list;
}

Json plan_json(const PreparedJob& prepared) {
  const Plan& plan = prepared.plan;
  return {{"engine", to_string(plan.engine)},           {"text", plan.text(prepared.dataset.y.size())},
          {"memory_bytes", number(plan.memory)},        {"available_bytes", number(plan.available)},
          {"expected_products", number(plan.products)}, {"expected_flops", number(plan.flops)},
          {"expected_seconds", number(plan.seconds)}};
}

Json krylov_json(const Analysis& analysis) {
  if (!analysis.krylov) return nullptr;
  const KrylovReport& krylov = *analysis.krylov;
  return {{"steps", krylov.steps},
          {"invariant", krylov.exhausted},
          {"flow_time_lower", number(krylov.bracket.lower)},
          {"flow_time_upper", number(krylov.bracket.upper)},
          {"fit_error", number(krylov.fit_error)},
          {"eigenpairs", krylov.eigenpairs},
          {"deflation_vectors", krylov.deflation_vectors},
          {"probes", krylov.probes},
          {"probe_steps", krylov.probe_steps},
          {"moment_probes", krylov.moment_probes},
          {"resolved_shrinkage", number(krylov.resolved_shrinkage)},
          {"decision_movement", number(krylov.decision_movement)},
          {"products", krylov.products}};
}

Json spectrum_json(const Analysis& analysis) {
  if (analysis.krylov)
    return {{"largest", number(analysis.data.values.size() > 0 ? analysis.data.values.maxCoeff() : 0.0)},
            {"trace", number(analysis.data.trace_of_M())}};
  const SpectrumSummary summary = summarise(analysis.spectrum.values);
  return {{"largest", number(summary.largest)},
          {"smallest", number(summary.smallest)},
          {"trace", number(analysis.spectrum.trace)},
          {"condition", number(summary.condition)},
          {"effective_rank", number(summary.effective_rank)},
          {"clipped", analysis.spectrum.clipped},
          {"below_rounding", analysis.spectrum.below_rounding},
          {"most_negative", number(analysis.spectrum.most_negative)},
          {"correlation_at_flow_root", number(analysis.decorrelation.correlation)}};
}

Json chosen_json(const Analysis& analysis) {
  const StoppingRule& rule = analysis.rule();
  return {{"rule", rule.name},
          {"time", number(rule.time)},
          {"steps", number(rule.steps)},
          {"interval", interval_json(rule.interval)},
          {"path", path_json(analysis.chosen_path)},
          {"outcome", to_string(rule.outcome)},
          {"reason", rule.reason}};
}

void add_data(Json& json, const Job& job, const PreparedJob& prepared) {
  json["data"] = data_json(prepared.dataset.report);
  json["encoding"] = encoding_json(prepared.dataset);
  json["operator"] = operator_json(job, prepared);
  json["n"] = prepared.dataset.y.size();
  json["d"] = prepared.dataset.X.cols();
}

}  // namespace

std::string json_report(const RunRecord& record, const Job& job, const JobResult& result) {
  const Analysis& analysis = result.analysis;
  Json json = record_json(record);
  json["outcome"] = to_string(analysis.rule().outcome);
  json["reason"] = analysis.rule().reason;
  add_data(json, job, result.prepared);
  json["N"] = analysis.fixed.residual_dimension();
  json["test"] = json_score_test(analysis.test);
  if (result.prepared.choice) json["test"]["operator"] = job.operator_spec.text();
  json["choice"] = choice_json(result.prepared);
  json["noise"] = noise_json(result);
  json["rules"] = rules_json(analysis);
  json["chosen"] = chosen_json(analysis);
  json["noise_variance"] = number(analysis.noise_variance);
  json["effective_dof"] = number(analysis.effective_dof);
  json["signal_share"] = number(analysis.signal_share);
  json["fixed_effects"] = fixed_json(result);
  json["spectrum"] = spectrum_json(analysis);
  json["plan"] = plan_json(result.prepared);
  json["krylov"] = krylov_json(analysis);
  json["fits"] = {{"ridge", fit_json(analysis.ridge)},
                  {"flow", fit_json(analysis.flow)},
                  {"path", fit_json(analysis.path)}};
  json["variance_components"] = components_json(analysis.components);
  json["residual_check"] = residuals_json(analysis.residuals);
  json["error_calibration"] = calibration_json(result.calibration);
  std::vector<std::string> warnings = result.prepared.dataset.report.warnings;
  warnings.insert(warnings.end(), analysis.warnings.begin(), analysis.warnings.end());
  json["warnings"] = warnings;
  json["seconds"] = seconds_json(result.prepared.seconds);
  for (const auto& [stage, seconds] : analysis.seconds) json["seconds"][stage] = seconds;
  json["response_sd"] = number(response_sd(result.prepared.observations));
  add_detail(json, run_detail(job, result));
  return dump(json);
}

std::string run_for_model(const std::string& document) {
  Json json = Json::parse(document);
  json.erase("seconds");
  json.erase("threads");
  if (json.contains("options")) json["options"].erase("threads");
  if (json.contains("plan"))
    for (const char* moment : {"text", "available_bytes", "expected_seconds"}) json["plan"].erase(moment);
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string json_test_report(const RunRecord& record, const Job& job, const PreparedJob& prepared,
                             const ScoreTest& test, const FurtherTests& further) {
  Json json = record_json(record);
  json["outcome"] = to_string(test.outcome);
  json["reason"] = test.reason;
  add_data(json, job, prepared);
  json["test"] = json_score_test(test);
  add_further_tests(json, further);
  json["plan"] = plan_json(prepared);
  json["warnings"] = prepared.dataset.report.warnings;
  json["seconds"] = seconds_json(prepared.seconds);
  return dump(json);
}

std::string json_prediction_report(const RunRecord& record, const FittedModel& model,
                                   const Predictions& predictions) {
  Json json = record_json(record);
  json["model"] = {{"gradflow", model.gradflow_version},
                   {"operator", model.operator_text},
                   {"n", model.rows()},
                   {"rule", model.rule},
                   {"path", path_json(model.path)},
                   {"tau", number(model.tau)},
                   {"ridge_variance", number(model.ridge_variance)},
                   {"level", model.level},
                   {"fits", model.others.size() + 1},
                   {"choice_folds", left_out_json(model.left_out)},
                   {"error_calibration", calibration_json(model.calibration)},
                   {"mixture_calibration", mixture_json(model.mixture_calibration)},
                   {"warnings", model.warnings}};
  add_predictions(json, predictions);
  json["interval"] = to_string(predictions.interval);
  json["sd_factor"] = number(predictions.widening);
  json["statements"] = predictions.statements;
  return dump(json);
}

std::string json_kernel_report(const RunRecord& record, const DataReport& data,
                               const std::string& description, Index rows, Index cols) {
  Json json = record_json(record);
  json["data"] = data_json(data);
  json["operator"] = {{"description", description}};
  json["shape"] = {rows, cols};
  return dump(json);
}

std::string json_simulation_report(const RunRecord& record, const SimulationOptions& options,
                                   const SimulatedData& data) {
  Json json = record_json(record);
  json["function"] = {{"name", to_string(options.function)}, {"formula", formula(options.function)}};
  if (options.function == TestFunction::model) {
    json["function"]["kernel"] = options.operator_spec.text();
    json["function"]["tau"] = number(data.tau);
  }
  json["shape"] = {data.X.rows(), data.X.cols()};
  json["noise"] = {{"kind", to_string(options.noise_kind)}, {"sd", number(data.noise)}};
  json["signal_to_noise"] = number(data.signal_to_noise);
  json["replicate"] = options.replicate;
  return dump(json);
}

}  // namespace gradflow
