#pragma once

#include "gradflow/base/progress.h"
#include "gradflow/inference/stopping.h"
#include "gradflow/training/trainer.h"

namespace gradflow {

/// The time of `reml_risk` or `reml_path` (the flow's) at theta_0 of the trainer, from products with its
/// operator alone: for more rows than InitialFlow takes. Squared loss, one output.
///
///     H = J J'/n matrix-free, w = P (Y - F_0), the Krylov engine of inference/analysis.h
///
/// The same times as InitialFlow's data give, to the standard error of log_time_standard_error (0 for
/// reml_path, whose time is certified to 1e-9, in float32 1e-6). The same bits for any number of threads.
/// Cost: tens of products for reml_path, hundreds to thousands for reml_risk; memory that of the Jacobian
/// operator and 8 n (steps + 100) bytes. Throws InputError for cross-entropy and K > 1.
StoppingRule planned_time(const Trainer& trainer, RuleKind rule, Progress* progress = nullptr);

}  // namespace gradflow
