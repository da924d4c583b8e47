#include "cli/class_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "cli/make_class_job.h"
#include "cli/make_job.h"
#include "cli/new_rows.h"
#include "cli/numbers.h"
#include "cli/output.h"
#include "cli/terminal_progress.h"
#include "gradflow/base/atomic_file.h"
#include "gradflow/base/error.h"
#include "gradflow/data/csv_writer.h"
#include "gradflow/report/class_report.h"
#include "gradflow/report/json_report.h"
#include "gradflow/report/text_report.h"

namespace gradflow::cli {
namespace {

constexpr const char* class_group = "Classes";

// All that makes sense for classes; the library refuses covariates, row weights and a user's matrix with a
// reason.
constexpr std::array class_options{"classes",    "method",      "kernel-grid",
                                   "DATA",       "target",      "columns",
                                   "exclude",    "categorical", "id",
                                   "copies",     "missing",     "missing-values",
                                   "delimiter",  "no-header",   "features",
                                   "response",   "standardize", "kernel",
                                   "network",    "weights",     "parameterization",
                                   "no-bias",    "sw2",         "sb2",
                                   "seed",       "level",       "output",
                                   "json",       "quiet",       "threads",
                                   "covariates", "row-weights", "operator"};

std::string name_of(const CLI::Option& option) {
  return option.get_lnames().empty() ? option.get_single_name() : option.get_lnames().front();
}

void check_class_files(const Settings& s) {
  const std::vector<std::string> inputs{s.table, s.features, s.response, s.weights};
  require_writable(s.output, inputs);
  require_writable(s.json, inputs);
  if (same_file(s.output, s.json))
    throw InputError(fmt::format("-o and --json name the same file, '{}'", s.output));
}

}  // namespace

std::string class_predictions_csv(const std::vector<std::string>& classes,
                                  const ClassPredictions& predictions) {
  std::string text = "id,class";
  for (const std::string& name : classes) text += fmt::format(",{}", csv_field(fmt::format("p_{}", name)));
  text += '\n';
  for (std::size_t i = 0; i < predictions.ids.size(); ++i) {
    const Index label = predictions.most_probable[i];
    text += fmt::format("{},{}", csv_field(predictions.ids[i]),
                        label < 0 ? "NA" : csv_field(classes[static_cast<std::size_t>(label)]));
    for (const double value : predictions.probabilities.row(static_cast<Index>(i)))
      text += fmt::format(",{}", csv_number(value));
    text += '\n';
  }
  return text;
}

void add_class_options(CLI::App& command, Settings& s) {
  command.add_flag("--classes", s.target_is_class, "The target column is a class: fit class probabilities")
      ->group(class_group);
  command.add_option("--method", s.method, "one-hot (default) or laplace")
      ->group(class_group)
      ->type_name("NAME");
  command
      .add_flag("--kernel-grid", s.kernel_grid,
                "Choose ntk:relu of depth 1, 2, 3 and --sb2 0, 0.1, 1 by the method's criterion")
      ->group(class_group);
}

void check_class_options(const CLI::App& command, const Settings& settings) {
  for (const CLI::Option* option : command.get_options()) {
    if (option->count() == 0) continue;
    const std::string name = name_of(*option);
    if (!settings.target_is_class && (name == "method" || name == "kernel-grid"))
      throw InputError(fmt::format("--{} is for classes: give --classes too", name));
    if (settings.target_is_class && std::ranges::find(class_options, name) == class_options.end())
      throw InputError(fmt::format("--{} is not for --classes", name));
    if (settings.kernel_grid &&
        (name == "kernel" || name == "network" || name == "weights" || name == "sw2" || name == "sb2"))
      throw InputError(
          fmt::format("--kernel-grid and --{}: give one, the grid has kernels of its own", name));
  }
}

int class_command(Invocation& invocation) {
  const Settings& s = invocation.settings;
  const bool tests = invocation.record.command == "test", fits = invocation.record.command == "fit";
  if (tests && (s.kernel_grid || !s.method.empty()))
    throw InputError(fmt::format("--{} is for stop and fit: the test has no fit",
                                 s.kernel_grid ? "kernel-grid" : "method"));
  check_class_files(s);
  ClassJob job = make_class_job(s);
  job.test_only = tests;
  invocation.record.seed = job.seed;
  ClassResult result = [&] {
    TerminalProgress progress(!s.quiet);
    job.progress = &progress;
    return run(job);
  }();
  job.progress = nullptr;
  const std::string text = text_class_report(job, result);
  const bool is_usable = usable(tests ? result.test.outcome : result.fit.outcome);
  invocation.document = json_class_report(invocation.record, job, result);
  const std::string reason = result.fit.reason;
  if (fits && is_usable) {
    ClassModel model = make_model(job, std::move(result));
    model.run = run_for_model(invocation.document);
    model.save(s.output);
  }
  if (!s.json.empty()) write_file_atomically(s.json, invocation.document);
  if (!s.quiet) print(text);
  if (fits && !is_usable)
    std::fputs(fmt::format("gradflow: no model was written: {}\n", reason).c_str(), stderr);
  if (fits && is_usable && !s.quiet) print(fmt::format("Model written to {}.\n", s.output));
  return is_usable ? exit_usable : exit_not_usable;
}

int predict_classes(Invocation& invocation) {
  const Settings& s = invocation.settings;
  if (!s.cross.empty() || !s.cross_diagonal.empty())
    throw InputError(fmt::format("--cross is for models of --operator, and '{}' is one of classes", s.model));
  if (!s.level.empty() || (!s.interval.empty() && s.interval != "model"))
    throw InputError(fmt::format("--{}: the predictions of '{}' are class probabilities, without intervals",
                                 s.level.empty() ? "interval" : "level", s.model));
  const ClassModel model = ClassModel::load(s.model);
  invocation.record.seed = model.seed;
  const NewRows rows = read_new_rows(s, model.recipe);
  const ClassPredictions predictions = [&] {
    TerminalProgress progress(!s.quiet);
    return predict(model, rows, &progress);
  }();
  if (!s.json.empty())
    write_file_atomically(s.json, json_class_prediction_report(invocation.record, model, predictions));
  warn(predictions.warnings);
  give_predictions(s, rows, class_predictions_csv(model.classes, predictions));
  return exit_usable;
}

}  // namespace gradflow::cli
