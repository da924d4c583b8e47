#pragma once

#include <utility>

#include "gradflow/model/fitted_model.h"
#include "gradflow/model/job.h"

namespace gradflow {

/// The analysis that fitted a model, made again from the training rows, responses and settings that its file
/// holds: for models that do not keep their run. What was done to the data before is not known, rows are
/// named by their number, and paper mode's test is that of the plain model. Dense: cost and memory of the
/// fit.
///
/// Throws InputError, naming `source`: no responses (an earlier format), no training rows (a linearised
/// network of many rows), or more rows than the dense engine takes.
std::pair<Job, JobResult> reanalyse(const FittedModel& model, const std::string& source);

}  // namespace gradflow
