#include "data/scalar_type.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace gradflow {
namespace {

// IEEE 754 binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits.
double half_value(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 0x1F;
  const int fraction = bits & 0x3FF;
  double magnitude = 0.0;
  if (exponent == 0x1F) {
    magnitude =
        fraction == 0 ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  } else if (exponent == 0) {
    magnitude = std::ldexp(fraction, -24);
  } else {
    magnitude = std::ldexp(fraction + 0x400, exponent - 25);
  }
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

// bfloat16 is the upper half of a binary32.
double bfloat_value(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

constexpr ByteOrder native_order =
    std::endian::native == std::endian::little ? ByteOrder::little : ByteOrder::big;

template <typename Stored, typename Convert>
void decode_as(ByteOrder order, std::string_view bytes, double* out, Convert convert) {
  const std::size_t count = bytes.size() / sizeof(Stored);
  for (std::size_t i = 0; i < count; ++i) {
    std::array<char, sizeof(Stored)> raw{};
    std::memcpy(raw.data(), bytes.data() + i * sizeof(Stored), sizeof(Stored));
    if (order != native_order) std::reverse(raw.begin(), raw.end());
    out[i] = convert(std::bit_cast<Stored>(raw));
  }
}

template <typename Stored>
void decode_plain(ByteOrder order, std::string_view bytes, double* out) {
  decode_as<Stored>(order, bytes, out, [](Stored value) { return static_cast<double>(value); });
}

}  // namespace

std::size_t scalar_size(ScalarType type) noexcept {
  switch (type) {
    case ScalarType::boolean:
    case ScalarType::int8:
    case ScalarType::uint8: return 1;
    case ScalarType::int16:
    case ScalarType::uint16:
    case ScalarType::float16:
    case ScalarType::bfloat16: return 2;
    case ScalarType::int32:
    case ScalarType::uint32:
    case ScalarType::float32: return 4;
    case ScalarType::int64:
    case ScalarType::uint64:
    case ScalarType::float64: return 8;
  }
  return 0;
}

void decode_scalars(ScalarType type, ByteOrder order, std::string_view bytes, double* out) {
  switch (type) {
    case ScalarType::boolean:
      return decode_as<std::uint8_t>(order, bytes, out, [](std::uint8_t b) { return b != 0 ? 1.0 : 0.0; });
    case ScalarType::int8: return decode_plain<std::int8_t>(order, bytes, out);
    case ScalarType::uint8: return decode_plain<std::uint8_t>(order, bytes, out);
    case ScalarType::int16: return decode_plain<std::int16_t>(order, bytes, out);
    case ScalarType::uint16: return decode_plain<std::uint16_t>(order, bytes, out);
    case ScalarType::int32: return decode_plain<std::int32_t>(order, bytes, out);
    case ScalarType::uint32: return decode_plain<std::uint32_t>(order, bytes, out);
    case ScalarType::int64: return decode_plain<std::int64_t>(order, bytes, out);
    case ScalarType::uint64: return decode_plain<std::uint64_t>(order, bytes, out);
    case ScalarType::float16: return decode_as<std::uint16_t>(order, bytes, out, half_value);
    case ScalarType::bfloat16: return decode_as<std::uint16_t>(order, bytes, out, bfloat_value);
    case ScalarType::float32: return decode_plain<float>(order, bytes, out);
    case ScalarType::float64: return decode_plain<double>(order, bytes, out);
  }
}

std::uint64_t little_endian(std::string_view bytes, std::size_t width) noexcept {
  std::uint64_t value = 0;
  for (std::size_t i = width; i-- > 0;) value = (value << 8) | static_cast<unsigned char>(bytes[i]);
  return value;
}

std::string little_endian_bytes(std::uint64_t value, std::size_t width) {
  std::string bytes;
  for (std::size_t i = 0; i < width; ++i) bytes += static_cast<char>((value >> (8 * i)) & 0xFF);
  return bytes;
}

std::string float64_bytes(const double* values, std::size_t count) {
  std::string bytes(count * sizeof(double), '\0');
  if (count > 0) std::memcpy(bytes.data(), values, bytes.size());
  if (native_order == ByteOrder::big)
    for (std::size_t i = 0; i < bytes.size(); i += sizeof(double))
      std::reverse(bytes.data() + i, bytes.data() + i + sizeof(double));
  return bytes;
}

std::optional<Index> element_count(const std::vector<Index>& shape) noexcept {
  if (std::any_of(shape.begin(), shape.end(), [](Index d) { return d < 0; })) return std::nullopt;
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  Index count = 1;
  for (const Index dimension : shape)
    if (__builtin_mul_overflow(count, dimension, &count)) return std::nullopt;
  return count;
}

std::string shape_text(const std::vector<Index>& shape) {
  return fmt::format("({}{})", fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
}

}  // namespace gradflow
