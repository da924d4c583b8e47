#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <tuple>
#include <utility>

#include "cli/commands.h"
#include "cli/make_further_tests.h"
#include "cli/make_job.h"
#include "cli/new_rows.h"
#include "cli/output.h"
#include "cli/terminal_progress.h"
#include "gradflow/base/atomic_file.h"
#include "gradflow/base/error.h"
#include "gradflow/data/csv_writer.h"
#include "gradflow/report/json_report.h"
#include "gradflow/report/text_report.h"

namespace gradflow::cli {
namespace {

void check_files(const Settings& s) {
  const std::vector<std::string> inputs{s.table, s.features, s.response, s.weights, s.operator_matrix};
  require_writable(s.output, inputs);
  require_writable(s.json, inputs);
  require_writable(s.checkpoint, inputs);
  for (const std::string& result : {s.output, s.json})
    if (same_file(s.checkpoint, result))
      throw InputError(fmt::format("--checkpoint and a result name the same file, '{}'", result));
  if (same_file(s.output, s.json))
    throw InputError(fmt::format("-o and --json name the same file, '{}'", s.output));
}

void record_option(RunRecord& record, const std::string& name, const std::string& value) {
  for (auto& [option, recorded] : record.options)
    if (option == name) recorded = value;
}

// Defaults that depend on other options are recorded as what they came to.
Job prepare_job(Invocation& invocation) {
  check_files(invocation.settings);
  Job job = make_job(invocation.settings, Purpose::inference);
  RunRecord& record = invocation.record;
  record.seed = job.analysis.seed;
  record_option(record, "rule", rule_name(job.analysis.chosen_rule(), job.analysis.path.kind));
  record_option(record, "level", fmt::format("{:g}", job.analysis.level));
  if (job.operator_spec.kind == OperatorKind::infinite)
    record_option(record, "kernel", job.operator_spec.text());
  record_option(record, "missing-values",
                fmt::format("{}", fmt::join(job.source.table_options.missing_values, ",")));
  return job;
}

void write_spectrum(const std::string& path, const Analysis& analysis) {
  const SpectrumTable table = spectrum_table(analysis);
  CsvWriter csv(path, {"index", "eigenvalue", "cumulative_share", "z", "loss"});
  for (Index i = 0; i < table.z.size(); ++i) {
    csv.text(std::to_string(i + 1)).number(table.eigenvalue(i)).number(table.cumulative_share(i));
    csv.number(table.z(i)).number(table.loss(i)).end_row();
  }
  csv.commit();
}

// What a run that takes long or much will cost, before it starts.
void announce(const Plan& plan, Index rows) {
  constexpr double worth_a_line = 10.0;  // seconds
  if (plan.engine == Engine::krylov || plan.seconds > worth_a_line)
    std::fputs(fmt::format("gradflow: {}\n", plan.text(rows)).c_str(), stderr);
}

JobResult run_planned(const Job& job) { return run(job); }

// Runs the work with its progress on the terminal, which is clear again when this returns.
template <typename Work>
auto with_progress(const Invocation& invocation, Job& job, Work work) {
  TerminalProgress progress(!invocation.settings.quiet);
  job.analysis.progress = &progress;
  if (!invocation.settings.quiet) job.announce = announce;
  auto result = work(job);
  job.analysis.progress = nullptr;
  return result;
}

// The document that `make` writes, where one is wanted: curves and profiles are not for nothing.
template <typename Make>
void write_json(Invocation& invocation, const Make& make) {
  if (invocation.settings.json.empty() && !invocation.keeps_document) return;
  invocation.document = make();
  if (!invocation.settings.json.empty()) write_file_atomically(invocation.settings.json, invocation.document);
}

// A noise model that was asked for and has no estimate is no usable answer, though the analysis without it
// is.
bool has_noise(const JobResult& result) { return !result.noise || result.noise->is_usable(); }

}  // namespace

int test_command(Invocation& invocation) {
  Job job = prepare_job(invocation);
  const FurtherTestOptions further_options = make_further_tests(invocation.settings, job);
  job.every_row = further_options.any();
  const auto [prepared, test, further] = with_progress(invocation, job, [&](const Job& planned) {
    auto [data, score] = run_test(planned);
    FurtherTests tests;
    if (further_options.any()) tests = run_further_tests(planned, data, further_options);
    return std::make_tuple(std::move(data), std::move(score), std::move(tests));
  });
  write_json(invocation, [&, &data = prepared, &score = test, &beside = further] {
    return json_test_report(invocation.record, job, data, score, beside);
  });
  if (!invocation.settings.quiet) print(text_test_report(job, prepared, test, further));
  const bool usable_score = usable(test.outcome) && !std::isnan(test.p_value);
  return usable_score && further.all_usable() ? exit_usable : exit_not_usable;
}

int stop_command(Invocation& invocation) {
  Job job = prepare_job(invocation);
  job.choice.folds = job.choice.average = 0;  // nothing is predicted
  const JobResult result = with_progress(invocation, job, run_planned);
  write_json(invocation, [&] { return json_report(invocation.record, job, result); });
  if (!invocation.settings.quiet) print(text_report(job, result));
  return result.analysis.is_usable() && has_noise(result) ? exit_usable : exit_not_usable;
}

int fit_command(Invocation& invocation) {
  const Settings& s = invocation.settings;
  Job job = prepare_job(invocation);
  JobResult result = with_progress(invocation, job, run_planned);
  const std::string text = text_report(job, result), json = json_report(invocation.record, job, result);
  const StoppingRule rule = result.analysis.rule();
  const bool noise_known = has_noise(result);
  const std::string why_no_noise = noise_known ? "" : result.noise->reason;
  const bool has_model = result.analysis.is_usable() && std::isfinite(rule.time) && noise_known;
  if (has_model) {
    const std::size_t said = result.analysis.warnings.size();
    FittedModel model = with_progress(
        invocation, job, [&](const Job& planned) { return make_model(planned, std::move(result)); });
    warn({model.warnings.begin() + static_cast<std::ptrdiff_t>(said), model.warnings.end()});
    model.run = run_for_model(json);
    model.save(s.output);
  }
  write_json(invocation, [&] { return json; });
  if (!s.quiet) print(text);
  if (!has_model) {
    const std::string message =
        noise_known ? fmt::format("gradflow: no model was written: rule {} gave no finite time ({})\n",
                                  rule.name, rule.reason)
                    : fmt::format("gradflow: no model was written: the noise model has no estimate ({})\n",
                                  why_no_noise);
    std::fputs(message.c_str(), stderr);
    return exit_not_usable;
  }
  if (!s.quiet) print(fmt::format("Model written to {}.\n", s.output));
  return exit_usable;
}

int spectrum_command(Invocation& invocation) {
  const Settings& s = invocation.settings;
  Job job = prepare_job(invocation);
  job.choice.folds = job.choice.average = 0;
  job.compute.engine = EngineChoice::dense;  // all eigenvalues are the answer
  const JobResult result = with_progress(invocation, job, run_planned);
  if (!s.output.empty()) write_spectrum(s.output, result.analysis);
  write_json(invocation, [&] { return json_report(invocation.record, job, result); });
  if (!s.quiet) print(text_spectrum_report(job, result));
  return exit_usable;
}

}  // namespace gradflow::cli
