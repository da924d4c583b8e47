#include "gradflow/model/kernel_choice.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <numeric>
#include <set>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "gradflow/inference/analysis.h"
#include "gradflow/model/memory.h"
#include "gradflow/operators/kernel_family.h"
#include "gradflow/operators/scaled_family.h"

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

// A sample of more rows holds those of fewer.
std::vector<Index> sampled_rows(Index n, Index most, const ChoiceOptions& options) {
  if (n <= most) {
    std::vector<Index> all(static_cast<std::size_t>(n));
    std::iota(all.begin(), all.end(), Index{0});
    return all;
  }
  std::vector<Index> order = RandomStream(options.seed, "rows of the kernel's choice").permutation(n);
  order.resize(static_cast<std::size_t>(most));
  std::sort(order.begin(), order.end());
  return order;
}

ChoiceRows take_sample(const Dataset& data, Index most, const ChoiceOptions& options) {
  const std::vector<Index> rows = sampled_rows(data.y.size(), most, options);
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

class Chooser {
 public:
  Chooser(const Dataset& data, const ChoiceOptions& options, Progress* progress)
      : data_(data),
        options_(options),
        sample_(take_sample(data, options.rows, options)),
        progress_(progress) {
    choice_.rows = sample_.X.rows();
  }

  KernelChoice run(const KernelSum& given) {
    const SerialBlas serial;  // searches run side by side, and give the same bits for any number of threads
    const TransformKind asked = options_.automatic_transform ? TransformKind::none : options_.transform;
    std::vector<Task> tasks;
    if (options_.select)
      for (const std::string& text : texts()) tasks.push_back({text, family_of(text), asked, 1});
    else
      tasks.push_back({to_string(given), std::make_shared<KernelFamily>(given, sample_.X, nothing_free()),
                       asked, options_.starts});
    search(tasks, 0.0);
    if (choice_.best >= 0) search(second_round(asked), 0.6);
    choice_.kernel = best_family_ ? best_family_->sum_at(best().fit.parameters) : given;
    if (choice_.best >= 0) choice_.transform = best().fit.transform;
    if (choice_.best >= 0 && options_.select && options_.refine_rows > 0) refine();
    warn();
    return std::move(choice_);
  }

 private:
  std::vector<std::string> texts() const {
    return options_.candidates.empty() ? default_candidates() : options_.candidates;
  }
  // A kernel with a transform, from so many starts.
  struct Task {
    std::string text;
    std::shared_ptr<const KernelFamily> family;
    TransformKind kind;
    int starts;
  };

  const CandidateReport& best() const { return choice_.candidates[static_cast<std::size_t>(choice_.best)]; }

  static KernelFamilyOptions nothing_free() {
    return {.weights = false, .relevances = false, .sw2 = false, .sb2 = false};
  }

  static std::shared_ptr<const KernelFamily> family_on(const ChoiceRows& rows, const std::string& text) {
    KernelFamilyOptions free;
    free.features = rows.features;
    free.groups = rows.groups;
    return std::make_shared<KernelFamily>(parse_kernel_sum(text), rows.X, free);
  }
  std::shared_ptr<const KernelFamily> family_of(const std::string& text) const {
    return family_on(sample_, text);
  }

  // The chosen kernel's parameters by more rows.
  void refine() {
    const ChoiceRows many = take_sample(data_, options_.refine_rows, options_);
    const std::shared_ptr<const KernelFamily> large = family_on(many, best().kernel);
    choice_.refinement =
        refine_kernel(best().fit, best_family_, sample_, large, many, options_.seed, progress_);
    const KernelRefinement& refinement = *choice_.refinement;
    const Refinement& result = refinement.result;
    if (refinement.used) choice_.kernel = large->sum_at(result.parameters.head(large->parameters()));
    if (result.evaluations > 0 && !(refinement.used && usable(result.outcome)))
      choice_.warnings.push_back(refinement.sentence());
  }

  // One candidate alone, with as many starts.
  CandidateFit fit(const std::string& text, const std::shared_ptr<const KernelFamily>& family,
                   TransformKind kind, int starts) const {
    SelectionOptions search;
    search.starts = starts;
    search.seed = options_.seed;
    search.max_evaluations = options_.max_evaluations;
    search.transform = kind;
    std::shared_ptr<const OperatorFamily> rows = family;
    if (sample_.scale.size() > 0) rows = std::make_shared<ScaledFamily>(family, sample_.scale);
    return gradflow::select({{text, rows, {}}}, sample_.response, sample_.fixed, search).candidates.front();
  }

  // The best so far from more starts; with a linear kernel beside it; and both with a transform.
  std::vector<Task> second_round(TransformKind asked) const {
    std::vector<Task> tasks;
    const std::string text = best().kernel;
    if (options_.select && options_.starts > 1) tasks.push_back({text, best_family_, asked, options_.starts});
    const bool with_linear = options_.select && options_.candidates.empty();
    const std::string sum = text + " + linear";
    const std::shared_ptr<const KernelFamily> family = with_linear ? family_of(sum) : nullptr;
    if (with_linear) tasks.push_back({sum, family, asked, 1});
    if (!options_.automatic_transform) return tasks;
    const TransformKind kind =
        sample_.response.y.minCoeff() > 0.0 ? TransformKind::box_cox : TransformKind::yeo_johnson;
    tasks.push_back({text, best_family_, kind, 1});
    if (with_linear) tasks.push_back({sum, family, kind, 1});
    return tasks;
  }

  // Runs the searches, enters what they found, and judges anew. A kernel that was there before is replaced by
  // a better fit of itself.
  void search(const std::vector<Task>& tasks, double fraction) {
    report_progress(progress_,
                    fmt::format("choosing the kernel: {} searches on {} rows", tasks.size(), choice_.rows),
                    fraction);
    std::vector<CandidateFit> fits(tasks.size());
    parallel_for(static_cast<Index>(tasks.size()), 1, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) {
        const Task& task = tasks[static_cast<std::size_t>(i)];
        fits[static_cast<std::size_t>(i)] = fit(task.text, task.family, task.kind, task.starts);
      }
    });
    for (std::size_t i = 0; i < tasks.size(); ++i) enter(tasks[i], std::move(fits[i]));
    judge();
  }

  void enter(const Task& task, CandidateFit fit) {
    CandidateReport report{task.text, std::string(to_string(task.kind)), std::move(fit), {}};
    report.leave_one_out_log_density =
        report.fit.value.leave_one_out_log_density / static_cast<double>(sample_.X.rows());
    for (CandidateReport& known : choice_.candidates) {
      if (known.kernel != report.kernel || known.transform != report.transform) continue;
      if (report.fit.penalised_criterion <= known.fit.penalised_criterion) known = std::move(report);
      return;
    }
    choice_.candidates.push_back(std::move(report));
    families_.push_back(task.family);
  }

  void judge() {
    choice_.best = -1;
    for (std::size_t i = 0; i < choice_.candidates.size(); ++i) {
      const double value = choice_.candidates[i].fit.penalised_criterion;
      if (std::isfinite(value) && (choice_.best < 0 || value < best().fit.penalised_criterion))
        choice_.best = static_cast<Index>(i);
    }
    best_family_ = choice_.best < 0 ? nullptr : families_[static_cast<std::size_t>(choice_.best)];
  }

  void warn() {
    if (choice_.best < 0) {
      choice_.warnings.push_back("no candidate could be fitted: the kernel is the one given");
      return;
    }
    const CandidateReport& chosen = best();
    const auto densest =
        std::max_element(choice_.candidates.begin(), choice_.candidates.end(),
                         [](const CandidateReport& a, const CandidateReport& b) {
                           return !(a.leave_one_out_log_density >= b.leave_one_out_log_density);
                         });
    constexpr double worth_a_sentence = 0.02;  // per row
    if (densest->leave_one_out_log_density > chosen.leave_one_out_log_density + worth_a_sentence)
      choice_.warnings.push_back(fmt::format(
          "the likelihood prefers {} (transform {}), the leave-one-out density {} (transform {}): {:.3g} "
          "against {:.3g} per row",
          chosen.kernel, chosen.transform, densest->kernel, densest->transform,
          chosen.leave_one_out_log_density, densest->leave_one_out_log_density));
    if (chosen.fit.outcome == Outcome::iteration_limit)
      choice_.warnings.push_back(
          fmt::format("the search for the parameters of {} did not come to rest in {} "
                      "evaluations: they are near the best, not at it",
                      chosen.kernel, chosen.fit.evaluations));
  }

  const Dataset& data_;
  const ChoiceOptions& options_;
  ChoiceRows sample_;
  Progress* progress_;
  KernelChoice choice_;
  std::vector<std::shared_ptr<const KernelFamily>> families_;
  std::shared_ptr<const KernelFamily> best_family_;
};

}  // namespace

