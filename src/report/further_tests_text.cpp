#include <fmt/format.h>

#include <cmath>

#include "report/format.h"
#include "report/further_tests.h"

namespace gradflow {
namespace {

std::string line(const std::string& label, const std::string& text) {
  return fmt::format("  {:<18} {}\n", label, text);
}

template <typename Test>
std::string no_answer(const Test& test) {
  return line("no answer", fmt::format("{} ({})", test.reason, to_string(test.outcome)));
}

std::string exact_p(double p_value, double log10_p_value, const std::string& note) {
  return fmt::format("{} (log10 p = {}; {})", shown_p(p_value, log10_p_value), shown_number(log10_p_value),
                     note);
}

// "tau = 54.8", and whether that is where the search ended.
std::string shown_tau(double tau, Outcome outcome) {
  return fmt::format("tau = {}{}", shown_number(tau),
                     outcome == Outcome::on_boundary ? " (the largest searched)" : "");
}

// "0.0231 (log10 p = -1.6364; standard error 0.0015, 9999 draws)", or a bound.
std::string resampled_p(const ResampledPValue& p, const std::string& draws) {
  if (p.upper_bound)
    return fmt::format("< {} (log10 p < {}; none of {} {} reached the statistic)",
                       shown_p(p.p_value, p.log10_p_value), shown_number(p.log10_p_value), p.draws, draws);
  const std::string error = p.standard_error == 0.0
                                ? "no random error"
                                : fmt::format("standard error {}", shown_number(p.standard_error));
  return exact_p(p.p_value, p.log10_p_value, fmt::format("{}, {} {}", error, p.draws, draws));
}

std::string likelihood_ratio_text(const LikelihoodRatioTest& test, double level) {
  std::string text = "Likelihood ratio of time 0 (path ridge; its exact null, simulated)\n";
  if (!usable(test.outcome)) return text + no_answer(test);
  text += line("statistic LR", fmt::format("{}, at {}", shown_number(test.statistic),
                                           shown_tau(test.path.time, test.outcome)));
  text += line("p", resampled_p(test.simulated, "draws"));
  text += line("p, 50:50 mixture", fmt::format("{:.3g} (of 0 and chi-squared: approximate, for comparison)",
                                               test.p_value_mixture));
  text += line(fmt::format("{:g} % quantile", 100.0 * level),
               fmt::format("{} under the null, where LR is 0 with probability {} (standard error {})",
                           shown_number(test.critical_value), shown_number(test.zero_mass),
                           shown_number(test.zero_mass_standard_error)));
  return text;
}

std::string permutation_text(const PermutationTest& test) {
  std::string text = "Permutations (of the score statistic; errors need not be normal)\n";
  if (!usable(test.outcome)) return text + no_answer(test);
  text += line("statistic T", shown_number(test.statistic));
  text += line("p",
               resampled_p(test.resampled, test.enumerated ? "permutations, which are all" : "permutations"));
  return text + line("level", test.exact_level
                                  ? "exact for exchangeable errors"
                                  : "approximate: the residuals of the fixed effects are permuted, and the "
                                    "fixed effects taken out again");
}

std::string grid_text(const NamedGridTest& grid) {
  const GridTest& test = grid.test;
  std::string text =
      fmt::format("Best of {} operators (corrected by the joint null of their tests)\n", grid.kernels.size());
  if (!usable(test.outcome)) return text + no_answer(test);
  std::vector<std::vector<std::string>> rows{{"operator", "T", "p", "log10 p", ""}};
  for (std::size_t k = 0; k < test.tests.size(); ++k) {
    const ScoreTest& each = test.tests[k];
    rows.push_back({grid.kernels[k], shown_number(each.statistic), shown_p(each.p_value, each.log10_p_value),
                    shown_number(each.log10_p_value),
                    static_cast<Index>(k) == test.best ? "<- best"
                    : usable(each.outcome)             ? ""
                                                       : fmt::format("({})", to_string(each.outcome))});
  }
  text += aligned_table(rows);
  const std::string p = shown_p(test.p_value, test.log10_p_value), log10_p = shown_number(test.log10_p_value);
  if (!std::isfinite(test.relative_standard_error))
    return text + line("p, corrected", fmt::format("< {} (log10 p < {}; Bonferroni's bound: none of {} draws "
                                                   "reached the best p)",
                                                   p, log10_p, test.draws));
  return text +
         line("p, corrected", fmt::format("{} (log10 p = {}; standard error {:.2g} %, {} draws; Bonferroni's "
                                          "bound: log10 p <= {})",
                                          p, log10_p, 100.0 * test.relative_standard_error, test.draws,
                                          shown_number(test.log10_bonferroni)));
}

std::string component_text(const NamedComponentTest& component) {
  const ComponentTest& test = component.test;
  std::string text = component.group.empty()
                         ? std::string("Operator given another (does it explain what the other does not?)\n")
                         : fmt::format(
                               "Group {} given the other features (interactions with those are in "
                               "neither kernel)\n",
                               fmt::join(component.group, ", "));
  text += line("tested", component.second);
  text += line("given", std::isnan(test.null_time)
                            ? component.first
                            : fmt::format("{}, {} by its likelihood alone", component.first,
                                          shown_tau(test.null_time, test.null_outcome)));
  if (!usable(test.outcome)) return text + no_answer(test);
  text += line("statistic T", fmt::format("{}, standardised {}", shown_number(test.statistic),
                                          shown_number(test.standardised)));
  text += line("p, bootstrap", resampled_p(test.bootstrap, "draws"));
  return text + line("p, tau as known",
                     exact_p(test.given.p_value, test.given.log10_p_value, "exact were this tau known"));
}

std::string binary_text(const NamedBinaryTest& binary) {
  const BinaryTest& test = binary.test;
  std::string text = "Two-valued response (logistic null model)\n";
  text += line("classes", fmt::format("{} in {} rows, {} in {}", shown_number(binary.zero), test.zeros,
                                      shown_number(binary.one), test.ones));
  if (!usable(test.outcome)) return text + no_answer(test);
  const bool asymptotic = test.recommended == BinaryNull::asymptotic;
  const auto note = [&](bool chosen) { return chosen ? "; recommended here" : ""; };
  text += line("statistic Q", shown_number(test.statistic));
  text += line("p, asymptotic", exact_p(test.p_value_asymptotic, test.log10_p_value_asymptotic,
                                        fmt::format("normal scores{}", note(asymptotic))));
  std::string resampled = resampled_p(test.resampled, "draws");
  resampled.insert(resampled.size() - 1, note(!asymptotic));
  text += line(fmt::format("p, {}", to_string(test.resampling)), resampled);
  if (test.separated_draws > 0)
    text += line("separated", fmt::format("{} draws, counted as at least Q", test.separated_draws));
  return text;
}

}  // namespace

std::string text_further_tests(const Job& job, const PreparedJob& prepared, const FurtherTests& tests) {
  std::string text;
  if (tests.likelihood_ratio)
    text += likelihood_ratio_text(*tests.likelihood_ratio, job.analysis.level) + '\n';
  if (tests.permutation) text += permutation_text(*tests.permutation) + '\n';
  if (tests.grid) text += grid_text(*tests.grid) + '\n';
  if (tests.component) text += component_text(*tests.component) + '\n';
  if (tests.binary) text += binary_text(*tests.binary) + '\n';
  const bool possible = !job.analysis.paper && job.dataset.row_weights.empty();
  if (prepared.two_values && possible && !tests.binary)
    text += "The response has two values: --binary tests it with a logistic null model.\n\n";
  return text;
}

}  // namespace gradflow
