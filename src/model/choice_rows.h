#pragma once

#include "gradflow/model/kernel_choice.h"
#include "gradflow/operators/kernel_family.h"

namespace gradflow {

/// A seeded sample of at most so many rows, in the units of the response, with what the choice of a kernel
/// asks of them; one of more rows holds those of fewer. Throws InputError where groups of relevances name a
/// column that is no feature, or one twice.
ChoiceRows take_sample(const Dataset& data, Index most, const ChoiceOptions& options);

/// What of a kernel is free on these rows.
KernelFamilyOptions free_of(const ChoiceRows& rows, Freedom freedom);

}  // namespace gradflow
