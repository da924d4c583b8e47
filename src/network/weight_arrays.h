#pragma once

#include <map>
#include <string>

#include "gradflow/data/array_file.h"

namespace gradflow {

/// The arrays of an NPZ or safetensors file, which its first bytes tell apart, by name.
std::map<std::string, Array> read_weight_arrays(const std::string& path);

}  // namespace gradflow
