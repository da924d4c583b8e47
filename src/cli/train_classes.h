#pragma once

#include "cli/commands.h"

namespace gradflow::cli {

/// `train --classes`: exit codes as train_command().
int train_classes(Invocation& invocation);

/// `predict` with a file of `train --classes`: id, class, p_NAME, ...; of squared loss the probabilities are
/// NA.
int predict_trained_classes(Invocation& invocation);

}  // namespace gradflow::cli
