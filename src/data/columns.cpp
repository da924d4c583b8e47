#include "data/columns.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "data/text.h"
#include "gradflow/base/error.h"

namespace gradflow {
namespace {

constexpr std::size_t most_levels = 1000;

std::vector<std::string> sorted_levels(const RawColumn& column) {
  std::vector<std::string> levels;
  for (const auto& text : column.texts)
    if (text) levels.push_back(*text);
  std::sort(levels.begin(), levels.end());
  levels.erase(std::unique(levels.begin(), levels.end()), levels.end());
  return levels;
}

void check_levels(const std::vector<std::string>& levels, const RawColumn& column, const Cells& cells) {
  const auto advice = [] {
    return fmt::format("name it in {} or {}", option_name::id, option_name::exclude);
  };
  if (static_cast<Index>(levels.size()) == column.rows())
    throw InputError(fmt::format("{}: a different category in each of {} rows, as an identifier has; {}",
                                 cells.column_place(column.input), column.rows(), advice()));
  if (levels.size() > most_levels)
    throw InputError(fmt::format("{}: {} categories, and at most {} are encoded; {}",
                                 cells.column_place(column.input), levels.size(), most_levels, advice()));
}

template <typename Value>
void keep_rows(std::vector<Value>& values, const std::vector<Index>& rows) {
  if (values.empty()) return;
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (static_cast<Index>(i) != rows[i]) values[i] = std::move(values[static_cast<std::size_t>(rows[i])]);
  values.resize(rows.size());
}

}  // namespace

Index RawColumn::rows() const noexcept {
  return static_cast<Index>(is_categorical ? texts.size() : numbers.size());
}

bool RawColumn::is_missing(Index row) const noexcept {
  const auto i = static_cast<std::size_t>(row);
  return is_categorical ? !texts[i].has_value() : std::isnan(numbers[i]);
}

int RawColumn::distinct_up_to_two() const {
  Index first = 0;
  while (first < rows() && is_missing(first)) ++first;
  if (first == rows()) return 0;
  const auto f = static_cast<std::size_t>(first);
  for (Index row = first + 1; row < rows(); ++row) {
    const auto r = static_cast<std::size_t>(row);
    if (!is_missing(row) && (is_categorical ? texts[r] != texts[f] : numbers[r] != numbers[f])) return 2;
  }
  return 1;
}

void RawColumn::keep(const std::vector<Index>& rows) {
  keep_rows(numbers, rows);
  keep_rows(texts, rows);
}

RawColumn read_column(const Cells& cells, Index input, bool is_categorical, std::string_view advice) {
  RawColumn column;
  column.input = input;
  column.is_categorical = is_categorical;
  if (is_categorical) {
    column.texts = cells.texts(input);
  } else {
    column.numbers = cells.numbers(input, advice);
  }
  return column;
}

ColumnRecipe learn_recipe(const RawColumn& column, const Cells& cells) {
  ColumnRecipe recipe;
  recipe.name = cells.names()[static_cast<std::size_t>(column.input)];
  recipe.is_covariate = column.is_covariate;
  recipe.is_categorical = column.is_categorical;
  Index present = 0;
  for (Index row = 0; row < column.rows(); ++row) present += column.is_missing(row) ? 0 : 1;
  if (present == 0)
    throw InputError(
        fmt::format("{}: every value is missing in the rows that have a response; leave the column out "
                    "with {}",
                    cells.column_place(column.input), option_name::exclude));
  if (!column.is_categorical) {
    Vector values(present);
    std::copy_if(column.numbers.begin(), column.numbers.end(), values.begin(),
                 [](double value) { return !std::isnan(value); });
    recipe.fill = moments(values).mean;
    return recipe;
  }
  recipe.levels = sorted_levels(column);
  check_levels(recipe.levels, column, cells);
  recipe.level_fill.assign(recipe.levels.size(), 0.0);
  for (const Index code : level_codes(column, recipe))
    if (code >= 0) recipe.level_fill[static_cast<std::size_t>(code)] += 1.0;
  for (double& share : recipe.level_fill) share /= static_cast<double>(present);
  return recipe;
}

std::vector<Index> level_codes(const RawColumn& column, const ColumnRecipe& recipe) {
  std::vector<Index> codes;
  codes.reserve(column.texts.size());
  for (const auto& text : column.texts) {
    if (!text) {
      codes.push_back(missing_level);
      continue;
    }
    const auto found = std::lower_bound(recipe.levels.begin(), recipe.levels.end(), *text);
    const bool known = found != recipe.levels.end() && *found == *text;
    codes.push_back(known ? found - recipe.levels.begin() : unknown_level);
  }
  return codes;
}

Vector raw_values(const RawColumn& column, const ColumnRecipe& recipe, const std::vector<Index>& codes,
                  Index level) {
  Vector values(column.rows());
  for (Index row = 0; row < column.rows(); ++row) {
    const auto i = static_cast<std::size_t>(row);
    if (!column.is_categorical) {
      values[row] = column.is_missing(row) ? recipe.fill : column.numbers[i];
    } else if (codes[i] == missing_level) {
      values[row] = recipe.level_fill[static_cast<std::size_t>(level)];
    } else {
      values[row] = codes[i] == level ? 1.0 : 0.0;
    }
  }
  return values;
}

Moments moments(ConstVector values) {
  const Index n = values.size();
  if (n == 0) return {};
  const double largest = values.cwiseAbs().maxCoeff();
  if (largest == 0.0) return {};
  // In units of the largest magnitude, so that no square underflows; the mean is refined by the residuals'
  // mean.
  const Vector unit = values / largest;
  double mean = unit.mean();
  mean += (unit.array() - mean).mean();
  const double squares = (unit.array() - mean).square().sum();
  const double deviation = n > 1 ? std::sqrt(squares / static_cast<double>(n - 1)) : 0.0;
  constexpr double relative_resolution = 1e-12;
  return {largest * mean, largest * deviation, deviation < relative_resolution};
}

}  // namespace gradflow
