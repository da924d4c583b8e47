#include "gradflow/model/choice_average.h"

#include <algorithm>
#include <memory>
#include <set>

#include "data/duplicates.h"
#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/inference/left_out.h"
#include "gradflow/operators/kernel_family.h"
#include "gradflow/operators/scaled_family.h"
#include "model/choice_rows.h"
#include "model/fit_rows.h"

namespace gradflow {
namespace {

// The better of two searches on these rows, from the family's start and from what all rows chose: others may
// find another optimum as good, and must not end in one that is worse.
void choose_on(const Dataset& data, const KernelChoice& choice, const ChoiceOptions& options,
               ChosenWithout& without) {
  const CandidateReport& chosen = choice.candidates[static_cast<std::size_t>(choice.best)];
  const ChoiceRows rows = take_sample(data, options.rows, options);
  const auto family =
      std::make_shared<KernelFamily>(parse_kernel_sum(chosen.kernel), rows.X, free_of(rows, chosen.freedom));
  std::shared_ptr<const OperatorFamily> scaled = family;
  if (rows.scale.size() > 0) scaled = std::make_shared<ScaledFamily>(family, rows.scale);
  SelectionOptions search;
  search.starts = 1;
  search.seed = options.seed;
  search.max_evaluations = options.max_evaluations;
  search.transform = parse_transform(chosen.transform);
  const std::string& name = chosen.kernel;
  const Selection found =
      select({{name, scaled, {}, {}}, {name, scaled, {}, family->parameters_of(choice.kernel)}},
             rows.response, rows.fixed, search);
  if (found.best < 0) {
    without.problem = found.candidates.front().reason;
    return;
  }
  const CandidateFit& fit = found.candidates[static_cast<std::size_t>(found.best)];
  without.kernel = family->sum_at(fit.parameters);
  without.transform = fit.transform;
}

}  // namespace

ChoiceAverage choose_average(const KernelChoice& choice, const Dataset& data, const ChoiceOptions& options,
                             int folds, Progress* progress) {
  require(folds >= 2, "folds of an averaged choice", folds, "must be >= 2");
  const std::vector<Index> group = first_equal_rows({data.X, data.Z});
  folds = std::min(folds, static_cast<int>(std::set<Index>(group.begin(), group.end()).size()));
  const std::vector<Index> fold = assign_folds(group, folds, options.seed);
  ChoiceAverage average;
  average.data = data;
  for (std::size_t row = 0; row < fold.size(); ++row)
    if (group[row] == static_cast<Index>(row)) average.fold.push_back(fold[row]);
  average.choices.resize(static_cast<std::size_t>(folds));
  report_progress(progress, fmt::format("choosing the kernel's parameters without each of {} folds", folds),
                  0.0);
  const SerialBlas serial;
  parallel_for(folds, 1, [&](Index begin, Index end) {
    for (Index k = begin; k < end; ++k) {
      ChosenWithout& without = average.choices[static_cast<std::size_t>(k)];
      std::vector<Index> kept;
      for (std::size_t row = 0; row < fold.size(); ++row)
        if (fold[row] != k) kept.push_back(static_cast<Index>(row));
      try {
        choose_on(part_of(data, kept), choice, options, without);
      } catch (const InputError& error) {
        without.problem = error.what();
      }
    }
  });
  for (std::size_t k = 0; k < average.choices.size(); ++k)
    if (const std::string& problem = average.choices[k].problem; !problem.empty())
      average.warnings.push_back(fmt::format(
          "the choice without fold {} of {} has no part in the average: {}", k + 1, folds, problem));
  return average;
}

}  // namespace gradflow
