#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gradflow/base/types.h"

namespace gradflow {

/// Element types of array files.
enum class ScalarType {
  boolean,
  int8,
  uint8,
  int16,
  uint16,
  int32,
  uint32,
  int64,
  uint64,
  float16,
  bfloat16,
  float32,
  float64
};
enum class ByteOrder { little, big };

std::size_t scalar_size(ScalarType type) noexcept;

/// out[i] <- element i of `bytes`, as float64. bytes.size() is count times scalar_size(type).
void decode_scalars(ScalarType type, ByteOrder order, std::string_view bytes, double* out);

/// Unsigned little-endian integer of `width` <= 8 bytes at bytes[0].
std::uint64_t little_endian(std::string_view bytes, std::size_t width) noexcept;
std::string little_endian_bytes(std::uint64_t value, std::size_t width);

/// The bytes of float64 values, little-endian.
std::string float64_bytes(const double* values, std::size_t count);

/// Product of the dimensions, or nothing when one is negative or their product leaves Index.
std::optional<Index> element_count(const std::vector<Index>& shape) noexcept;

/// "(3, 4)", "(3,)", "()".
std::string shape_text(const std::vector<Index>& shape);

}  // namespace gradflow
