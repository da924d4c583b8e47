#include <cmath>
#include <utility>

#include "data/duplicates.h"
#include "gradflow/data/dataset.h"

namespace gradflow {

WithinGroups merge_replicates(Dataset& data) {
  WithinGroups within;
  const std::vector<Index> first = first_equal_rows({data.X, data.Z});
  const Index n = data.y.size();
  std::vector<Index> kept, group(first.size());
  for (Index row = 0; row < n; ++row) {
    const auto i = static_cast<std::size_t>(row);
    if (first[i] == row) kept.push_back(row);
    group[i] =
        first[i] == row ? static_cast<Index>(kept.size()) - 1 : group[static_cast<std::size_t>(first[i])];
  }
  const auto groups = static_cast<Index>(kept.size());
  if (groups == n) return within;
  const Vector each = data.weights.size() > 0 ? data.weights : Vector(Vector::Ones(n));
  Vector weight = Vector::Zero(groups), mean = Vector::Zero(groups);
  for (Index row = 0; row < n; ++row) {
    weight(group[static_cast<std::size_t>(row)]) += each(row);
    mean(group[static_cast<std::size_t>(row)]) += each(row) * data.y(row);
  }
  mean.array() /= weight.array();
  for (Index row = 0; row < n; ++row) {
    const double off = data.y(row) - mean(group[static_cast<std::size_t>(row)]);
    within.squares += each(row) * off * off;
  }
  within.dof = n - groups;
  data.report.merged_rows = within.dof;
  data.report.pure_error_sd =
      data.recipe.target_scale * std::sqrt(within.squares / static_cast<double>(within.dof));
  data.X = Matrix(data.X(kept, Eigen::all));
  data.Z = Matrix(data.Z(kept, Eigen::all));
  data.y = std::move(mean);
  data.weights = std::move(weight);
  std::vector<std::string> ids;
  for (const Index row : kept) ids.push_back(std::move(data.ids[static_cast<std::size_t>(row)]));
  data.ids = std::move(ids);
  return within;
}

}  // namespace gradflow
