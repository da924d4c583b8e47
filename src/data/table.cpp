#include "gradflow/data/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "data/text.h"
#include "gradflow/base/error.h"

namespace gradflow {
namespace {

// The names closest to `name`, at most three, none when all are far from it.
std::vector<std::string> nearest(const std::string& name, const std::vector<std::string>& names) {
  constexpr std::size_t longest = 200;  // edit distance is quadratic in the length
  if (name.size() > longest) return {};
  std::size_t best = 1 + std::max<std::size_t>(1, name.size() / 3);
  std::vector<std::string> found;
  for (const std::string& candidate : names) {
    if (candidate.size() > longest) continue;
    const std::size_t distance = edit_distance(name, candidate);
    if (distance >= name.size() || distance > best) continue;
    if (distance < best) found.clear();
    best = distance;
    if (found.size() < 3) found.push_back(candidate);
  }
  return found;
}

// k - 1 for "#k", or -1 when the text is not such a position.
Index position(std::string_view text) {
  if (!text.starts_with('#') || text.size() < 2 || text.size() > 12) return -1;
  Index value = 0;
  for (const char c : text.substr(1)) {
    if (c < '0' || c > '9') return -1;
    value = 10 * value + (c - '0');
  }
  return value - 1;
}

bool is_position(std::string_view text) {
  return text.size() > 1 && text[0] == '#' &&
         text.find_first_not_of("0123456789", 1) == std::string_view::npos;
}

}  // namespace

const std::string& Table::cell(Index row, Index col) const {
  if (row < 0 || row >= rows() || col < 0 || col >= cols())
    throw InternalError(fmt::format("Table::cell({}, {}) in a table of {} x {}", row, col, rows(), cols()));
  return cells_[static_cast<std::size_t>(row * cols() + col)];
}

void Table::add_row(std::vector<std::string> cells, Index starts_on_line) {
  if (static_cast<Index>(cells.size()) != cols())
    throw InputError(fmt::format("{}, line {}: {}, but the header has {}", source, starts_on_line,
                                 counted(static_cast<long>(cells.size()), "field"), cols()));
  std::move(cells.begin(), cells.end(), std::back_inserter(cells_));
  line.push_back(starts_on_line);
}

bool Table::is_missing(std::string_view cell) const {
  return std::find(missing_values.begin(), missing_values.end(), trim(cell)) != missing_values.end();
}

Index Table::find(const std::string& name, std::string_view option) const {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) return found - names.begin();
  if (is_position(name)) {
    const Index col = position(name);
    if (col >= 0 && col < cols()) return col;
    throw InputError(fmt::format("{} {}: {} has {}; a position is one of #1 to #{}", option, shown(name),
                                 source, counted(cols(), "column"), cols()));
  }
  const std::vector<std::string> close = nearest(name, names);
  const std::string hint = close.empty() ? fmt::format("its columns are {}", listed(names))
                                         : fmt::format("did you mean '{}'?", fmt::join(close, "' or '"));
  throw InputError(fmt::format("{} {}: {} has no such column; {}", option, shown(name), source, hint));
}

}  // namespace gradflow
