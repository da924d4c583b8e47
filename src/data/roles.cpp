#include "data/roles.h"

#include <algorithm>
#include <string_view>

#include "data/text.h"
#include "gradflow/base/error.h"

namespace gradflow {
namespace {

class Assignment {
 public:
  explicit Assignment(const Cells& cells) : cells_(cells), role_(cells.names().size()) {}

  /// The column a name stands for, which takes this role; `name` becomes the column's own.
  Index take(std::string& name, std::string_view option) {
    const Index col = cells_.find(name, option);
    const std::string_view earlier = role_[static_cast<std::size_t>(col)];
    const std::string text = shown(name);
    if (earlier == option)
      throw InputError(fmt::format("{} {}: the column is named twice; once is enough", option, text));
    const bool feature_too = earlier == option_name::covariates && option == option_name::features;
    if (!earlier.empty() && !feature_too)
      throw InputError(fmt::format("{} {}: the column is already named in {}; it can have one role", option,
                                   text, earlier));
    role_[static_cast<std::size_t>(col)] = option;
    name = cells_.names()[static_cast<std::size_t>(col)];
    return col;
  }

  std::vector<Index> take_all(std::vector<std::string>& names, std::string_view option) {
    std::vector<Index> cols;
    for (std::string& name : names) cols.push_back(take(name, option));
    return cols;
  }

  std::vector<Index> free_columns() const {
    std::vector<Index> cols;
    for (std::size_t col = 0; col < role_.size(); ++col)
      if (role_[col].empty()) cols.push_back(static_cast<Index>(col));
    return cols;
  }

 private:
  const Cells& cells_;
  std::vector<std::string_view> role_;  // per column: the option that named it
};

}  // namespace

Roles assign_roles(const Cells& cells, ResponseIs response, DatasetOptions& options) {
  Roles roles;
  Assignment assignment(cells);
  if (response == ResponseIs::a_column) {
    if (options.target.empty())
      throw InputError(fmt::format("{}: the response column of {} must be named; its columns are {}",
                                   option_name::target, cells.source(), listed(cells.names())));
    roles.target = assignment.take(options.target, option_name::target);
  }
  if (!options.id.empty()) roles.id = assignment.take(options.id, option_name::id);
  if (!options.row_weights.empty())
    roles.weights = assignment.take(options.row_weights, option_name::row_weights);
  assignment.take_all(options.exclude, option_name::exclude);
  roles.covariates = assignment.take_all(options.covariates, option_name::covariates);
  roles.features = options.features.empty() ? assignment.free_columns()
                                            : assignment.take_all(options.features, option_name::features);
  if (roles.features.empty())
    throw InputError(
        fmt::format("{}: no feature columns are left; at least one is required", cells.source()));

  roles.categorical.assign(cells.names().size(), false);
  for (std::string& name : options.categorical) {
    const Index col = cells.find(name, option_name::categorical);
    if (col == roles.target)
      throw InputError(fmt::format("{} {}: the response must be numeric, or a class with --classes",
                                   option_name::categorical, shown(name)));
    roles.categorical[static_cast<std::size_t>(col)] = true;
    name = cells.names()[static_cast<std::size_t>(col)];
  }
  return roles;
}

}  // namespace gradflow
