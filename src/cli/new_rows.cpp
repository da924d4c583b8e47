#include "cli/new_rows.h"

#include <fmt/format.h>

#include <cstdio>

#include "cli/make_job.h"
#include "gradflow/base/error.h"
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

void warn(const std::vector<std::string>& warnings) {
  for (const std::string& warning : warnings)
    std::fputs(fmt::format("gradflow: warning: {}\n", warning).c_str(), stderr);
}

}  // namespace gradflow::cli
