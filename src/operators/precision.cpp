#include "gradflow/operators/precision.h"

#include "gradflow/base/error.h"

namespace gradflow {

Precision parse_precision(const std::string& text) {
  if (text == "float32") return Precision::float32;
  if (text == "float64") return Precision::float64;
  throw InputError(fmt::format("precision '{}' is unknown: must be one of float32, float64", text));
}

std::string to_string(Precision precision) { return precision == Precision::float32 ? "float32" : "float64"; }

}  // namespace gradflow
