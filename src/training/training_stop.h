#pragma once

#include "gradflow/training/train.h"

namespace gradflow {

/// Whether the stop reads the training operator, and so is for squared loss.
bool needs_operator(TrainingStop stop);
/// Whether it is a following stop (following_stop.h), and which.
bool follows_operator(TrainingStop stop);
FollowKind follow_kind(TrainingStop stop);

}  // namespace gradflow
