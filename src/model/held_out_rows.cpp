#include "gradflow/model/held_out_rows.h"

#include <cmath>
#include <filesystem>
#include <limits>

#include "data/cells.h"
#include "data/class_response.h"
#include "data/text.h"
#include "gradflow/base/error.h"
#include "gradflow/model/data_source.h"

namespace gradflow {
namespace {

// NaN where missing.
std::vector<double> responses(const Cells& cells, Index column, const std::vector<std::string>& classes) {
  if (classes.empty()) return cells.numbers(column, "the response must be numeric");
  const auto texts = cells.texts(column);
  std::vector<double> values;
  for (std::size_t row = 0; row < texts.size(); ++row)
    values.push_back(texts[row]
                         ? class_position(*texts[row], classes, cells.place(static_cast<Index>(row), column))
                         : std::numeric_limits<double>::quiet_NaN());
  return values;
}

HeldOutRows with_responses(const NewRows& rows, const std::vector<double>& raw, const Recipe& recipe,
                           const std::string& source) {
  HeldOutRows held{.X = {}, .Z = {}, .y = {}, .warnings = rows.warnings};
  std::vector<Index> kept;
  std::vector<double> values;
  for (std::size_t i = 0; i < rows.row.size(); ++i) {
    const double value = raw[static_cast<std::size_t>(rows.row[i])];
    if (std::isnan(value)) continue;
    kept.push_back(static_cast<Index>(i));
    values.push_back((value - recipe.target_center) / recipe.target_scale);
  }
  if (kept.empty()) throw InputError(fmt::format("{}: no row has all values", source));
  const auto missing = static_cast<long>(rows.row.size() - kept.size());
  if (missing > 0)
    held.warnings.push_back(fmt::format("{} of {} {} no response and {} left out.", counted(missing, "row"),
                                        source, missing == 1 ? "has" : "have",
                                        missing == 1 ? "was" : "were"));
  held.X = rows.X(kept, Eigen::all);
  held.Z = rows.Z(kept, Eigen::all);
  held.y = Eigen::Map<const Vector>(values.data(), static_cast<Index>(values.size()));
  return held;
}

HeldOutRows from_arrays(const std::string& features, const std::string& response, const Recipe& recipe,
                        const std::vector<std::string>& classes) {
  const FeatureArray array = read_features(features);
  with_shape(recipe.options, array, features);  // throws where it is another
  const NewRows rows = encode(recipe, array.rows, features);
  const Matrix column = read_array(response).as_vector(response);
  if (column.rows() != array.rows.rows())
    throw InputError(fmt::format("'{}' has {} rows and '{}' {} values: there must be as many", features,
                                 array.rows.rows(), response, column.rows()));
  return with_responses(rows, responses(MatrixCells(column, response), 0, classes), recipe, response);
}

}  // namespace

HeldOutRows read_held_out(const std::string& file, const Recipe& recipe, const TableOptions& table_options,
                          const std::vector<std::string>& classes) {
  const std::size_t comma = file.find(',');
  if (comma != std::string::npos && !std::filesystem::exists(file))
    return from_arrays(file.substr(0, comma), file.substr(comma + 1), recipe, classes);
  const Table table = read_table(file, table_options);
  const TableCells cells(table, recipe.missing_values);
  const Index column = cells.find(recipe.options.target, option_name::target);
  return with_responses(encode(recipe, table), responses(cells, column, classes), recipe, table.source);
}

}  // namespace gradflow
