#pragma once

#include "gradflow/inference/analysis.h"

namespace gradflow {

/// Fills components and residuals from the dense spectrum and the ridge fit; where there is none, their
/// reasons say so.
void diagnose(Analysis& analysis, const RemlOptions& options, std::uint64_t seed);

}  // namespace gradflow
