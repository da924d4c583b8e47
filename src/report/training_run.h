#pragma once

#include <vector>

#include "report/chart.h"
#include "report/verdict.h"

/// The page of a run of `gradflow train`: what its looks at the training saw.
namespace gradflow {

/// How far training went; whether the theory of a fixed operator described it.
ReportVerdict training_verdict(const RunDocument& run);
std::vector<Fact> training_facts(const RunDocument& run);

Chart loss_chart(const RunDocument& run);  ///< losses and effective degrees of freedom along the steps
Chart cross_validation_chart(const RunDocument& run);  ///< loss of rows left out along the training
Chart trained_gcv_chart(const RunDocument& run);       ///< GCV and the dof used, from twins, along it
Chart regime_chart(
    const RunDocument& run);  ///< drift of the operator, and distance from its linearised training

}  // namespace gradflow
