#pragma once

#include <string>

#include "gradflow/data/dataset.h"

namespace gradflow {

/// The name of a column that the user gave by name or by position: "#3" is the third input column. Anything
/// else is returned as it is.
std::string column_name(const Recipe& recipe, const std::string& text);

}  // namespace gradflow
