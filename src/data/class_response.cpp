#include "data/class_response.h"

#include <algorithm>
#include <limits>
#include <map>

#include "data/text.h"
#include "gradflow/base/error.h"

namespace gradflow {
namespace {

using Cell = std::optional<std::string>;

bool all_numbers(const std::vector<Cell>& cells) {
  return std::ranges::all_of(
      cells, [](const Cell& cell) { return !cell || parse_number(*cell).kind == NumberKind::number; });
}

double class_number(const std::string& cell) { return parse_number(cell).value + 0.0; }

std::string number_name(double value) { return fmt::format("{}", value); }

/// Codes of the values in ascending order; `key` makes a value of a cell, `name` its text.
template <typename Key, typename Name>
ClassResponse coded(const std::vector<Cell>& cells, Key key, Name name) {
  using Value = decltype(key(std::string()));
  std::map<Value, Index> order;
  for (const Cell& cell : cells)
    if (cell) order.emplace(key(*cell), 0);
  ClassResponse response;
  for (auto& [value, code] : order) {
    code = static_cast<Index>(response.names.size());
    response.names.push_back(name(value));
  }
  for (const Cell& cell : cells)
    response.codes.push_back(cell ? static_cast<double>(order.at(key(*cell)))
                                  : std::numeric_limits<double>::quiet_NaN());
  return response;
}

}  // namespace

ClassResponse read_classes(const std::vector<Cell>& cells, const std::string& where) {
  ClassResponse response = all_numbers(cells) ? coded(cells, class_number, number_name)
                                              : coded(
                                                    cells, [](const std::string& cell) { return cell; },
                                                    [](const std::string& text) { return text; });
  const auto K = static_cast<Index>(response.names.size());
  if (K == 0 && !cells.empty())
    throw InputError(fmt::format("{}: every value of the response is missing", where));
  if (K == 1)
    throw InputError(fmt::format("{}: every row is of class {}; at least 2 classes are required", where,
                                 shown(response.names.front())));
  if (K > ClassDataset::most_classes)
    throw InputError(fmt::format("{}: {} classes in {} rows; at most {} are possible", where, K, cells.size(),
                                 ClassDataset::most_classes));
  return response;
}

Index class_position(const std::string& cell, const std::vector<std::string>& classes,
                     const std::string& place) {
  auto found = std::ranges::find(classes, cell);
  if (found == classes.end() && parse_number(cell).kind == NumberKind::number)
    found = std::ranges::find(classes, number_name(class_number(cell)));
  if (found == classes.end())
    throw InputError(
        fmt::format("{}: class {} is not among those of training ({})", place, shown(cell), listed(classes)));
  return found - classes.begin();
}

void check_class_options(const DatasetOptions& options) {
  if (!options.covariates.empty())
    throw InputError(
        fmt::format("{}: class probabilities have no fixed effects beside an intercept for each class; leave "
                    "the columns among the features, or out with {}",
                    option_name::covariates, option_name::exclude));
  if (!options.row_weights.empty())
    throw InputError(fmt::format("{} {}: weights divide a noise variance, and classes have none",
                                 option_name::row_weights, shown(options.row_weights)));
}

ClassDataset with_labels(Dataset data, ClassResponse response, const std::string& where) {
  ClassDataset result{.data = std::move(data), .classes = std::move(response.names), .labels = {}};
  std::vector<Index> count(result.classes.size(), 0);
  for (const double code : result.data.y) {
    result.labels.push_back(static_cast<Index>(code));
    ++count[static_cast<std::size_t>(result.labels.back())];
  }
  for (std::size_t c = 0; c < count.size(); ++c)
    if (count[c] < ClassDataset::smallest_class)
      throw InputError(fmt::format("{}: class {} has {} of the {} used; each class must have at least {}",
                                   where, shown(result.classes[c]), counted(count[c], "row"),
                                   counted(static_cast<long>(result.labels.size()), "row"),
                                   ClassDataset::smallest_class));
  return result;
}

}  // namespace gradflow
