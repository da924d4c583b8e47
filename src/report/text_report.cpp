#include "gradflow/report/text_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "gradflow/model/summary.h"
#include "report/choice_report.h"
#include "report/format.h"
#include "report/further_tests.h"
#include "report/noise_report.h"

namespace gradflow {
namespace {

constexpr double disagreement_worth_a_sentence = 10.0;
constexpr Index eigenvalues_listed = 15;

// `as_given`: what was tested, where kernel or transform were then chosen.
std::string test_verdict(const ScoreTest& test, double level, const std::string& as_given = {}) {
  if (std::isnan(test.p_value))
    return fmt::format("Whether training is warranted cannot be told: {}.\n", test.reason);
  const bool warranted = test.p_value < 1.0 - level;
  return fmt::format("{}: p = {} (log10 p = {}, {} score test of t = 0{}).\n",
                     warranted ? "Training is warranted" : "Training is not shown to be warranted",
                     shown_p(test.p_value, test.log10_p_value), shown_number(test.log10_p_value),
                     test.method == PValueMethod::exact ? "exact" : "Satterthwaite", as_given);
}

// "Stop gradient flow at t = 36.9"
std::string path_phrase(const Path& path) {
  const std::string time = shown_number(path.time);
  switch (path.kind) {
    case PathKind::flow: return "Stop gradient flow at t = " + time;
    case PathKind::ridge: return "Stop the ridge path at tau = " + time;
    case PathKind::decay:
      return fmt::format("Stop gradient flow with weight decay {} at t = {}", shown_number(path.decay), time);
    case PathKind::descent:
      return fmt::format("Stop gradient descent after {} steps", shown_steps(path.time));
    case PathKind::implicit: break;
  }
  return fmt::format("Take {}, each of tau = {}", counted_text(path.iterations, "implicit step"), time);
}

std::string steps_phrase(const Job& job, const StoppingRule& rule) {
  if (std::isnan(rule.steps) || rule.steps == rule.time) return "";
  return fmt::format(", {} full-batch steps at learning rate {:g}", shown_steps(rule.steps),
                     job.analysis.learning_rate);
}

std::string hint(const Job& job) {
  const PathKind kind = job.analysis.path.kind;
  const bool could_count = kind == PathKind::flow || kind == PathKind::decay;
  return could_count && std::isnan(job.analysis.learning_rate)
             ? "Steps are t divided by the learning rate: give --learning-rate.\n"
             : "";
}

// The rules take the estimated signal as it is; the test asks whether there is any.
std::string contradiction(const Job& job, const Analysis& analysis) {
  const bool warranted = analysis.test.p_value < 1.0 - job.analysis.level;
  if (warranted || std::isnan(analysis.test.p_value) || !(analysis.rule().time > 0.0)) return "";
  return "The time above suits the estimated signal, but the test does not tell that signal from noise.\n";
}

std::string stop_verdict(const Job& job, const Analysis& analysis) {
  const StoppingRule& rule = analysis.rule();
  if (!analysis.is_usable())
    return fmt::format("No stopping time by rule {} ({}): {}.\n", rule.name, to_string(rule.outcome),
                       rule.reason);
  if (rule.time == 0.0)
    return fmt::format("Do not train: rule {} stops at time 0, where only the fixed effects are fitted.\n",
                       rule.name);
  if (std::isinf(rule.time))
    return fmt::format("Train to convergence: by rule {} the time is infinite.\n", rule.name);
  return fmt::format("{}{} (rule {}; {} interval {}).\n{}", path_phrase(analysis.chosen_path),
                     steps_phrase(job, rule), rule.name, shown_percent(rule.interval.level),
                     shown_interval(rule.interval), hint(job) + contradiction(job, analysis));
}

std::string size_verdict(const JobResult& result) {
  const Analysis& analysis = result.analysis;
  if (!analysis.is_usable()) return "";
  return fmt::format(
      "Effective degrees of freedom {} of {}; noise standard deviation {} (response: {}); signal share {}.\n",
      shown_number(analysis.effective_dof), analysis.fixed.residual_dimension(),
      shown_number(noise_standard_deviation(result)), shown_number(response_sd(result.prepared.observations)),
      shown_number(analysis.signal_share));
}

// A standard error of log time as a percentage of the time; 0 where no random probe went into it.
std::string shown_error(const StoppingRule& rule) {
  if (!usable(rule.outcome) || std::isnan(rule.log_time_standard_error)) return "NA";
  return rule.log_time_standard_error == 0.0 ? "0"
                                             : shown_number(100.0 * rule.log_time_standard_error) + " %";
}

std::string rules_table(const Analysis& analysis, double level) {
  std::vector<std::vector<std::string>> rows{
      {"rule", "time", "steps", "dof", "est. RMSE", "LOO RMSE", shown_percent(level) + " interval", ""}};
  if (analysis.krylov) rows.front().insert(rows.front().begin() + 2, "s.e.");
  for (std::size_t i = 0; i < analysis.rules.size(); ++i) {
    const StoppingRule& rule = analysis.rules[i];
    std::string note = i == analysis.chosen ? "<- chosen" : "";
    if (rule.outcome != Outcome::converged)
      note += fmt::format("{}({})", note.empty() ? "" : " ", to_string(rule.outcome));
    rows.push_back({rule.name, shown_number(rule.time), shown_steps(rule.steps),
                    shown_number(rule.effective_dof), shown_number(rule.estimated_rmse),
                    shown_number(rule.loo_rmse), shown_interval(rule.interval), std::move(note)});
    if (analysis.krylov) rows.back().insert(rows.back().begin() + 2, shown_error(rule));
  }
  std::string text = aligned_table(rows);
  for (const StoppingRule& rule : analysis.rules)
    if (!usable(rule.outcome) && rule.reason != analysis.rule().reason && rule.reason != "not asked for")
      text += fmt::format("  {}: {}\n", rule.name, rule.reason);
  return text;
}

std::string disagreement_text(const Analysis& analysis) {
  const Disagreement found = disagreement(analysis.rules);
  const bool some_do_not_train = !found.at_zero.empty() && !found.latest.empty();
  if (!(found.ratio > disagreement_worth_a_sentence) && !some_do_not_train) return "";
  const std::string what = some_do_not_train ? fmt::format("{} would not train, {} would",
                                                           fmt::join(found.at_zero, ", "), found.latest)
                                             : fmt::format("{} trains {} times as long as {}", found.latest,
                                                           shown_number(found.ratio), found.earliest);
  return fmt::format(
      "The rules disagree: {}. Compare the LOO RMSE column: where it hardly changes the "
      "choice matters little; otherwise look for copies of rows, errors that are not independent, or very "
      "little "
      "noise (where reml-flow stops too early).\n",
      what);
}

std::string equal_rows_text(const DataReport& report) {
  std::string text;
  if (report.duplicate_rows > 0)
    text += fmt::format("  {} equal to an earlier one in features, covariates and response: {}\n",
                        counted_text(report.duplicate_rows, "row"),
                        report.dropped_copies.empty() ? "kept (copies make the noise look smaller)"
                                                      : "such copies are kept once (--copies all keeps all)");
  if (report.merged_rows > 0)
    text += fmt::format(
        "  {} equal to an earlier one in features and covariates: replicates, merged without changing the "
        "likelihood; their pure-error standard deviation is {}\n",
        counted_text(report.merged_rows, "row"), shown_number(report.pure_error_sd));
  else if (report.duplicate_inputs > report.duplicate_rows)
    text += fmt::format("  {} equal to an earlier one in features and covariates\n",
                        counted_text(report.duplicate_inputs, "row"));
  return text;
}

std::string data_facts(const Job& job, const PreparedJob& prepared) {
  const DataReport& report = prepared.dataset.report;
  const Recipe& recipe = prepared.dataset.recipe;
  std::string text =
      fmt::format("Data: {} read, {} used", counted_text(report.rows_read, "row"), report.rows_used);
  if (job.operator_spec.kind != OperatorKind::matrix)
    text += fmt::format("; {}", counted_text(prepared.dataset.X.cols(), "feature"));
  if (!recipe.covariates.empty())
    text += fmt::format(", {}", counted_text(static_cast<long long>(recipe.covariates.size()), "covariate"));
  text += ".\n";
  text += left_out_text(report);
  text += equal_rows_text(report);
  return text + fmt::format("Operator: {}.\n", prepared.H->description());
}

std::string fixed_effects_text(const JobResult& result) {
  const std::vector<FixedCoefficient> coefficients = raw_coefficients(result.prepared, result.analysis);
  if (coefficients.empty()) return "";
  std::string text = "Fixed effects (units of the data):";
  for (const FixedCoefficient& coefficient : coefficients)
    text += fmt::format(" {} {}{}", coefficient.name, shown_number(coefficient.value),
                        &coefficient == &coefficients.back() ? ".\n" : ",");
  return text;
}

// How the Krylov engine came to its numbers, and how sure they are.
std::string krylov_text(const Analysis& analysis) {
  if (!analysis.krylov) return "";
  const KrylovReport& krylov = *analysis.krylov;
  std::string text = fmt::format(
      "Krylov: {}{}; reml-flow time certified in [{:.12g}, {:.12g}]", counted_text(krylov.steps, "step"),
      krylov.exhausted ? " (the space is invariant)" : "", krylov.bracket.lower, krylov.bracket.upper);
  text += fmt::format("; spectrum from {}", counted_text(krylov.eigenpairs, "eigenpair"));
  if (krylov.deflation_vectors > 0)
    text += fmt::format(" (found with {})", counted_text(krylov.deflation_vectors, "further vector"));
  if (krylov.probes > 0)
    text += fmt::format(" and {} of the rest ({} each)", counted_text(krylov.probes, "random probe"),
                        counted_text(krylov.probe_steps, "step"));
  if (krylov.moment_probes > 0) text += fmt::format(", {} more for its first moments", krylov.moment_probes);
  if (analysis.test.log10_standard_error > 0.0)
    text += fmt::format("; log10 p has standard error {}", shown_number(analysis.test.log10_standard_error));
  return text + ".\n";
}

// What REML says of the variance components, whatever rule stops.
std::string components_text(const JobResult& result) {
  const ProfileIntervals& found = result.analysis.components;
  if (!usable(found.time.outcome)) return "";
  const bool student = result.noise && result.noise->model.kind == NoiseModelKind::student;
  Interval sd = found.noise_variance.interval;
  sd.lower = std::sqrt(sd.lower);
  sd.upper = std::sqrt(sd.upper);
  const auto row = [](const char* name, double estimate, const Interval& interval) {
    return std::vector<std::string>{name, shown_number(estimate), shown_interval(interval), ""};
  };
  return '\n' +
         aligned_table(
             {{"variance components", "REML", shown_percent(found.time.interval.level) + " interval", ""},
              row("tau", found.time.estimate, found.time.interval),
              row(student ? "noise scale" : "noise sd", std::sqrt(found.noise_variance.estimate), sd),
              row("signal share", found.signal_share.estimate, found.signal_share.interval),
              row("dof of ridge", found.effective_dof.estimate, found.effective_dof.interval)});
}

std::string residuals_text(const JobResult& result) {
  const ResidualCheck& check = result.analysis.residuals;
  if (check.outcome != Outcome::converged) return "";
  const bool of_normal = result.noise && result.noise->model.kind == NoiseModelKind::student;
  return fmt::format("{}{}\n{}\n", of_normal ? "Under normal noise, without the noise model: " : "",
                     check.normality, check.dependence);
}

std::vector<std::string> all_warnings(const PreparedJob& prepared, const Analysis* analysis) {
  std::vector<std::string> warnings = prepared.dataset.report.warnings;
  if (analysis != nullptr)
    warnings.insert(warnings.end(), analysis->warnings.begin(), analysis->warnings.end());
  return warnings;
}

}  // namespace

std::string text_table(const std::vector<std::vector<std::string>>& rows) { return aligned_table(rows); }

std::string text_warnings(const std::vector<std::string>& warnings) {
  if (warnings.empty()) return "";
  std::string text = warnings.size() == 1 ? "Warning:\n" : "Warnings:\n";
  for (const std::string& warning : warnings) text += fmt::format("  - {}\n", warning);
  return text;
}

std::string text_report(const Job& job, const JobResult& result) {
  const Analysis& analysis = result.analysis;
  std::string as_given =
      result.prepared.choice ? fmt::format(" with the operator as given, {}", job.operator_spec.text()) : "";
  if (result.noise && result.noise->applied) as_given += ", under normal noise";
  return test_verdict(analysis.test, job.analysis.level, as_given) + stop_verdict(job, analysis) +
         size_verdict(result) + '\n' + choice_text(job, result.prepared) + noise_text(result) +
         rules_table(analysis, job.analysis.level) + disagreement_text(analysis) + components_text(result) +
         residuals_text(result) + result.calibration.sentence() + "\n\n" + data_facts(job, result.prepared) +
         krylov_text(analysis) + fixed_effects_text(result) +
         text_warnings(all_warnings(result.prepared, &analysis));
}

std::string text_test_report(const Job& job, const PreparedJob& prepared, const ScoreTest& test,
                             const FurtherTests& further) {
  std::string text = test_verdict(test, job.analysis.level);
  text += fmt::format("  statistic T        {}\n", shown_number(test.statistic));
  text += fmt::format("  p, exact           {} (log10 p = {}; {} quadrature nodes)\n",
                      shown_p(test.p_value_exact, test.log10_p_value_exact),
                      shown_number(test.log10_p_value_exact), test.quadrature_nodes);
  if (test.log10_standard_error > 0.0)
    text += fmt::format("  standard error of log10 p, exact: {} (random probes of the spectrum)\n",
                        shown_number(test.log10_standard_error));
  text += fmt::format("  p, Satterthwaite   {} (log10 p = {}; for comparison)\n\n",
                      shown_p(test.p_value_satterthwaite, test.log10_p_value_satterthwaite),
                      shown_number(test.log10_p_value_satterthwaite));
  return text + text_further_tests(job, prepared, further) + data_facts(job, prepared) +
         text_warnings(all_warnings(prepared, nullptr));
}

SpectrumTable spectrum_table(const Analysis& analysis) {
  // analysis.data may end in one value more, 0, that carries the pure error of merged rows: no direction.
  SpectrumTable table;
  table.eigenvalue = analysis.spectrum.values;
  table.z = analysis.data.z.head(table.eigenvalue.size());
  table.cumulative_share.resize(table.eigenvalue.size());
  double sum = 0.0;
  const double trace = table.eigenvalue.sum();
  for (Index i = 0; i < table.eigenvalue.size(); ++i) {
    sum += table.eigenvalue(i);
    table.cumulative_share(i) = sum / trace;
  }
  table.loss = analysis.decorrelation.losses.size() == table.z.size()
                   ? analysis.decorrelation.losses
                   : Vector(Vector::Constant(table.z.size(), std::numeric_limits<double>::quiet_NaN()));
  return table;
}

std::string text_spectrum_report(const Job& job, const JobResult& result) {
  const Analysis& analysis = result.analysis;
  const SpectrumSummary summary = summarise(analysis.spectrum.values);
  std::string text = fmt::format(
      "{} of the training operator (fixed effects projected out): effective rank {}, largest {}, smallest "
      "{}, trace {}, condition {}.\n",
      counted_text(analysis.spectrum.values.size(), "eigenvalue"), shown_number(summary.effective_rank),
      shown_number(summary.largest), shown_number(summary.smallest), shown_number(summary.trace),
      shown_number(summary.condition));
  text += fmt::format(
      "Spectral losses exp(-t lambda) z^2 at t = {} (root of the flow's likelihood): correlation with the "
      "eigenvalues "
      "{}.\n\n",
      shown_number(analysis.flow.path.time), shown_number(analysis.decorrelation.correlation));
  const SpectrumTable table = spectrum_table(analysis);
  std::vector<std::vector<std::string>> rows{{"", "eigenvalue", "share of trace", "z", "loss", ""}};
  for (Index i = 0; i < std::min(eigenvalues_listed, table.z.size()); ++i)
    rows.push_back({std::to_string(i + 1), shown_number(table.eigenvalue(i)),
                    shown_number(table.cumulative_share(i)), shown_number(table.z(i)),
                    shown_number(table.loss(i)), ""});
  text += aligned_table(rows);
  if (table.z.size() > eigenvalues_listed)
    text += fmt::format("  ... {} more (all of them: -o FILE.csv)\n", table.z.size() - eigenvalues_listed);
  return text + '\n' + data_facts(job, result.prepared) +
         text_warnings(all_warnings(result.prepared, &analysis));
}

}  // namespace gradflow
