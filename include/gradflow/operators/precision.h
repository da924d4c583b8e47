#pragma once

#include <string>

namespace gradflow {

/// Arithmetic of large sweeps over the data. float32 halves memory and doubles speed at 7 digits.
enum class Precision { float32, float64 };

/// Names: float32, float64. The two functions are inverse to each other. Throws InputError that lists the
/// names.
Precision parse_precision(const std::string& text);
std::string to_string(Precision precision);

}  // namespace gradflow
