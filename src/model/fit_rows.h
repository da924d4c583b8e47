#pragma once

#include <vector>

#include "gradflow/model/fitted_model.h"

namespace gradflow {

/// Some rows, with the encoding of all.
Dataset part_of(const Dataset& data, const std::vector<Index>& rows);

struct FittedRows {
  FittedModel model;
  Vector errors{};  ///< standardised_errors() of the merged rows; empty where model.calibration is not known
};

/// What `gradflow fit` makes of these rows with this kernel and transform of the response: dense engine,
/// rule, path and fixed effects as in `analysis`, replicates merged. `data` is neither transformed nor
/// merged.
FittedRows fit_rows(Dataset data, const KernelSum& kernel, const ResponseTransform& transform,
                    const AnalysisOptions& analysis);

}  // namespace gradflow
