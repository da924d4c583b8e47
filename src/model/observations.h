#pragma once

#include "gradflow/data/dataset.h"
#include "gradflow/inference/analysis.h"

namespace gradflow {

/// The data in raw units, as job.h states them; `output` of the network at initialization, standardised.
Observations observe(const Dataset& dataset, const WithinGroups& within, const Vector& output);

}  // namespace gradflow
