#pragma once

#include <optional>
#include <string>
#include <vector>

#include "data/cells.h"
#include "gradflow/data/dataset.h"

namespace gradflow {

/// One input column as read. The two kinds share what the row selection needs.
struct RawColumn {
  Index input = 0;  ///< index of the input column
  bool is_covariate = false;
  bool is_categorical = false;
  std::vector<double> numbers;                    ///< numeric: one per row, NaN where missing
  std::vector<std::optional<std::string>> texts;  ///< categorical: one per row, empty where missing

  Index rows() const noexcept;
  bool is_missing(Index row) const noexcept;
  /// Number of different nonmissing values, counted up to 2.
  int distinct_up_to_two() const;
  void keep(const std::vector<Index>& rows);
};

RawColumn read_column(const Cells& cells, Index input, bool is_categorical, std::string_view advice);

/// What the column's recipe is on these rows, of which missing ones are left out. Throws InputError for a
/// categorical column with too many levels.
ColumnRecipe learn_recipe(const RawColumn& column, const Cells& cells);

/// A categorical column's values as indices of the recipe's levels.
std::vector<Index> level_codes(const RawColumn& column, const ColumnRecipe& recipe);
inline constexpr Index missing_level = -1;
inline constexpr Index unknown_level = -2;

/// The column's numbers (level < 0) or the 0/1 indicator of a level, before centring and scaling; missing
/// values are replaced by the recipe's fill, unknown levels give 0. `codes` are level_codes, empty for a
/// numeric column.
Vector raw_values(const RawColumn& column, const ColumnRecipe& recipe, const std::vector<Index>& codes,
                  Index level);

/// Mean, standard deviation (divisor n - 1) and range of a sample.
struct Moments {
  double mean = 0.0;
  double deviation = 0.0;
  bool is_constant = true;  ///< deviation below 1e-12 of the largest magnitude
};
Moments moments(ConstVector values);

}  // namespace gradflow
