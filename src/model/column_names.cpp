#include "model/column_names.h"

#include <charconv>

namespace gradflow {

std::string column_name(const Recipe& recipe, const std::string& text) {
  if (!text.starts_with('#')) return text;
  std::size_t position = 0;
  const auto [end, error] = std::from_chars(text.data() + 1, text.data() + text.size(), position);
  const bool known = error == std::errc() && end == text.data() + text.size() && position >= 1 &&
                     position <= recipe.input_columns.size();
  return known ? recipe.input_columns[position - 1] : text;
}

}  // namespace gradflow
