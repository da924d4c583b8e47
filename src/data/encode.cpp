#include <algorithm>
#include <set>
#include <unordered_map>
#include <utility>

#include "data/column_cells.h"
#include "data/columns.h"
#include "data/text.h"
#include "gradflow/base/error.h"
#include "gradflow/data/dataset.h"

namespace gradflow {
namespace {

/// A column of the new rows beside its recipe.
struct NewColumn {
  RawColumn raw;
  std::vector<Index> codes;
};

using Positions = std::unordered_map<std::string, Index>;

Positions positions_of(const Cells& cells) {
  Positions positions;
  for (const std::string& name : cells.names()) positions.emplace(name, static_cast<Index>(positions.size()));
  return positions;
}

void check_present(const Recipe& recipe, const Cells& cells, const Positions& positions) {
  std::vector<std::string> absent;
  for (const ColumnRecipe& column : recipe.columns)
    if (!positions.contains(column.name) &&
        std::find(absent.begin(), absent.end(), shown(column.name)) == absent.end())
      absent.push_back(shown(column.name));
  if (absent.empty()) return;
  throw InputError(fmt::format("{}: {} {} {} absent, and the model needs {}", cells.source(),
                               absent.size() == 1 ? "column" : "columns", listed(absent),
                               absent.size() == 1 ? "is" : "are", absent.size() == 1 ? "it" : "them"));
}

void warn_of_extra_columns(const Recipe& recipe, const Cells& cells, NewRows& result) {
  const std::set<std::string> known(recipe.input_columns.begin(), recipe.input_columns.end());
  std::vector<std::string> extra;
  for (const std::string& name : cells.names())
    if (!known.contains(name)) extra.push_back(shown(name));
  if (extra.empty()) return;
  result.warnings.push_back(fmt::format("{} of {} {} not in the training table and {} ignored: {}.",
                                        counted(static_cast<long>(extra.size()), "column"), cells.source(),
                                        extra.size() == 1 ? "is" : "are", extra.size() == 1 ? "was" : "were",
                                        listed(extra)));
}

void warn_of_unknown_levels(const NewColumn& column, const Cells& cells, NewRows& result) {
  std::set<std::string> unknown;
  long count = 0;
  for (std::size_t i = 0; i < column.codes.size(); ++i) {
    if (column.codes[i] != unknown_level) continue;
    unknown.insert(shown(*column.raw.texts[i]));
    ++count;
  }
  if (count == 0) return;
  result.warnings.push_back(fmt::format(
      "{}: {} {} a category not seen in training ({}), which is encoded as none of the known ones.",
      cells.column_place(column.raw.input), counted(count, "row"), count == 1 ? "has" : "have",
      listed({unknown.begin(), unknown.end()})));
}

void name_rows(const Recipe& recipe, const Cells& cells, const Positions& positions, NewRows& result) {
  const std::string& id = recipe.options.id;
  const auto found = id.empty() ? positions.end() : positions.find(id);
  const Index col = found == positions.end() ? -1 : found->second;
  if (!id.empty() && col < 0)
    result.warnings.push_back(fmt::format("{} has no identifier column {}; rows are named by their numbers.",
                                          cells.source(), shown(id)));
  for (Index row = 0; row < cells.rows(); ++row)
    result.ids.push_back(col < 0 ? fmt::format("{}", row + 1) : cells.identifier(row, col));
}

std::vector<NewColumn> read_columns(const Recipe& recipe, const Cells& cells, const Positions& positions,
                                    NewRows& result) {
  std::vector<NewColumn> columns;
  for (const ColumnRecipe& column_recipe : recipe.columns) {
    NewColumn column;
    column.raw = read_column(cells, positions.at(column_recipe.name), column_recipe.is_categorical,
                             "the column held numbers in training");
    column.codes = level_codes(column.raw, column_recipe);
    warn_of_unknown_levels(column, cells, result);
    columns.push_back(std::move(column));
  }
  return columns;
}

// Fills result.row by the policy for missing values.
void select_rows(const std::vector<NewColumn>& columns, MissingPolicy policy, const Cells& cells,
                 NewRows& result) {
  long missing_cells = 0;
  for (Index row = 0; row < cells.rows(); ++row) {
    bool complete = true;
    for (const NewColumn& column : columns) {
      if (!column.raw.is_missing(row)) continue;
      if (policy == MissingPolicy::error)
        throw InputError(fmt::format("{}: the value is missing, and the model was fitted with {} error",
                                     cells.place(row, column.raw.input), option_name::missing));
      complete = false;
      ++missing_cells;
    }
    if (complete || policy == MissingPolicy::mean) result.row.push_back(row);
  }
  const long skipped = static_cast<long>(cells.rows()) - static_cast<long>(result.row.size());
  if (skipped > 0)
    result.warnings.push_back(fmt::format("{} of {} {} a missing value and no prediction (NA).",
                                          counted(skipped, "row"), cells.source(),
                                          skipped == 1 ? "has" : "have"));
  if (policy == MissingPolicy::mean && missing_cells > 0)
    result.warnings.push_back(fmt::format(
        "{} of {} {} replaced by the training {}.", counted(missing_cells, "missing value"), cells.source(),
        missing_cells == 1 ? "was" : "were", missing_cells == 1 ? "mean" : "means"));
}

// value = (raw - center) / scale
Matrix encoded(const std::vector<EncodedColumn>& targets, const Recipe& recipe,
               const std::vector<NewColumn>& columns, Index rows) {
  Matrix result(rows, static_cast<Index>(targets.size()));
  for (std::size_t j = 0; j < targets.size(); ++j) {
    const auto source = static_cast<std::size_t>(targets[j].source);
    const Vector raw =
        raw_values(columns[source].raw, recipe.columns[source], columns[source].codes, targets[j].level);
    result.col(static_cast<Index>(j)) = (raw.array() - targets[j].center) / targets[j].scale;
  }
  return result;
}

NewRows encode_cells(const Recipe& recipe, const Cells& cells) {
  NewRows result;
  const Positions positions = positions_of(cells);
  check_present(recipe, cells, positions);
  warn_of_extra_columns(recipe, cells, result);
  name_rows(recipe, cells, positions, result);
  std::vector<NewColumn> columns = read_columns(recipe, cells, positions, result);
  select_rows(columns, recipe.options.missing, cells, result);
  for (std::size_t c = 0; c < columns.size(); ++c) {
    columns[c].raw.keep(result.row);
    columns[c].codes = level_codes(columns[c].raw, recipe.columns[c]);
  }
  const auto rows = static_cast<Index>(result.row.size());
  result.X = encoded(recipe.features, recipe, columns, rows);
  result.Z = encoded(recipe.covariates, recipe, columns, rows);
  return result;
}

}  // namespace

NewRows encode(const Recipe& recipe, const Table& table) {
  return encode_cells(recipe, TableCells(table, recipe.missing_values));
}

NewRows encode(const Recipe& recipe, const ColumnTable& table) {
  return encode_cells(recipe, ColumnCells(table));
}

NewRows encode(const Recipe& recipe, const Matrix& features, const std::string& features_name) {
  const MatrixCells cells(features, features_name);
  for (std::size_t i = 0; i < recipe.input_columns.size(); ++i)
    if (recipe.input_columns[i] != fmt::format("x{}", i + 1))
      throw InputError(
          fmt::format("{}: the model was fitted to a table with named columns ({}), so new rows must be "
                      "a table with these columns",
                      features_name, listed(recipe.input_columns, 5)));
  if (features.cols() != static_cast<Index>(recipe.input_columns.size()))
    throw InputError(fmt::format("{} has {}, and the model was fitted to {}", features_name,
                                 counted(features.cols(), "column"), recipe.input_columns.size()));
  return encode_cells(recipe, cells);
}

}  // namespace gradflow
