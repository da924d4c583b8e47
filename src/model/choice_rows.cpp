#include "model/choice_rows.h"

#include <map>
#include <set>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/inference/analysis.h"

namespace gradflow {
namespace {

// The group of every encoded feature, numbered as they first occur.
std::vector<Index> groups_of(const Recipe& recipe, const ChoiceOptions& options) {
  if (!options.relevances) return std::vector<Index>(recipe.features.size(), 0);
  if (options.groups.empty() && !options.by_column) return {};
  std::map<std::string, std::string> group_of_column;
  for (const std::vector<std::string>& group : options.groups)
    for (const std::string& column : group)
      if (!group_of_column.emplace(column, "group of " + group.front()).second)
        throw InputError(fmt::format("relevance groups: column '{}' is in two of them", column));
  std::map<std::string, Index> numbers;
  std::vector<Index> groups;
  std::set<std::string> unused;
  for (const auto& [column, group] : group_of_column) unused.insert(column);
  for (const EncodedColumn& feature : recipe.features) {
    const std::string& column = recipe.columns[static_cast<std::size_t>(feature.source)].name;
    const auto named = group_of_column.find(column);
    unused.erase(column);
    const std::string label = named != group_of_column.end() ? named->second
                              : options.by_column            ? "column " + column
                                                             : "feature " + feature.name;
    groups.push_back(numbers.emplace(label, static_cast<Index>(numbers.size())).first->second);
  }
  if (!unused.empty())
    throw InputError(fmt::format("relevance groups: '{}' is no feature that varies", *unused.begin()));
  return groups;
}

}  // namespace

ChoiceRows take_sample(const Dataset& data, Index most, const ChoiceOptions& options) {
  const std::vector<Index> rows =
      RandomStream(options.seed, "rows of the kernel's choice").sample(data.y.size(), most);
  ChoiceRows sample;
  sample.X = data.X(rows, Eigen::all);
  sample.response.y = unstandardize_response(data.recipe, Vector(data.y(rows)));
  Observations observed;
  observed.covariates = data.Z(rows, Eigen::all);
  if (data.weights.size() > 0) {
    observed.weights = data.weights(rows);
    sample.scale = observed.weights.cwiseSqrt();
    sample.response.scale = sample.scale;
  }
  AnalysisOptions analysis;
  analysis.intercept = options.intercept;
  sample.fixed = make_fixed_effects(static_cast<Index>(rows.size()), observed, analysis);
  for (const EncodedColumn& column : data.recipe.features) sample.features.push_back(column.name);
  sample.groups = groups_of(data.recipe, options);
  return sample;
}

KernelFamilyOptions free_of(const ChoiceRows& rows, Freedom freedom) {
  if (freedom == Freedom::nothing) return {.weights = false, .relevances = false, .sw2 = false, .sb2 = false};
  KernelFamilyOptions free;
  free.features = rows.features;
  free.groups = rows.groups;
  if (freedom == Freedom::one_relevance) free.groups.assign(rows.features.size(), 0);
  return free;
}

}  // namespace gradflow
