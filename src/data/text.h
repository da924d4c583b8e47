#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gradflow {

/// Without spaces and tabs at both ends.
std::string_view trim(std::string_view text) noexcept;

/// 'text' for a message: in quotes, control characters as \n, \t or \x.., at most 40 characters of it.
std::string shown(std::string_view text);

/// "a, b, c" or, beyond `most` of them, "a, b and 7 more".
std::string listed(const std::vector<std::string>& names, std::size_t most = 12);

/// "1 row", "2 rows".
std::string counted(long count, std::string_view noun);

/// Position of the first byte that is not part of valid UTF-8 (RFC 3629), or npos.
std::size_t first_invalid_utf8(std::string_view text) noexcept;

/// Insertions, deletions, replacements and swaps of neighbours that turn a into b (optimal string alignment),
/// ignoring ASCII case.
std::size_t edit_distance(std::string_view a, std::string_view b);

/// How the text of a cell reads as a number.
enum class NumberKind { number, not_finite, too_large, text };

/// Above this magnitude sums of squares approach the end of double's range.
inline constexpr double largest_magnitude = 1e150;

struct ParsedNumber {
  NumberKind kind = NumberKind::text;
  double value = 0.0;  ///< for NumberKind::number
};

/// Decimal number with optional sign, fraction and exponent; blanks around it are ignored. "inf" and "nan" in
/// any spelling of C are not_finite.
ParsedNumber parse_number(std::string_view cell) noexcept;

}  // namespace gradflow
