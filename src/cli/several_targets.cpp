#include "cli/several_targets.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/make_job.h"
#include "cli/numbers.h"
#include "cli/output.h"
#include "cli/training_request.h"
#include "gradflow/base/atomic_file.h"
#include "gradflow/base/error.h"
#include "gradflow/report/text_report.h"

namespace gradflow::cli {
namespace {

using Json = nlohmann::ordered_json;

struct TargetRun {
  std::string target;
  int exit_code = exit_usable;
  std::string error{};  ///< bad input: its sentence
  Json document = nullptr;
};

// What a target may be called in a file's name.
std::string file_part(const std::string& target) {
  std::string part = target;
  for (char& c : part)
    if (c == '/' || c == '\\' || static_cast<unsigned char>(c) <= ' ') c = '_';
  return part;
}

// "out/m.gf" and "a": "out/m.a.gf".
std::string file_of(const std::string& output, const std::string& target) {
  if (output.empty()) return output;
  const std::filesystem::path path(output);
  const std::string name =
      fmt::format("{}.{}{}", path.stem().string(), file_part(target), path.extension().string());
  return (path.parent_path() / name).string();
}

Settings settings_of(const Settings& all, const std::vector<std::string>& targets,
                     const std::string& target) {
  Settings one = all;
  one.target = target;
  for (const std::string& other : targets)
    if (other != target) one.exclude = one.exclude.empty() ? other : fmt::format("{},{}", one.exclude, other);
  for (std::string Settings::*file : {&Settings::output, &Settings::onnx, &Settings::watch})
    one.*file = file_of(all.*file, target);
  one.json.clear();
  return one;
}

void check_targets(const Settings& s, const std::vector<std::string>& targets) {
  std::set<std::string> files;
  for (const std::string& target : targets) {
    if (target.empty()) throw InputError(fmt::format("--target {}: a name is empty", s.target));
    if (std::ranges::count(targets, target) > 1)
      throw InputError(fmt::format("--target {}: '{}' is named twice; once is enough", s.target, target));
    for (const std::string& output : {s.output, s.onnx, s.watch}) {
      const std::string file = file_of(output, target);
      if (!file.empty() && !files.insert(file).second)
        throw InputError(
            fmt::format("--target {}: two results would have the same file, '{}'", s.target, file));
      if (same_file(file, s.json))
        throw InputError(fmt::format("--json and another result name the same file, '{}'", file));
    }
  }
  if (!s.checkpoint.empty()) throw InputError("--checkpoint is of one run: not for several targets");
  require_writable(s.json, {s.table, s.weights});
}

TargetRun run_target(const Invocation& all, const std::vector<std::string>& targets,
                     const std::string& target, int (*command)(Invocation&)) {
  Invocation one{settings_of(all.settings, targets, target), all.record};
  one.keeps_document = true;
  for (auto& [option, value] : one.record.options)
    if (option == "target") value = target;
  TargetRun run;
  run.target = target;
  try {
    run.exit_code = command(one);
  } catch (const FileError&) {
    throw;  // a result cannot be written: nor could the others
  } catch (const InputError& error) {
    run.exit_code = exit_bad_input;
    run.error = error.what();
    std::fputs(fmt::format("gradflow: error: {}: {}\n", target, run.error).c_str(), stderr);
  }
  if (!one.document.empty()) run.document = Json::parse(one.document);
  return run;
}

std::string shown(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  return value.is_number() ? fmt::format("{:.5g}", value.get<double>()) : "NA";
}

Json at(const Json& document, const char* object, const char* name) {
  if (!document.is_object() || !document.contains(object)) return nullptr;
  return document[object].value(name, Json(nullptr));
}

// A column of the summary: an object of the document and its member.
struct SummaryColumn {
  const char *heading, *object, *name;
};

std::vector<SummaryColumn> columns_of(const std::string& command) {
  if (command == "train")
    return {{"steps", "training", "steps"}, {"time", "training", "time"}, {"loss", "training", "loss"}};
  std::vector<SummaryColumn> columns{{"p", "test", "p_value"}, {"log10 p", "test", "log10_p_value"}};
  if (command != "test")
    columns.insert(columns.end(), {{"rule", "chosen", "rule"}, {"time", "chosen", "time"}});
  return columns;
}

std::string summary_table(const std::vector<TargetRun>& runs, const std::string& command) {
  const std::vector<SummaryColumn> columns = columns_of(command);
  std::vector<std::vector<std::string>> rows{{"target", "n"}};
  for (const SummaryColumn& column : columns) rows.front().emplace_back(column.heading);
  rows.front().emplace_back("");
  for (const TargetRun& run : runs) {
    const Json n = run.document.is_object() ? run.document.value("n", Json(nullptr)) : Json(nullptr);
    rows.push_back({run.target, n.is_number() ? n.dump() : "NA"});
    for (const SummaryColumn& column : columns)
      rows.back().push_back(shown(at(run.document, column.object, column.name)));
    rows.back().emplace_back(run.exit_code == exit_usable      ? ""
                             : run.exit_code == exit_bad_input ? "bad input"
                                                               : "not usable");
  }
  return text_table(rows);
}

std::string json_of(const Invocation& invocation, const std::vector<TargetRun>& runs) {
  Json document = {{"command", invocation.record.command},
                   {"argv", invocation.record.arguments},
                   {"targets", Json::object()}};
  for (const TargetRun& run : runs)
    document["targets"][run.target] = run.document.is_null() ? Json{{"error", run.error}} : run.document;
  return document.dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
}

}  // namespace

std::vector<std::string> targets_of(const Settings& settings) {
  std::vector<std::string> targets = split_list(settings.target);
  if (targets.size() < 2 || settings.table.empty()) return {settings.target};
  const Table table = read_table(settings.table, make_table_options(settings));
  if (std::ranges::find(table.names, settings.target) != table.names.end()) return {settings.target};
  return targets;
}

int several_targets(const Invocation& invocation, const std::vector<std::string>& targets,
                    int (*command)(Invocation&)) {
  const Settings& s = invocation.settings;
  check_targets(s, targets);
  const Settings first = settings_of(s, targets, targets.front());  // for options that fit no target
  if (invocation.record.command == "train")
    make_job(training_settings(first), Purpose::training);
  else
    make_job(first, Purpose::inference);
  std::vector<TargetRun> runs;
  for (const std::string& target : targets) {
    if (!s.quiet) print(fmt::format("{}== {} ==\n", runs.empty() ? "" : "\n", target));
    runs.push_back(run_target(invocation, targets, target, command));
  }
  if (!s.json.empty()) write_file_atomically(s.json, json_of(invocation, runs));
  if (!s.quiet) print(fmt::format("\n{}", summary_table(runs, invocation.record.command)));
  std::vector<std::string> failed;
  for (const TargetRun& run : runs)
    if (run.exit_code != exit_usable) failed.push_back(run.target);
  if (failed.empty()) return exit_usable;
  std::fputs(fmt::format("gradflow: no usable result for {} of {} targets: {}\n", failed.size(), runs.size(),
                         fmt::join(failed, ", "))
                 .c_str(),
             stderr);
  const bool all_bad =
      std::ranges::all_of(runs, [](const TargetRun& run) { return run.exit_code == exit_bad_input; });
  return all_bad ? exit_bad_input : exit_not_usable;
}

}  // namespace gradflow::cli