bool ChoiceOptions::chooses_transform() const {
  return automatic_transform || (transform != TransformKind::none && std::isnan(lambda));
}

int ChoiceOptions::folds_of(Index n) const {
  if (!chooses()) return 0;
  if (folds) return *folds;
  return select && n <= most_rows_of_default_folds ? default_folds : 0;
}

void ChoiceOptions::check() const {
  if (folds)
    require(*folds == 0 || *folds >= 2, "folds of the kernel's choice", *folds, "must be 0 (never) or >= 2");
  require(rows >= 20, "rows for the choice of a kernel", rows, "must be >= 20");
  require(refine_rows >= 0, "rows to refine the choice of a kernel on", refine_rows, "must be >= 0");
  require(starts >= 1, "starts of the kernel's search", starts, "must be >= 1");
  require(max_evaluations >= 2, "evaluations of the kernel's search", max_evaluations, "must be >= 2");
}

std::vector<std::string> default_candidates() {
  return {"ntk:relu:1", "ntk:relu:2", "ntk:relu:3", "ntk:erf:1", "ntk:erf:2", "ntk:erf:3"};
}

KernelChoice choose_kernel(const KernelSum& given, const Dataset& data, const ChoiceOptions& options,
                           Progress* progress) {
  options.check();
  require(data.X.cols() > 0, "features for the choice of a kernel", data.X.cols(), "must be at least 1");
  constexpr double copies_to_refine = 3.0;  // the kernel, with weights once more, and what products need
  if (options.select) require_memory(std::min(options.refine_rows, data.y.size()), copies_to_refine);
  return Chooser(data, options, progress).run(given);
}

void transform_response(Dataset& data, const ResponseTransform& transform) {
  if (transform.kind == TransformKind::none) return;
  const Vector z = transform.forward(unstandardize_response(data.recipe, data.y));
  data.y = standardize_response(data.recipe, z);
}

}  // namespace gradflow
