#pragma once

#include <vector>

#include "gradflow/base/types.h"

namespace gradflow {

/// For every row the first row that equals it, exactly and in all of the blocks: itself for a row unlike any
/// earlier one. Cost O(rows x columns).
std::vector<Index> first_equal_rows(const std::vector<ConstBlock>& blocks);

/// Rows equal to an earlier row.
std::vector<Index> repeated_rows(const std::vector<ConstBlock>& blocks);

}  // namespace gradflow
