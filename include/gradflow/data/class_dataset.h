#pragma once

#include <string>
#include <vector>

#include "gradflow/data/dataset.h"

namespace gradflow {

/// A table whose response column says a class, not a number. `data` is encoded as make_dataset() does, but
/// for the response: data.y is the row's label, and the recipe's target_center and target_scale are 0 and 1.
struct ClassDataset {
  static constexpr Index most_classes = 99;
  static constexpr Index smallest_class = 2;

  Dataset data;
  std::vector<std::string> classes;  ///< K names, ascending: as numbers where all are numbers, else as text
  std::vector<Index> labels;         ///< n: 0, ..., K - 1
};

/// Cells that are all numbers are compared by value ("1" and "1.0" are one class, named "1"), others as text
/// without blanks around it. Rows without a class are dropped as rows without a response are. Throws
/// InputError as make_dataset() does, and for one class only, more than most_classes, a class with fewer than
/// smallest_class of the rows used, and covariates or row weights, which have no part in class probabilities.
ClassDataset make_class_dataset(const Table& table, const DatasetOptions& options);
/// The same from arrays; NaN is missing.
ClassDataset make_class_dataset(const Matrix& features, const Vector& response, const DatasetOptions& options,
                                const std::string& features_name, const std::string& response_name);

}  // namespace gradflow
