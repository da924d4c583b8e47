#include "gradflow/data/column_table.h"

#include <cmath>
#include <set>
#include <utility>

#include "data/column_cells.h"
#include "data/text.h"
#include "gradflow/base/error.h"

namespace gradflow {
namespace {

void check_rows(ColumnTable& table, Index rows, const std::string& name) {
  if (table.columns.empty()) table.rows = rows;
  if (table.rows != rows)
    throw InputError(fmt::format("{}: column {} has {}, and the columns before it {}; they must be equal",
                                 table.source, shown(name), counted(rows, "row"), table.rows));
}

}  // namespace

void ColumnTable::add(const double* data, Index n, Index d, Index row_stride, Index column_stride,
                      const std::vector<std::string>& names) {
  if (!names.empty() && static_cast<Index>(names.size()) != d)
    throw InputError(fmt::format("{}: {} for {}; they must be equal", source,
                                 counted(static_cast<long>(names.size()), "name"), counted(d, "column")));
  by_position = by_position || names.empty();
  for (Index j = 0; j < d; ++j) {
    std::string name = names.empty() ? fmt::format("x{}", j + 1) : names[static_cast<std::size_t>(j)];
    check_rows(*this, n, name);
    columns.push_back({.name = std::move(name), .numbers = data + j * column_stride, .stride = row_stride});
  }
}

void ColumnTable::add(std::string name, std::vector<std::optional<std::string>> texts) {
  check_rows(*this, static_cast<Index>(texts.size()), name);
  columns.push_back({.name = std::move(name), .texts = std::move(texts)});
}

ColumnCells::ColumnCells(const ColumnTable& table) : table_(table) {
  header_.source = table.source;
  std::set<std::string> seen;
  for (const TableColumn& each : table.columns) {
    if (each.name.empty() || !seen.insert(each.name).second)
      throw InputError(fmt::format("{}: column name {} {}; each column needs a name of its own", table.source,
                                   shown(each.name), each.name.empty() ? "is empty" : "appears twice"));
    header_.names.push_back(each.name);
  }
}

std::string ColumnCells::place(Index row, Index col) const {
  return fmt::format("{}, row {}, column {}", source(), row + 1, shown(column(col).name));
}

std::vector<double> ColumnCells::numbers(Index col, std::string_view advice) const {
  const TableColumn& from = column(col);
  if (from.numbers == nullptr)
    throw InputError(fmt::format("{}: the column holds text; {}", column_place(col), advice));
  std::vector<double> values(static_cast<std::size_t>(rows()));
  for (Index row = 0; row < rows(); ++row) {
    const double value = from.numbers[row * from.stride];
    if (!(std::abs(value) <= largest_magnitude)) check_value(value, place(row, col));
    values[static_cast<std::size_t>(row)] = value;
  }
  return values;
}

std::vector<std::optional<std::string>> ColumnCells::texts(Index col) const {
  const TableColumn& from = column(col);
  if (from.numbers == nullptr) return from.texts;
  std::vector<std::optional<std::string>> values(static_cast<std::size_t>(rows()));
  for (Index row = 0; row < rows(); ++row)
    if (!std::isnan(from.numbers[row * from.stride]))
      values[static_cast<std::size_t>(row)] = identifier(row, col);
  return values;
}

std::string ColumnCells::identifier(Index row, Index col) const {
  const TableColumn& from = column(col);
  if (from.numbers == nullptr) return from.texts[static_cast<std::size_t>(row)].value_or("NA");
  return fmt::format("{}", from.numbers[row * from.stride]);
}

}  // namespace gradflow
