#include "gradflow/report/html_report.h"

#include "data/file_bytes.h"
#include "gradflow/base/error.h"
#include "gradflow/model/reanalyse.h"
#include "gradflow/model/trained_class_model.h"
#include "gradflow/model/trained_model.h"
#include "gradflow/report/json_report.h"
#include "report/chart.h"
#include "report/gnuplot.h"
#include "report/html_page.h"
#include "report/training_run.h"

namespace gradflow {
namespace {

std::vector<Chart> charts_of(const RunDocument& run) {
  if (run.of_training() && run.length("/cross_validation/points") > 0)
    return {loss_chart(run), cross_validation_chart(run), regime_chart(run)};
  if (run.of_training() && run.length("/trained_gcv/points") > 0)
    return {loss_chart(run), trained_gcv_chart(run), regime_chart(run)};
  if (run.of_training()) return {loss_chart(run), regime_chart(run)};
  if (run.of_classes()) return {reliability_chart(run)};
  return {training_chart(run),      profile_chart(run), spectrum_chart(run),
          decorrelation_chart(run), fit_chart(run),     calibration_chart(run)};
}

Figure drawn(Chart chart, const std::string& gnuplot) {
  Figure figure = std::move(chart.figure);
  if (!figure.missing.empty()) return figure;
  const auto draw = [&](const std::string& script, const std::string& id) {
    return finished_svg(run_gnuplot(gnuplot, script).svg, id, figure.title, figure.description);
  };
  figure.wide = draw(chart.wide_script, figure.name + "-wide");
  figure.narrow = draw(chart.narrow_script, figure.name + "-narrow");
  return figure;
}

// Eight bytes of the header's length, the last of which is 0 for any length that is allowed; then the header.
bool is_safetensors(const std::string& bytes) {
  return bytes.size() > 8 && bytes[7] == '\0' && bytes[8] == '{';
}

// The document of a model that does not keep its run.
std::string document_again(const FittedModel& model, const std::string& source) {
  auto [job, result] = reanalyse(model, source);
  RunRecord record;
  record.command = "report";
  record.seed = model.seed;
  Json json = Json::parse(json_report(record, job, result));
  json["gradflow"] = model.gradflow_version;
  json["data"] = nullptr;  // what was done before the fit is not known
  return json.dump();
}

}  // namespace

ReportResult make_report(const std::string& document, const std::string& source,
                         const ReportOptions& options) {
  const RunDocument run = RunDocument::parse(document, source);
  ReportResult result;
  for (Chart& chart : charts_of(run)) result.figures.push_back(drawn(std::move(chart), options.gnuplot));
  result.html = html_page(run, result.figures);
  return result;
}

ReportResult make_report(const FittedModel& model, const std::string& source, const ReportOptions& options) {
  return make_report(model.run.empty() ? document_again(model, source) : model.run, source, options);
}

ReportResult make_report(const ClassModel& model, const std::string& source, const ReportOptions& options) {
  if (model.run.empty())
    throw InputError(
        fmt::format("'{}' does not keep the run that fitted it (an earlier format): fit it again", source));
  return make_report(model.run, source, options);
}

ReportResult make_report_of_file(const std::string& path, const ReportOptions& options) {
  const std::string bytes = read_file_bytes(path);
  if (!is_safetensors(bytes)) return make_report(bytes, path, options);
  if (is_trained_model(path) || is_trained_class_model(path))
    throw InputError(fmt::format(
        "'{}' holds the weights of a trained network: the report is of what gradflow train --json wrote",
        path));
  if (is_class_model(path)) return make_report(ClassModel::load(path), path, options);
  return make_report(FittedModel::load(path), path, options);
}

}  // namespace gradflow
