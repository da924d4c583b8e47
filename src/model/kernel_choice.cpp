#include "gradflow/model/kernel_choice.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/model/memory.h"
#include "gradflow/operators/kernel_family.h"
#include "gradflow/operators/scaled_family.h"
#include "model/choice_rows.h"

namespace gradflow {
namespace {

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
      for (const std::string& text : texts()) tasks.push_back(task_of(text, full(), asked));
    else
      tasks.push_back(
          {to_string(given), Freedom::nothing, family_of(given, Freedom::nothing), asked, options_.starts});
    search(tasks, 0.0);
    if (choice_.best >= 0) search(second_round(asked), 0.5);
    if (choice_.best >= 0 && guarded()) guard(given, asked);
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
    Freedom freedom;
    std::shared_ptr<const KernelFamily> family;
    TransformKind kind;
    int starts;
  };

  const CandidateReport& report_of(Index candidate) const {
    return choice_.candidates[static_cast<std::size_t>(candidate)];
  }
  const CandidateReport& best() const { return report_of(choice_.best); }

  // What of the user's candidates is free.
  Freedom full() const { return options_.relevances ? Freedom::relevances : Freedom::one_relevance; }

  std::shared_ptr<const KernelFamily> family_of(const KernelSum& kernel, Freedom freedom) const {
    return std::make_shared<KernelFamily>(kernel, sample_.X, free_of(sample_, freedom));
  }
  Task task_of(const std::string& text, Freedom freedom, TransformKind kind) const {
    return {text, freedom, family_of(parse_kernel_sum(text), freedom), kind, 1};
  }

  // The chosen kernel's parameters by more rows.
  void refine() {
    const ChoiceRows many = take_sample(data_, options_.refine_rows, options_);
    const auto large = std::make_shared<KernelFamily>(parse_kernel_sum(best().kernel), many.X,
                                                      free_of(many, best().freedom));
    choice_.refinement =
        refine_kernel(best().fit, best_family_, sample_, large, many, options_.seed, progress_);
    const KernelRefinement& refinement = *choice_.refinement;
    const Refinement& result = refinement.result;
    if (refinement.used) choice_.kernel = large->sum_at(result.parameters.head(large->parameters()));
    if (result.evaluations > 0 && !(refinement.used && usable(result.outcome)))
      choice_.warnings.push_back(refinement.sentence());
  }

  SelectionOptions search_options() const {
    SelectionOptions search;
    search.seed = options_.seed;
    search.max_evaluations = options_.max_evaluations;
    return search;
  }

  // One candidate alone, with as many starts.
  CandidateFit fit(const std::string& text, const std::shared_ptr<const KernelFamily>& family,
                   TransformKind kind, int starts) const {
    SelectionOptions search = search_options();
    search.starts = starts;
    search.transform = kind;
    std::shared_ptr<const OperatorFamily> rows = family;
    if (sample_.scale.size() > 0) rows = std::make_shared<ScaledFamily>(family, sample_.scale);
    return gradflow::select({{text, rows, {}}}, sample_.response, sample_.fixed, search).candidates.front();
  }

  // The best so far from more starts; with a linear kernel beside it; and both with a transform.
  std::vector<Task> second_round(TransformKind asked) const {
    std::vector<Task> tasks;
    const std::string text = best().kernel;
    if (options_.select && options_.starts > 1)
      tasks.push_back({text, best().freedom, best_family_, asked, options_.starts});
    const bool with_linear = options_.select && options_.candidates.empty();
    const std::string sum = text + " + linear";
    if (with_linear) tasks.push_back(task_of(sum, full(), asked));
    if (!options_.automatic_transform) return tasks;
    const TransformKind kind = options_.tried_for(unstandardize_response(data_.recipe, data_.y));
    tasks.push_back({text, best().freedom, best_family_, kind, 1});
    if (with_linear) tasks.push_back(task_of(sum, full(), kind));
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
    CandidateReport report;
    report.kernel = task.text;
    report.freedom = task.freedom;
    report.transform = to_string(task.kind);
    report.fit = std::move(fit);
    report.leave_one_out_log_density =
        report.fit.value.leave_one_out_log_density / static_cast<double>(sample_.X.rows());
    for (CandidateReport& known : choice_.candidates) {
      if (known.kernel != report.kernel || known.freedom != report.freedom ||
          known.transform != report.transform)
        continue;
      if (report.fit.penalised_criterion <= known.fit.penalised_criterion) known = std::move(report);
      return;
    }
    choice_.candidates.push_back(std::move(report));
    families_.push_back(task.family);
  }

  bool guarded() const { return options_.select && options_.guard_folds > 0; }

  // By the penalised likelihood.
  void judge() {
    Index best = -1;
    for (std::size_t i = 0; i < choice_.candidates.size(); ++i) {
      const double value = choice_.candidates[i].fit.penalised_criterion;
      if (std::isfinite(value) && (best < 0 || value < report_of(best).fit.penalised_criterion))
        best = static_cast<Index>(i);
    }
    take(best);
  }

