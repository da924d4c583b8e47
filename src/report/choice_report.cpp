#include "report/choice_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "report/format.h"
#include "report/json_parts.h"

namespace gradflow {
namespace {

constexpr std::size_t most_features_listed = 12;

std::string transform_text(const ResponseTransform& transform) {
  if (transform.kind == TransformKind::none) return "none";
  return fmt::format("{} with lambda = {}", to_string(transform.kind), shown_number(transform.lambda));
}

// The kernel with four digits of its numbers: for reading; all digits are in the JSON.
std::string shown_kernel(KernelSum kernel) {
  const auto rounded = [](double value) { return std::stod(fmt::format("{:.4g}", value)); };
  for (KernelTerm& term : kernel.terms) {
    term.weight = rounded(term.weight);
    term.network.sw2 = rounded(term.network.sw2);
    term.network.sb2 = rounded(term.network.sb2);
  }
  return to_string(kernel);
}

std::string candidates_table(const KernelChoice& choice) {
  const bool left_out = choice.guard && choice.guard->folds > 0;
  std::vector<std::vector<std::string>> rows{{"candidate", "free", "transform", "-2 log L", "penalised",
                                              "parameters", "LOO log density", "evaluations", ""}};
  if (left_out) rows.front().insert(rows.front().end() - 2, "left out");
  for (std::size_t i = 0; i < choice.candidates.size(); ++i) {
    const CandidateReport& candidate = choice.candidates[i];
    const CandidateFit& fit = candidate.fit;
    std::string note = static_cast<Index>(i) == choice.best ? "<- chosen" : "";
    if (fit.outcome != Outcome::converged)
      note += fmt::format("{}({})", note.empty() ? "" : " ", to_string(fit.outcome));
    rows.push_back({candidate.kernel, std::string(to_string(candidate.freedom)), candidate.transform,
                    fmt::format("{:.2f}", fit.criterion), fmt::format("{:.2f}", fit.penalised_criterion),
                    std::to_string(fit.parameter_count), shown_number(candidate.leave_one_out_log_density),
                    std::to_string(fit.evaluations), note});
    if (!left_out) continue;
    const double density = candidate.left_out_log_density;
    rows.back().insert(rows.back().end() - 2, std::isfinite(density) ? shown_number(density) : "");
  }
  return aligned_table(rows);
}

// The features in the order of their relevance in a term.
std::string relevances_text(const KernelTerm& term, const std::vector<EncodedColumn>& features) {
  if (term.relevance.size() == 0) return "";
  std::vector<Index> order(static_cast<std::size_t>(term.relevance.size()));
  std::iota(order.begin(), order.end(), Index{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](Index a, Index b) { return term.relevance(a) > term.relevance(b); });
  std::string text;
  for (std::size_t i = 0; i < std::min(order.size(), most_features_listed); ++i)
    text += fmt::format("{}{} {}", i == 0 ? "" : ", ", features[static_cast<std::size_t>(order[i])].name,
                        shown_number(term.relevance(order[i])));
  if (order.size() > most_features_listed)
    text += fmt::format(", {} more", order.size() - most_features_listed);
  return fmt::format("Relevance of the features ({}): {}.\n", to_string(term.kind), text);
}

Json refinement_json(const KernelRefinement& refinement) {
  const Refinement& result = refinement.result;
  Json parameters = Json::array();
  for (Index k = 0; k < result.moved.size(); ++k)
    parameters.push_back({{"name", refinement.names[static_cast<std::size_t>(k)]},
                          {"log_before", number(result.start(k))},
                          {"log_after", number(result.parameters(k))},
                          {"posterior_sd_before", number(result.scale(k))},
                          {"moved", number(result.moved(k))},
                          {"probe_error", number(result.probe_error(k))}});
  return {{"rows", refinement.rows},
          {"used", refinement.used},
          {"outcome", to_string(result.outcome)},
          {"reason", result.reason},
          {"criterion", number(result.after.criterion)},
          {"criterion_error", number(result.after.criterion_error)},
          {"lowered", number(result.lowered)},
          {"lowered_error", number(result.lowered_error)},
          {"evaluations", result.evaluations},
          {"iterations", result.after.iterations},
          {"preconditioner_rank", result.after.rank},
          {"probes", result.after.probe_criteria.size()},
          {"parameters", std::move(parameters)}};
}

// What predictions will know of the choice; nothing where the user wants it not to be repeated.
std::string repeated_text(const Job& job, const PreparedJob& prepared) {
  if (!prepared.repeated) {
    if (job.choice.folds || !job.choice.select || prepared.average) return "";
    const std::string why =
        job.noise.estimates()
            ? std::string("with a noise model it is not made again without folds of the rows")
            : fmt::format("of more than {} rows it is made again without folds only by --choice-folds",
                          ChoiceOptions::most_rows_of_default_folds);
    return fmt::format("Intervals of predictions take this choice as known: {}.\n", why);
  }
  const LeftOutErrors& errors = prepared.repeated->errors;
  if (!errors.known()) return "";
  return fmt::format(
      "Chosen again without each of {} folds: the errors of {} left out are {:.3g} times the standard "
      "deviations "
      "given them (root mean square); predictions take intervals and standard deviations from these.\n",
      errors.folds, counted_text(errors.sizes.size(), "row"), errors.root_mean_square());
}

// What else predictions will be made of.
std::string average_text(const PreparedJob& prepared) {
  if (!prepared.average) return "";
  const auto fits = std::ranges::count_if(
      prepared.average->choices, [](const ChosenWithout& without) { return without.problem.empty(); });
  return fmt::format(
      "Predictions are the mean of this fit and {} others, whose kernels have parameters chosen without each "
      "of "
      "{} folds of the rows.\n",
      fits, prepared.average->choices.size());
}

Json average_json(const ChoiceAverage& average) {
  Json json = Json::array();
  for (const ChosenWithout& without : average.choices)
    json.push_back({{"kernel", without.problem.empty() ? Json(to_string(without.kernel)) : Json(nullptr)},
                    {"transform", to_string(without.transform.kind)},
                    {"problem", without.problem}});
  return json;
}

Json guard_json(const ChoiceGuard& guard) {
  return {{"likeliest", guard.likeliest},
          {"rival", guard.rival < 0 ? Json(nullptr) : Json(guard.rival)},
          {"likelihood_lead", number(guard.likelihood_lead)},
          {"schwarz_lead", number(guard.schwarz_lead)},
          {"folds", guard.folds},
          {"density_lead", number(guard.density_lead)},
          {"standard_error", number(guard.standard_error)},
          {"overruled", guard.overruled},
          {"problem", guard.problem},
          {"sentence", guard.sentence}};
}

Json repeated_json(const RepeatedChoice& repeated) {
  Json json = left_out_json(repeated.errors);
  if (json.is_null()) json = Json::object();
  json["without"] = Json::array();
  for (const FoldChoice& fold : repeated.folds)
    json["without"].push_back({{"rows", fold.rows},
                               {"kernel", fold.kernel},
                               {"transform", fold.transform},
                               {"root_mean_square", number(fold.root_mean_square)},
                               {"problem", fold.problem}});
  return json;
}

}  // namespace

Json left_out_json(const LeftOutErrors& errors) {
  if (!errors.known()) return nullptr;
  return {{"folds", errors.folds},
          {"rows", errors.sizes.size()},
          {"root_mean_square", number(errors.root_mean_square())}};
}

std::string choice_text(const Job& job, const PreparedJob& prepared) {
  const bool transformed = prepared.transform.kind != TransformKind::none;
  if (!prepared.choice)
    return transformed ? fmt::format("Response transformed: {}; estimates are in its units.\n\n",
                                     transform_text(prepared.transform))
                       : "";
  const KernelChoice& choice = *prepared.choice;
  const bool by_rows = choice.guard && choice.guard->takes_rival();
  std::string text = fmt::format("Chosen by {} on {}: {}; transform of the response: {}.\n",
                                 by_rows ? "the density of rows left out" : "restricted likelihood",
                                 counted_text(choice.rows, "row"), shown_kernel(choice.kernel),
                                 transform_text(choice.transform));
  text += candidates_table(choice);
  if (choice.guard) text += choice.guard->sentence + "\n";
  if (choice.refinement) text += choice.refinement->sentence() + "\n";
  for (const KernelTerm& term : choice.kernel.terms)
    text += relevances_text(term, prepared.dataset.recipe.features);
  if (transformed)
    text += "Times, standard deviations and fixed effects are those of the transformed response.\n";
  text += repeated_text(job, prepared);
  text += average_text(prepared);
  return text + '\n';
}

Json choice_json(const PreparedJob& prepared) {
  const bool transformed = prepared.transform.kind != TransformKind::none;
  if (!prepared.choice && !transformed) return nullptr;
  Json json = {{"transform",
                {{"kind", to_string(prepared.transform.kind)},
                 {"lambda", transformed ? Json(prepared.transform.lambda) : Json(nullptr)},
                 {"centre", prepared.transform.centre},
                 {"scale", prepared.transform.scale},
                 {"below", number(prepared.transform.below)},
                 {"beyond", number(prepared.transform.beyond)}}}};
  if (!prepared.choice) return json;
  const KernelChoice& choice = *prepared.choice;
  json["kernel"] = to_string(choice.kernel);
  json["rows"] = choice.rows;
  json["best"] = choice.best < 0 ? Json(nullptr) : Json(choice.best);
  Json candidates = Json::array();
  for (const CandidateReport& candidate : choice.candidates) {
    const CandidateFit& fit = candidate.fit;
    Json parameters = Json::object();
    for (std::size_t k = 0; k < fit.parameter_names.size() && static_cast<Index>(k) < fit.parameters.size();
         ++k)
      parameters[fit.parameter_names[k]] = number(std::exp(fit.parameters(static_cast<Index>(k))));
    candidates.push_back({{"kernel", candidate.kernel},
                          {"free", to_string(candidate.freedom)},
                          {"transform", candidate.transform},
                          {"outcome", to_string(fit.outcome)},
                          {"reason", fit.reason},
                          {"criterion", number(fit.criterion)},
                          {"penalised_criterion", number(fit.penalised_criterion)},
                          {"parameter_count", fit.parameter_count},
                          {"leave_one_out_log_density", number(candidate.leave_one_out_log_density)},
                          {"left_out_log_density", number(candidate.left_out_log_density)},
                          {"tau", number(fit.tau)},
                          {"lambda", number(fit.transform.lambda)},
                          {"evaluations", fit.evaluations},
                          {"at_bound", fit.at_bound},
                          {"parameters", std::move(parameters)}});
  }
  json["candidates"] = std::move(candidates);
  json["guard"] = choice.guard ? guard_json(*choice.guard) : Json(nullptr);
  if (choice.refinement) json["refinement"] = refinement_json(*choice.refinement);
  json["folds"] = prepared.repeated ? repeated_json(*prepared.repeated) : Json(nullptr);
  json["average"] = prepared.average ? average_json(*prepared.average) : Json(nullptr);
  return json;
}

}  // namespace gradflow
