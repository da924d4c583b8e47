#pragma once

#include <optional>
#include <vector>

#include "data/cells.h"
#include "gradflow/data/dataset.h"

namespace gradflow {

/// What each input column is for.
struct Roles {
  std::optional<Index> target;  ///< none when the response is not one of the columns
  std::optional<Index> id;
  std::optional<Index> weights;
  std::vector<Index> features;  ///< at least one
  std::vector<Index> covariates;
  std::vector<bool> categorical;  ///< per input column: named in DatasetOptions::categorical
};

enum class ResponseIs { a_column, separate };

/// Finds the named columns and replaces positions in `options` by names. Throws InputError for a column that
/// is absent, named twice in one list, or given two roles (feature and covariate together are allowed).
Roles assign_roles(const Cells& cells, ResponseIs response, DatasetOptions& options);

}  // namespace gradflow