  // The likelihood's choice against kernels with fewer parameters; see choose_kernel().
  void guard(const KernelSum& given, TransformKind asked) {
    const TransformKind kind = best().fit.transform.kind;
    const bool relevances = best().freedom == Freedom::relevances;
    std::vector<Task> tasks;
    if (relevances) tasks.push_back(task_of(best().kernel, Freedom::one_relevance, kind));
    if (options_.candidates.empty() && differentiable(given))
      tasks.push_back({to_string(given), Freedom::nothing, family_of(given, Freedom::nothing), asked, 1});
    search(tasks, 0.8);
    ChoiceGuard guard = nearest_rival();
    const bool simpler_is_better = relevances && best().freedom != Freedom::relevances;
    if (simpler_is_better || (guard.rival >= 0 && guard.schwarz_lead <= decisive_lead)) {
      tasks.clear();
      if (relevances)
        for (const std::string& text : texts()) tasks.push_back(task_of(text, Freedom::one_relevance, kind));
      search(tasks, 0.85);
      guard = nearest_rival();
      if (guard.rival >= 0 && guard.schwarz_lead <= decisive_lead) leave_folds_out(guard);
    }
    guard.overruled = choice_.best != guard.likeliest;
    guard.sentence = sentence(guard);
    choice_.guard = std::move(guard);
  }

  static bool differentiable(const KernelSum& kernel) {
    return !kernel.terms.empty() &&
           std::none_of(kernel.terms.begin(), kernel.terms.end(), [](const KernelTerm& term) {
             return term.kind == KernelTerm::Kind::network && term.network.depth > 0 &&
                    term.network.activation.kind == ActivationKind::tanh;
           });
  }

  bool simpler_than_best(const CandidateReport& candidate) const {
    return candidate.freedom > best().freedom && std::isfinite(candidate.fit.criterion) &&
           candidate.fit.parameter_count < best().fit.parameter_count;
  }

  // By Schwarz's criterion.
  ChoiceGuard nearest_rival() const {
    ChoiceGuard guard;
    guard.likeliest = choice_.best;
    const double log_count = std::log(static_cast<double>(sample_.fixed.residual_dimension()));
    for (std::size_t i = 0; i < choice_.candidates.size(); ++i) {
      const CandidateReport& candidate = choice_.candidates[i];
      if (!simpler_than_best(candidate)) continue;
      const double lead = candidate.fit.criterion - best().fit.criterion;
      const auto more = static_cast<double>(best().fit.parameter_count - candidate.fit.parameter_count);
      if (guard.rival >= 0 && lead - more * log_count >= guard.schwarz_lead) continue;
      guard.rival = static_cast<Index>(i);
      guard.likelihood_lead = lead;
      guard.schwarz_lead = lead - more * log_count;
    }
    return guard;
  }

  // The likelihood's choice, and of each freedom less than its own the likeliest.
  std::vector<Index> finalists() const {
    std::vector<Index> all{choice_.best};
    for (const Freedom freedom : {Freedom::one_relevance, Freedom::nothing}) {
      Index likeliest = -1;
      for (std::size_t i = 0; i < choice_.candidates.size(); ++i) {
        const CandidateReport& candidate = choice_.candidates[i];
        if (candidate.freedom == freedom && simpler_than_best(candidate) &&
            (likeliest < 0 ||
             candidate.fit.penalised_criterion < report_of(likeliest).fit.penalised_criterion))
          likeliest = static_cast<Index>(i);
      }
      if (likeliest >= 0) all.push_back(likeliest);
    }
    return all;
  }

  // The finalist that gives rows left out the largest density.
  void leave_folds_out(ChoiceGuard& guard) {
    report_progress(progress_, "choosing the kernel: against simpler ones, on rows left out", 0.9);
    const std::vector<Index> all = finalists();
    std::vector<Entrant> entrants;
    for (const Index i : all)
      entrants.push_back({report_of(i).kernel, report_of(i).fit, families_[static_cast<std::size_t>(i)],
                          free_of(sample_, report_of(i).freedom)});
    Matrix densities;
    try {
      densities = left_out_densities(entrants, sample_, options_.guard_folds, search_options());
    } catch (const InputError& error) {
      guard.problem = error.what();
      return;
    }
    const auto n = static_cast<double>(densities.rows());
    Index densest = -1;
    for (Index k = 0; k < densities.cols(); ++k) {
      const double mean = densities.col(k).mean();
      choice_.candidates[static_cast<std::size_t>(all[static_cast<std::size_t>(k)])].left_out_log_density =
          mean;
      if (k > 0 && std::isfinite(mean) && (densest < 0 || mean > densities.col(densest).mean())) densest = k;
    }
    if (densest < 0 || !densities.col(0).allFinite()) {
      guard.problem = "a fit without a fold of the rows has no finite likelihood";
      return;
    }
    const Vector lead = densities.col(0) - densities.col(densest);
    guard.folds = options_.guard_folds;
    guard.rival = all[static_cast<std::size_t>(densest)];
    guard.likelihood_lead = report_of(guard.rival).fit.criterion - best().fit.criterion;
    guard.density_lead = lead.mean();
    guard.standard_error = std::sqrt((lead.array() - lead.mean()).square().sum() / (n * (n - 1.0)));
    if (guard.takes_rival()) take(guard.rival);
  }

