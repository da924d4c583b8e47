#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "gradflow/report/class_report.h"
#include "gradflow/report/text_report.h"
#include "report/format.h"

namespace gradflow {
namespace {

std::string test_verdict(const ClassJob& job, const ClassResult& result) {
  const ClassTest& test = result.test;
  if (!usable(test.outcome))
    return fmt::format("Whether training is warranted cannot be told: {}.\n", test.reason);
  const bool warranted = test.p_value < 1.0 - job.level;
  std::string text =
      fmt::format("{}: p {} {} (log10 p = {}, score test of the {} classes together, {} null).\n",
                  warranted ? "Training is warranted" : "Training is not shown to be warranted",
                  test.resampled.upper_bound ? "<=" : "=", shown_p(test.p_value, test.log10_p_value),
                  shown_number(test.log10_p_value), result.data.classes.size(), to_string(test.method));
  if (!result.candidates.empty())
    text += fmt::format("The test is of the {}; that of the chosen kernel would be too small.\n",
                        result.test_kernel);
  return text;
}

std::string time_phrase(const ClassResult& result) {
  const std::string tau = shown_number(result.fit.tau);
  if (result.fit.method == ClassMethod::laplace)
    return fmt::format("Latent functions of scale tau = {}", tau);
  const std::string time = shown_number(result.flow_time);
  return fmt::format("{}; the model is of the ridge path, tau = {}",
                     result.fit.outcome == Outcome::on_boundary
                         ? fmt::format("The operator tells the classes apart all but without error: gradient "
                                       "flow on their indicators may run to t = {} and on",
                                       time)
                         : fmt::format("Stop gradient flow on the classes' indicators at t = {}", time),
                     tau);
}

// The fit takes the estimated signal as it is; the test asks whether there is any.
std::string contradiction(const ClassJob& job, const ClassResult& result) {
  if (!usable(result.test.outcome) || result.test.p_value < 1.0 - job.level) return "";
  return "That suits the estimated signal, but the test does not tell that signal from noise.\n";
}

std::string fit_verdict(const ClassJob& job, const ClassResult& result) {
  const ClassFit& fit = result.fit;
  if (!usable(fit.outcome))
    return fmt::format("No class probabilities ({}): {}.\n", to_string(fit.outcome), fit.reason);
  if (fit.tau == 0.0)
    return fmt::format("Do not train: by method {} the class frequencies are all there is to say.\n",
                       to_string(fit.method));
  return fmt::format("{} (method {}; {} interval of tau {}).\n{}", time_phrase(result), to_string(fit.method),
                     shown_percent(fit.interval.level), shown_interval(fit.interval),
                     contradiction(job, result));
}

std::string scores_text(const ClassJob& job, const ClassResult& result) {
  const ClassScores &own = result.scores, &base = result.frequencies;
  std::string text = aligned_table({
      {"left-out rows", "this model", "class frequencies", ""},
      {"accuracy", shown_number(own.accuracy), shown_number(base.accuracy), ""},
      {"log-loss, nats", shown_number(own.log_loss), shown_number(base.log_loss), ""},
      {"Brier score", shown_number(own.brier), shown_number(base.brier), ""},
      {"calibration error", shown_number(own.calibration_error), shown_number(base.calibration_error), ""},
  });
  if (!std::isfinite(own.calibration_error)) return text;
  const bool beyond = own.calibration_error > result.calibrated.quantile;
  return text + fmt::format(
                    "Were the probabilities exactly right, the calibration error would be below {} "
                    "with {} probability: {}.\n",
                    shown_number(result.calibrated.quantile), shown_percent(job.level),
                    !beyond                                     ? "nothing speaks against them"
                    : result.fit.method == ClassMethod::one_hot ? "they are not; compare --method laplace"
                                                                : "they are not; compare --method one-hot");
}

std::string classes_text(const ClassResult& result) {
  std::vector<std::vector<std::string>> rows{{"class", "rows", "share", "p alone", "calibration error", ""}};
  const auto n = static_cast<double>(result.data.labels.size());
  for (std::size_t c = 0; c < result.data.classes.size(); ++c) {
    const auto count = std::ranges::count(result.data.labels, static_cast<Index>(c));
    const double p = result.test.class_p_value(static_cast<Index>(c));
    rows.push_back(
        {result.data.classes[c], std::to_string(count), shown_number(static_cast<double>(count) / n),
         std::isnan(p) ? "NA" : fmt::format("{:.3g}", p),
         c < result.of_class.size() ? shown_number(result.of_class[c].calibration_error) : "NA", ""});
  }
  return aligned_table(rows);
}

std::string reliability_text(const ClassJob& job, const ClassResult& result) {
  std::vector<std::vector<std::string>> rows{{"most probable class", "rows", "predicted", "came true",
                                              fmt::format("{} interval", shown_percent(job.level)), ""}};
  std::size_t number = 0;
  for (const ReliabilityBin& bin : result.reliability.bins) {
    const bool off = bin.predicted < bin.interval.lower || bin.predicted > bin.interval.upper;
    rows.push_back({fmt::format("bin {}", ++number), std::to_string(bin.count),
                    fmt::format("{:.3f}", bin.predicted), fmt::format("{:.3f}", bin.observed),
                    fmt::format("{:.3f} to {:.3f}", bin.interval.lower, bin.interval.upper),
                    off ? "<- outside" : ""});
  }
  return aligned_table(rows);
}

std::string candidates_text(const ClassResult& result) {
  if (result.candidates.empty()) return "";
  std::vector<std::vector<std::string>> rows{{"kernel", "criterion", ""}};
  for (const KernelCandidate& candidate : result.candidates) {
    std::string note = candidate.chosen ? "<- chosen" : "";
    if (candidate.outcome != Outcome::converged)
      note += fmt::format("{}({})", note.empty() ? "" : " ", to_string(candidate.outcome));
    rows.push_back({candidate.text, fmt::format("{:.4f}", candidate.criterion), std::move(note)});
  }
  return fmt::format("\n{}", aligned_table(rows));
}

}  // namespace

std::string text_class_report(const ClassJob& job, const ClassResult& result) {
  std::string text = test_verdict(job, result);
  if (!job.test_only) text += fit_verdict(job, result);
  if (usable(result.fit.outcome)) text += fmt::format("\n{}", scores_text(job, result));
  text += fmt::format("\n{}", classes_text(result));
  if (!result.reliability.bins.empty()) text += fmt::format("\n{}", reliability_text(job, result));
  const DataReport& report = result.data.data.report;
  return text + candidates_text(result) +
         fmt::format("\nData: {} read, {} used; {}, {}.\n{}Operator: {}.\n",
                     counted_text(report.rows_read, "row"), report.rows_used,
                     counted_text(result.data.data.X.cols(), "feature"),
                     fmt::format("{} classes", result.data.classes.size()), left_out_text(report),
                     result.operator_description) +
         text_warnings(result.warnings);
}

}  // namespace gradflow
