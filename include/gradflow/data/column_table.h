#pragma once

#include <optional>
#include <string>
#include <vector>

#include "gradflow/base/types.h"
#include "gradflow/data/class_dataset.h"
#include "gradflow/data/dataset.h"

namespace gradflow {

/// A column of numbers, which is a view of the caller's memory, or of texts. Value i of a view is
/// numbers[i stride]; NaN and an empty text are missing.
struct TableColumn {
  std::string name;
  const double* numbers = nullptr;                  ///< null: a column of texts
  Index stride = 1;                                 ///< in doubles; may be negative
  std::vector<std::optional<std::string>> texts{};  ///< one per row
};

/// A table in memory, for callers that have the data already: nothing is copied before it is encoded.
struct ColumnTable {
  std::string source = "the data";  ///< what messages call it
  Index rows = 0;
  std::vector<TableColumn> columns{};
  /// The features are known by their positions, as those of an array: response and weights are then no
  /// columns of the recipe, and new rows may come as an array too. Set by add() without names.
  bool by_position = false;

  /// Columns of an n x d matrix whose entry (i, j) is data[i row_stride + j column_stride], under these names
  /// or, where they are empty, as x1, x2, ... Throws InputError for other numbers of rows or names.
  void add(const double* data, Index n, Index d, Index row_stride, Index column_stride,
           const std::vector<std::string>& names = {});
  void add(std::string name, std::vector<std::optional<std::string>> texts);
};

/// As of a table that was read (data/dataset.h): the same numbers from the same values. A column of texts is
/// categorical also where its texts are numbers. Throws InputError as they do, naming row and column.
Dataset make_dataset(const ColumnTable& table, const DatasetOptions& options);
ClassDataset make_class_dataset(const ColumnTable& table, const DatasetOptions& options);
NewRows encode(const Recipe& recipe, const ColumnTable& table);

}  // namespace gradflow
