#include "cli/new_rows.h"

#include <fmt/format.h>

#include <cstdio>

#include "cli/make_job.h"
#include "cli/output.h"
#include "gradflow/base/atomic_file.h"
#include "gradflow/base/error.h"
#include "gradflow/data/csv_writer.h"
#include "gradflow/model/data_source.h"

namespace gradflow::cli {
namespace {

bool is_array_file(const std::string& text) {
  return text.ends_with(".npy") || text.find(".npz") != std::string::npos;
}

}  // namespace

NewRows encode_file(const Recipe& recipe, const std::string& path, const Settings& settings) {
  if (is_array_file(path)) return encode(recipe, read_features(path).rows, path);
  TableOptions options = make_table_options(settings);
  options.missing_values = recipe.missing_values;
  return encode(recipe, read_table(path, options));
}

NewRows read_new_rows(const Settings& s, const Recipe& recipe) {
  if (!s.table.empty() && !s.features.empty())
    throw InputError(fmt::format(
        "both a table ('{}') and --features are given: the new rows are one or the other", s.table));
  if (s.table.empty() && s.features.empty())
    throw InputError("no new rows: give a table NEW.csv or --features NEW.npy");
  return encode_file(recipe, s.table.empty() ? s.features : s.table, s);
}

std::string predictions_csv(const Predictions& predictions) {
  std::string text = "id,mean,sd,lower,upper\n";
  for (std::size_t i = 0; i < predictions.ids.size(); ++i) {
    const auto row = static_cast<Index>(i);
    text += csv_field(predictions.ids[i]);
    for (const double value :
         {predictions.mean(row), predictions.sd(row), predictions.lower(row), predictions.upper(row)}) {
      text += ',';
      text += csv_number(value);
    }
    text += '\n';
  }
  return text;
}

void give_predictions(const Settings& settings, const NewRows& rows, const std::string& csv,
                      const std::vector<std::string>& statements) {
  if (settings.output.empty() || settings.output == "-") return print(csv);
  write_file_atomically(settings.output, csv);
  if (settings.quiet) return;
  for (const std::string& statement : statements) print(statement + "\n");
  print(fmt::format("{} of {} rows predicted; written to {}.\n", rows.row.size(), rows.ids.size(),
                    settings.output));
}

void warn(const std::vector<std::string>& warnings) {
  for (const std::string& warning : warnings)
    std::fputs(fmt::format("gradflow: warning: {}\n", warning).c_str(), stderr);
}

}  // namespace gradflow::cli