  void take(Index candidate) {
    choice_.best = candidate;
    best_family_ = candidate < 0 ? nullptr : families_[static_cast<std::size_t>(candidate)];
  }

  std::string named(Index candidate) const {
    const CandidateReport& report = report_of(candidate);
    std::string text = report.kernel;
    if (report.freedom != Freedom::relevances) text += fmt::format(" ({})", to_string(report.freedom));
    return report.transform == "none" ? text : text + " with " + report.transform;
  }

  std::string comparison(Index one, Index other) const {
    const Index more = report_of(one).fit.parameter_count - report_of(other).fit.parameter_count;
    return fmt::format("-2 log L of {} is {:.2f} below that of {}, for {} more parameter{}", named(one),
                       report_of(other).fit.criterion - report_of(one).fit.criterion, named(other), more,
                       more == 1 ? "" : "s");
  }

  std::string sentence(const ChoiceGuard& guard) const {
    if (guard.rival < 0)
      return fmt::format("The likelihood prefers {}: there is no simpler kernel to hold it against.",
                         named(guard.likeliest));
    const std::string text = comparison(guard.likeliest, guard.rival);
    if (!guard.problem.empty())
      return fmt::format("{}: not decisive, but rows cannot be left out ({}), so it stays.", text,
                         guard.problem);
    if (guard.folds == 0) return text + ": decisive by Schwarz's criterion.";
    return fmt::format(
        "{}: not decisive by Schwarz's criterion. Estimated again without each of {} folds, they give a row "
        "left out a mean log density of {:.4f} and {:.4f} (difference {:.4f}, s.e. {:.2g}): {}.",
        text, guard.folds, report_of(guard.likeliest).left_out_log_density,
        report_of(guard.rival).left_out_log_density, guard.density_lead, guard.standard_error,
        guard.takes_rival() ? "no gain, so the simpler kernel is taken" : "a gain, so the former is taken");
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
    constexpr double worth_a_sentence = 0.02;                         // per row
    const bool left_out = choice_.guard && choice_.guard->folds > 0;  // knows more
    if (!left_out && densest->leave_one_out_log_density > chosen.leave_one_out_log_density + worth_a_sentence)
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

TransformKind ChoiceOptions::tried_for(const Vector& y) const {
  return tried.value_or(ResponseTransform::all_positive(y) ? TransformKind::box_cox
                                                           : TransformKind::yeo_johnson);
}

int ChoiceOptions::folds_of(Index n) const {
  if (!chooses()) return 0;
  if (folds) return *folds;
  return select && n <= most_rows_of_default_folds && average_of(n) == 0 ? default_folds : 0;
}

int ChoiceOptions::average_of(Index n) const {
  if (!select) return 0;
  return average.value_or(n <= most_rows_of_default_average ? default_average : 0);
}

void ChoiceOptions::check() const {
  if (average)
    require(*average == 0 || *average >= 2, "folds of an averaged choice", *average,
            "must be 0 (no average) or >= 2");
  if (folds)
    require(*folds == 0 || *folds >= 2, "folds of the kernel's choice", *folds, "must be 0 (never) or >= 2");
  require(rows >= 20, "rows for the choice of a kernel", rows, "must be >= 20");
  require(refine_rows >= 0, "rows to refine the choice of a kernel on", refine_rows, "must be >= 0");
  require(starts >= 1, "starts of the kernel's search", starts, "must be >= 1");
  require(max_evaluations >= 2, "evaluations of the kernel's search", max_evaluations, "must be >= 2");
  require(guard_folds == 0 || guard_folds >= 2, "folds of the kernel's guard", guard_folds,
          "must be 0 (never) or >= 2");
}

std::string_view to_string(Freedom freedom) {
  switch (freedom) {
    case Freedom::one_relevance: return "one relevance";
    case Freedom::nothing: return "as given";
    case Freedom::relevances: break;
  }
  return "relevances";
}

std::vector<std::string> default_candidates() {
  return {"ntk:relu:1", "ntk:relu:2", "ntk:relu:3", "ntk:erf:1", "ntk:erf:2", "ntk:erf:3"};
}

KernelChoice choose_kernel(const KernelSum& given, const Dataset& data, const ChoiceOptions& options,
                           Progress* progress) {
  options.check();
  // Of every row: those looked at may all be positive.
  ResponseTransform::for_response(options.transform, unstandardize_response(data.recipe, data.y));
  require(data.X.cols() > 0, "features for the choice of a kernel", data.X.cols(), "must be at least 1");
  constexpr double copies_to_refine = 3.0;  // the kernel, with weights once more, and what products need
  if (options.select) require_memory(std::min(options.refine_rows, data.y.size()), copies_to_refine);
  return Chooser(data, options, progress).run(given);
}

void transform_response(Dataset& data, ResponseTransform& transform) {
  if (transform.kind == TransformKind::none) return;
  const Vector y = unstandardize_response(data.recipe, data.y);
  transform = transform.continued(y);
  const Vector z = transform.forward(y);
  data.y = standardize_response(data.recipe, z);
}

}  // namespace gradflow
