#pragma once

#include "gradflow/base/types.h"

namespace gradflow {

/// Entries of the block of H_cross that predictions hold at a time: 200 MB.
inline constexpr Index cross_block_entries = 25'000'000;

}  // namespace gradflow
