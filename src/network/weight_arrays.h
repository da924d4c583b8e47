#pragma once

#include <map>
#include <string>

#include "gradflow/data/array_file.h"

namespace gradflow {

/// The arrays of an NPZ or safetensors file, which its first bytes tell apart, by name.
std::map<std::string, Array> read_weight_arrays(const std::string& path);

/// Throws InputError naming the file, the array and the value where an entry is not finite.
void require_finite(const std::string& path, const std::string& name, const Array& array);

}  // namespace gradflow
