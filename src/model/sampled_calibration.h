#pragma once

#include "gradflow/model/job.h"

namespace gradflow {

/// calibrate() of standardised_errors() for an analysis by the Krylov engine, which has no eigenvectors: of
/// plan.calibration_rows rows, a sample by the seed where there are more, each predicted from the others of
/// them at the analysis's times and s2. Fewer rows predict worse; what carries over is how their errors
/// compare with the standard deviations that the model gives them. Not known, with the reason, without
/// variance components, where the plan has no rows for it, and where the sample does not determine the fixed
/// effects. Cost: the operator of m rows and its eigendecomposition.
ErrorCalibration calibrate_sample(const PreparedJob& prepared, const Analysis& analysis,
                                  const AnalysisOptions& options);

}  // namespace gradflow
