#include "gradflow/report/training_report.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "report/format.h"
#include "report/json_parts.h"

namespace gradflow {
namespace {

std::string end_sentence(const TrainingContext& context, const TrainReport& report) {
  const TrainRequest& request = context.request;
  const std::string optimiser(to_string(request.trainer.optimiser.kind));
  if (report.outcome == Outcome::at_zero || report.planned_time == 0.0)
    return fmt::format("Not trained: rule {} stops at time 0 ({}).\n", to_string(request.stop),
                       report.reason);
  if (report.run.end == TrainingEnd::diverged) return fmt::format("Training diverged: {}.\n", report.reason);
  if (!usable(report.outcome))
    return fmt::format("No stop by {} ({}): {}.\n", to_string(request.stop), to_string(report.outcome),
                       report.reason);
  std::string text =
      fmt::format("Trained for {} of {} at learning rate {:.4g}{}", counted_text(report.run.steps, "step"),
                  optimiser, report.learning_rate, report.learning_rate_chosen ? " (chosen)" : "");
  if (!std::isnan(report.run.time))
    text += fmt::format(", flow time {}", shown_number(report.run.time));
  else if (!std::isnan(report.matched_time))
    text += fmt::format(", as far as the flow at time {}", shown_number(report.matched_time));
  return fmt::format("{} (stop {}: {}).\n", text, to_string(request.stop), report.reason);
}

// Of the rows that were given to be watched: a stop's own held-out rows are in the looks alone.
double held_out_loss(const TrainingContext& context, const TrainReport& report) {
  if (report.watch.empty() || context.request.held_out.X.rows() == 0)
    return std::numeric_limits<double>::quiet_NaN();
  return report.watch.back().held_out_loss;
}

std::string loss_sentence(const TrainingContext& context, const TrainReport& report) {
  std::string text = fmt::format("Loss ({}) {} at the start, {} now", to_string(context.request.trainer.loss),
                                 shown_number(report.start_loss), shown_number(report.loss));
  if (const auto& cross = report.cross_validation)
    text += fmt::format("; of rows left out {} (s.e. {})", shown_number(cross->loss()),
                        shown_number(cross->standard_error));
  else if (!std::isnan(report.validation_loss))
    text += fmt::format("; on the rows held out {} after {} steps", shown_number(report.validation_loss),
                        report.validation_steps);
  if (const double loss = held_out_loss(context, report); !std::isnan(loss))
    text += fmt::format("; of {} watched {}", counted_text(context.request.held_out.X.rows(), "held-out row"),
                        shown_number(loss));
  text += ".\n";
  if (const auto& gcv = report.trained_gcv)
    text += fmt::format(
        "The training has used {} of {} degrees of freedom (s.e. {}, of {}); generalised cross-validation "
        "{}.\n",
        shown_number(gcv->at_best(gcv->dof)), gcv->freedom,
        shown_number(gcv->at_best(gcv->dof_standard_error)), counted_text(gcv->twins, "twin"),
        shown_number(gcv->at_best(gcv->gcv)));
  if (std::isnan(report.accuracy)) return text;
  text += fmt::format("Accuracy {} of the training rows", shown_number(report.accuracy));
  if (!std::isnan(report.validation_accuracy))
    text += fmt::format("; {} of the rows held out, before they were trained on",
                        shown_number(report.validation_accuracy));
  return text + ".\n";
}

std::string class_table(const TrainReport& report) {
  if (report.watch.empty() || !report.watch.front().classes) return "";
  std::vector<std::vector<std::string>> rows{{"step", "accuracy", "held out", "NC1", "NC2 norms",
                                              "NC2 angles", "NC3", "NC4", "least margin", "5 %", "median",
                                              ""}};
  for (const WatchRecord& r : report.watch) {
    const ClassLook& look = *r.classes;
    const Margins& m = look.margins;
    rows.push_back({std::to_string(r.step), shown_number(look.training_accuracy),
                    shown_number(look.held_out_accuracy), shown_number(look.collapse.spread),
                    shown_number(look.collapse.norms), shown_number(look.collapse.angles),
                    shown_number(look.collapse.duality), shown_number(look.collapse.nearest),
                    shown_number(m.least / m.scale), shown_number(m.low / m.scale),
                    shown_number(m.median / m.scale), ""});
  }
  return fmt::format("\n{}(margins in units of the scores' root mean square)\n", aligned_table(rows));
}

std::string class_sentence(const TrainingContext& context) {
  if (context.classes.empty()) return "";
  std::vector<std::string> parts;
  for (std::size_t c = 0; c < context.classes.size(); ++c)
    parts.push_back(fmt::format("{} ({})", context.classes[c], context.class_rows[c]));
  return fmt::format("Classes (rows): {}\n", fmt::join(parts, ", "));
}

std::string watch_table(const TrainReport& report) {
  if (report.watch.empty()) return "";
  const bool held_out = !std::isnan(report.watch.back().held_out_loss);
  std::vector<std::vector<std::string>> rows{{"step", "time", "loss"}};
  if (held_out) rows.front().emplace_back("held out");
  for (const char* name : {"drift", "alignment", "distance", "learned", "dof", ""})
    rows.front().emplace_back(name);
  for (const WatchRecord& r : report.watch) {
    rows.push_back({std::to_string(r.step), shown_number(r.time), shown_number(r.training_loss)});
    if (held_out) rows.back().push_back(shown_number(r.held_out_loss));
    rows.back().insert(rows.back().end(),
                       {shown_number(r.drift), shown_number(r.alignment), shown_number(r.distance),
                        r.learned < 0 ? "NA" : std::to_string(r.learned), shown_number(r.dof), ""});
  }
  return fmt::format("\n{}", aligned_table(rows));
}

std::string follow_table(const TrainReport& report) {
  if (report.follow.empty()) return "";
  std::vector<std::vector<std::string>> rows{{"step", "time", "remaining", "trace", "w'r", "dof", ""}};
  for (const FollowRecord& r : report.follow)
    rows.push_back({std::to_string(r.step), shown_number(r.time), shown_number(r.remaining),
                    shown_number(r.trace), shown_number(r.alignment), shown_number(r.dof), r.reason});
  return fmt::format("\n{}", aligned_table(rows));
}

Json class_look_json(const ClassLook& look) {
  const Collapse& c = look.collapse;
  const Margins& m = look.margins;
  return {{"training_accuracy", number(look.training_accuracy)},
          {"held_out_accuracy", number(look.held_out_accuracy)},
          {"nc1", number(c.spread)},
          {"nc2_norms", number(c.norms)},
          {"nc2_angles", number(c.angles)},
          {"nc3", number(c.duality)},
          {"nc4", number(c.nearest)},
          {"margin_least", number(m.least)},
          {"margin_5_percent", number(m.low)},
          {"margin_median", number(m.median)},
          {"score_rms", number(m.scale)}};
}

Json watch_json(const TrainReport& report) {
  Json list = Json::array();
  for (const WatchRecord& r : report.watch) {
    Json movement = Json::array(), ranks = Json::array();
    for (const double value : r.feature_movement) movement.push_back(number(value));
    for (const double value : r.stable_rank) ranks.push_back(number(value));
    list.push_back({{"step", r.step},
                    {"time", number(r.time)},
                    {"training_loss", number(r.training_loss)},
                    {"held_out_loss", number(r.held_out_loss)},
                    {"kernel_drift", number(r.drift)},
                    {"kernel_alignment", number(r.alignment)},
                    {"distance_from_linearised", number(r.distance)},
                    {"residual_position", number(r.position)},
                    {"directions_learned", r.learned < 0 ? Json(nullptr) : Json(r.learned)},
                    {"frontier", number(r.frontier)},
                    {"effective_dof", number(r.dof)},
                    {"feature_movement", std::move(movement)},
                    {"stable_rank", std::move(ranks)}});
    if (r.classes) list.back()["classes"] = class_look_json(*r.classes);
  }
  return list;
}

Json verdict_json(const TrainReport& report) {
  if (!report.verdict) return nullptr;
  const Verdict& verdict = *report.verdict;
  Json json = {{"lazy", verdict.lazy},
               {"since_step", verdict.since < 0 ? Json(nullptr) : Json(verdict.since)},
               {"since_time", number(verdict.time)},
               {"sentence", verdict.sentence}};
  if (!verdict.collapse.empty()) json["collapse"] = verdict.collapse;
  return json;
}

// Under cross-entropy the loss is the log-loss.
void add_classes(Json& json, const TrainingContext& context, const TrainReport& report) {
  if (context.classes.empty()) return;
  json["classes"] = Json::array();
  for (std::size_t c = 0; c < context.classes.size(); ++c)
    json["classes"].push_back({{"name", context.classes[c]}, {"rows", context.class_rows[c]}});
  Json& training = json["training"];
  const bool logits = context.request.trainer.loss == TrainingLoss::cross_entropy;
  training["loss_name"] = to_string(context.request.trainer.loss);
  training["accuracy"] = number(report.accuracy);
  training["log_loss"] = logits ? number(report.loss) : Json(nullptr);
  training["validation_accuracy"] = number(report.validation_accuracy);
  training["validation_log_loss"] = logits ? number(report.validation_loss) : Json(nullptr);
}

Json curve(const std::vector<double>& values) {
  return numbers(Eigen::Map<const Vector>(values.data(), static_cast<Index>(values.size())));
}

const char* unit_of(bool in_time) { return in_time ? "flow time" : "steps"; }

Json cross_validation_json(const TrainReport& report) {
  if (!report.cross_validation) return nullptr;
  const CrossValidation& cross = *report.cross_validation;
  return {{"folds", cross.folds},
          {"unit", unit_of(cross.in_time)},
          {"point", number(cross.point())},
          {"loss", number(cross.loss())},
          {"standard_error", number(cross.standard_error)},
          {"settled", cross.settled},
          {"steps", cross.steps},
          {"points", curve(cross.points)},
          {"losses", curve(cross.losses)}};
}

Json trained_gcv_json(const TrainReport& report) {
  if (!report.trained_gcv) return nullptr;
  const TrainedGcv& gcv = *report.trained_gcv;
  return {{"twins", gcv.twins},
          {"residual_dof", gcv.freedom},
          {"unit", unit_of(gcv.in_time)},
          {"point", number(gcv.point())},
          {"gcv", number(gcv.at_best(gcv.gcv))},
          {"generalised_dof", number(gcv.at_best(gcv.dof))},
          {"generalised_dof_standard_error", number(gcv.at_best(gcv.dof_standard_error))},
          {"settled", gcv.settled},
          {"steps", gcv.steps},
          {"points", curve(gcv.points)},
          {"gcvs", curve(gcv.gcv)},
          {"generalised_dofs", curve(gcv.dof)},
          {"generalised_dof_standard_errors", curve(gcv.dof_standard_error)},
          {"mean_squares", curve(gcv.mean_square)}};
}

Json follow_json(const TrainReport& report) {
  Json list = Json::array();
  for (const FollowRecord& r : report.follow)
    list.push_back({{"step", r.step},
                    {"time", number(r.time)},
                    {"remaining", number(r.remaining)},
                    {"outcome", to_string(r.outcome)},
                    {"reason", r.reason},
                    {"alignment", number(r.alignment)},
                    {"trace", number(r.trace)},
                    {"tau_largest", number(r.tau_largest)},
                    {"kappa_largest", number(r.kappa_largest)},
                    {"tracking_error", number(r.tracking)},
                    {"effective_dof", number(r.dof)}});
  return list;
}

Json training_json(const TrainingContext& context, const TrainReport& report) {
  return {{"outcome", to_string(report.outcome)},
          {"reason", report.reason},
          {"end", to_string(report.run.end)},
          {"steps", report.run.steps},
          {"time", number(report.run.time)},
          {"planned_time", number(report.planned_time)},
          {"planned_log_time_standard_error", number(report.planned_log_time_standard_error)},
          {"matched_time", number(report.matched_time)},
          {"learning_rate", number(report.learning_rate)},
          {"learning_rate_chosen", report.learning_rate_chosen},
          {"largest_eigenvalue", number(report.largest_eigenvalue)},
          {"largest_stable_rate", number(report.stable_rate)},
          {"start_loss", number(report.start_loss)},
          {"loss", number(report.loss)},
          {"validation_loss", number(report.validation_loss)},
          {"held_out_loss", number(held_out_loss(context, report))},
          {"validation_steps", report.validation_steps < 0 ? Json(nullptr) : Json(report.validation_steps)},
          {"resumed_at", report.run.resumed_at < 0 ? Json(nullptr) : Json(report.run.resumed_at)},
          {"seconds", number(report.run.seconds)},
          {"monitor_seconds", number(report.run.monitor_seconds)}};
}

}  // namespace

std::string text_training_report(const TrainingContext& context, const TrainReport& report) {
  std::string text = end_sentence(context, report);
  if (report.run.resumed_at >= 0) text += fmt::format("Resumed at step {}.\n", report.run.resumed_at);
  text += loss_sentence(context, report);
  if (report.verdict) text += fmt::format("{}\n", report.verdict->sentence);
  const TrainingStop stop = context.request.stop;
  if (report.verdict && !report.verdict->lazy &&
      (stop == TrainingStop::reml_risk || stop == TrainingStop::reml_flow))
    text += fmt::format(
        "{} is the time for the operator at the start; --stop follow-gdf asks the training itself.\n",
        to_string(stop));
  if (report.verdict && !report.verdict->collapse.empty())
    text += fmt::format("{}\n", report.verdict->collapse);
  text += watch_table(report) + class_table(report) + follow_table(report);
  text += fmt::format("\n{}: {} rows, {} features; network {} with {} parameters\n", context.response,
                      context.rows, context.features, context.network, context.parameters);
  text += class_sentence(context) + left_out_text(context.data);
  for (const std::string& warning : report.warnings) text += fmt::format("warning: {}\n", warning);
  for (const std::string& warning : context.data.warnings) text += fmt::format("warning: {}\n", warning);
  return text;
}

std::string json_training_report(const RunRecord& record, const TrainingContext& context,
                                 const TrainReport& report) {
  Json json = record_json(record);
  json["training"] = training_json(context, report);
  add_classes(json, context, report);
  json["verdict"] = verdict_json(report);
  json["cross_validation"] = cross_validation_json(report);
  json["trained_gcv"] = trained_gcv_json(report);
  json["follow"] = follow_json(report);
  json["watch"] = watch_json(report);
  json["network"] = {{"text", context.network}, {"parameters", context.parameters}};
  json["data"] = data_json(context.data);
  json["n"] = context.rows;
  json["d"] = context.features;
  json["response_scale"] = number(context.response_scale);
  json["memory_bytes"] = context.memory > 0.0 ? number(context.memory) : Json(nullptr);
  json["warnings"] = report.warnings;
  return dump(json);
}

std::string json_watch_report(const RunRecord& record, const TrainReport& report) {
  Json json = record_json(record);
  json["verdict"] = verdict_json(report);
  json["watch"] = watch_json(report);
  return dump(json);
}

std::string json_trained_prediction_report(const RunRecord& record, const std::string& network,
                                           const Predictions& predictions) {
  Json json = record_json(record);
  json["model"] = {{"network", network}};
  add_predictions(json, predictions);
  json["interval"] = to_string(predictions.interval);
  json["statements"] = predictions.statements;
  return dump(json);
}

std::string json_trained_class_prediction_report(const RunRecord& record, const TrainedClassModel& model,
                                                 const ClassPredictions& predictions) {
  Json json = record_json(record);
  json["model"] = {{"network", model.network.text()}, {"loss", to_string(model.loss)}};
  add_class_predictions(json, model.classes, predictions);
  return dump(json);
}

}  // namespace gradflow
