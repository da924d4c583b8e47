#pragma once

#include <string>
#include <vector>

#include "gradflow/data/dataset.h"
#include "gradflow/data/table.h"

namespace gradflow {

/// Rows with responses that have no part in a fit or a training, through its encoding.
struct HeldOutRows {
  Matrix X;  ///< m x d, encoded
  Matrix Z;  ///< m x q, covariates
  Vector y;  ///< m: (raw - target_center) / target_scale, or the position of the row's class
  std::vector<std::string> warnings;  ///< as of NewRows; rows without a response are left out
};

/// `file` is a table with the columns of the training table, the response among them, or two arrays
/// "FEATURES,RESPONSE" (DataSource's notation). `classes`: names of the response's classes; empty: numbers.
/// Throws InputError as encode() and read_table() do, and where the response is absent, not a number, or a
/// class that is not among `classes`, no row is left, or the arrays' rows differ in number.
HeldOutRows read_held_out(const std::string& file, const Recipe& recipe, const TableOptions& table_options,
                          const std::vector<std::string>& classes = {});

}  // namespace gradflow
