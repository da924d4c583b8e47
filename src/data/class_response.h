#pragma once

#include <optional>
#include <string>
#include <vector>

#include "gradflow/data/class_dataset.h"

namespace gradflow {

/// A response column read as classes.
struct ClassResponse {
  std::vector<std::string> names;  ///< ascending
  std::vector<double> codes;       ///< per row, index into names; NaN where missing
};

/// `where`: "FILE, column 'y'". Throws InputError for fewer than two classes or more than most_classes.
ClassResponse read_classes(const std::vector<std::optional<std::string>>& cells, const std::string& where);

/// The position of a cell's class among those of training, compared as read_classes() does: numbers by value.
/// `place`: "FILE, line 7, column 'y'". Throws InputError where it is none of them.
Index class_position(const std::string& cell, const std::vector<std::string>& classes,
                     const std::string& place);

/// Throws InputError for options that classes do not have.
void check_class_options(const DatasetOptions& options);

/// The labels of an encoded table whose response is the codes of `response`. Throws InputError for a class
/// with too few rows.
ClassDataset with_labels(Dataset data, ClassResponse response, const std::string& where);

}  // namespace gradflow
