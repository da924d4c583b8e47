#pragma once

#include <vector>

#include "gradflow/base/types.h"

namespace gradflow {

/// Rows equal to an earlier row, exactly and in all of the blocks. Cost O(rows x columns).
Index count_repeated_rows(const std::vector<ConstBlock>& blocks);

}  // namespace gradflow
