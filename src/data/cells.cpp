#include "data/cells.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "data/text.h"
#include "gradflow/base/error.h"
#include "gradflow/data/dataset.h"

namespace gradflow {
namespace {

constexpr double missing_number = std::numeric_limits<double>::quiet_NaN();

[[noreturn]] void fail_too_large(std::string_view value, const std::string& place) {
  throw InputError(fmt::format("{}: {} exceeds 1e150 in magnitude; rescale the column", place, value));
}

[[noreturn]] void fail_not_finite(std::string_view value, const std::string& place) {
  throw InputError(
      fmt::format("{}: {} is not a finite number; every value must be finite or missing", place, value));
}

// "1,5" where "1.5" is meant, in files from programs that follow a locale.
bool has_decimal_comma(std::string_view cell) {
  std::string text(cell);
  const std::size_t comma = text.find(',');
  if (comma == std::string::npos) return false;
  text[comma] = '.';
  return parse_number(text).kind == NumberKind::number;
}

}  // namespace

void check_value(double value, const std::string& place) {
  if (std::isnan(value)) return;
  const std::string text = fmt::format("{}", value);
  if (!std::isfinite(value)) fail_not_finite(text, place);
  if (std::abs(value) > largest_magnitude) fail_too_large(text, place);
}

std::string Cells::column_place(Index col) const {
  return fmt::format("{}, column {}", source(), shown(names()[static_cast<std::size_t>(col)]));
}

TableCells::TableCells(const Table& table, const std::vector<std::string>& missing_values)
    : table_(table), missing_values_(&missing_values) {}

bool TableCells::is_missing(std::string_view cell) const {
  if (missing_values_ == nullptr) return table_.is_missing(cell);
  return std::find(missing_values_->begin(), missing_values_->end(), trim(cell)) != missing_values_->end();
}

std::string TableCells::place(Index row, Index col) const {
  return fmt::format("{}, line {}, column {}", table_.source, table_.line[static_cast<std::size_t>(row)],
                     shown(table_.names[static_cast<std::size_t>(col)]));
}

bool TableCells::holds_text(Index col) const {
  bool any_text = false, all_decimal_comma = true;
  Index first_text = 0;
  for (Index row = 0; row < rows(); ++row) {
    const std::string& cell = table_.cell(row, col);
    if (is_missing(cell)) continue;
    const NumberKind kind = parse_number(cell).kind;
    if (kind == NumberKind::number || kind == NumberKind::too_large) return false;
    if (kind != NumberKind::text) continue;
    if (!any_text) first_text = row;
    any_text = true;
    all_decimal_comma = all_decimal_comma && has_decimal_comma(cell);
  }
  if (any_text && all_decimal_comma)
    throw InputError(fmt::format(
        "{}: {} has a comma where a number has a decimal point; name the column in {} if "
        "its values are categories",
        place(first_text, col), shown(trim(table_.cell(first_text, col))), option_name::categorical));
  return any_text;
}

std::vector<double> TableCells::numbers(Index col, std::string_view advice) const {
  std::vector<double> values(static_cast<std::size_t>(rows()), missing_number);
  for (Index row = 0; row < rows(); ++row) {
    const std::string& cell = table_.cell(row, col);
    if (is_missing(cell)) continue;
    const ParsedNumber parsed = parse_number(cell);
    if (parsed.kind == NumberKind::number) {
      values[static_cast<std::size_t>(row)] = parsed.value;
      continue;
    }
    const std::string text = shown(trim(cell));
    if (parsed.kind == NumberKind::too_large) fail_too_large(text, place(row, col));
    if (parsed.kind == NumberKind::not_finite) fail_not_finite(text, place(row, col));
    throw InputError(fmt::format("{}: {} is not a number; {}", place(row, col), text, advice));
  }
  return values;
}

std::vector<std::optional<std::string>> TableCells::texts(Index col) const {
  std::vector<std::optional<std::string>> values(static_cast<std::size_t>(rows()));
  for (Index row = 0; row < rows(); ++row) {
    const std::string& cell = table_.cell(row, col);
    if (!is_missing(cell)) values[static_cast<std::size_t>(row)] = std::string(trim(cell));
  }
  return values;
}

MatrixCells::MatrixCells(const Matrix& matrix, const std::string& source) : matrix_(matrix), source_(source) {
  header_.source = source;
  for (Index col = 1; col <= matrix.cols(); ++col) header_.names.push_back(fmt::format("x{}", col));
}

std::string MatrixCells::place(Index row, Index col) const {
  return fmt::format("{}, row {}, column '{}'", source_, row + 1, names()[static_cast<std::size_t>(col)]);
}

std::vector<double> MatrixCells::numbers(Index col, std::string_view) const {
  const auto column = matrix_.col(col);
  for (Index row = 0; row < rows(); ++row)
    if (!(std::abs(column[row]) <= largest_magnitude)) check_value(column[row], place(row, col));
  return {column.begin(), column.end()};
}

std::vector<std::optional<std::string>> MatrixCells::texts(Index col) const {
  std::vector<std::optional<std::string>> values(static_cast<std::size_t>(rows()));
  for (Index row = 0; row < rows(); ++row)
    if (!std::isnan(matrix_(row, col))) values[static_cast<std::size_t>(row)] = identifier(row, col);
  return values;
}

std::string MatrixCells::identifier(Index row, Index col) const {
  return fmt::format("{}", matrix_(row, col));
}

}  // namespace gradflow
