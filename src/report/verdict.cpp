#include "report/verdict.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "report/format.h"
#include "report/training_run.h"

namespace gradflow {
namespace {

constexpr double agreement = 3.0, disagreement_worth_a_warning = 10.0;  // ratios of times
constexpr double no_training = 0.01;                                    // effective degrees of freedom
constexpr double same_error = 0.02;                                     // relative, of leave-one-out errors

std::string test_sentence(const RunDocument& run) {
  const double p = run.number("/test/p_value"), log10_p = run.number("/test/log10_p_value");
  if (std::isnan(p))
    return fmt::format("Whether training is warranted cannot be told: {}.", run.text("/test/reason"));
  const std::string shown = brief_p(p, log10_p);
  if (p < 1.0 - level_of(run))
    return fmt::format(
        "Training is warranted: pure noise would match the network this well only with probability p = {}.",
        shown);
  return fmt::format(
      "Training is not shown to be warranted: pure noise would match the network this well with probability "
      "p = "
      "{}.",
      shown);
}

bool trains(const RuleEntry& rule) { return rule.time > 0.0 && !(rule.effective_dof < no_training); }

double two_digits(double value) {
  const double unit = std::pow(10.0, std::floor(std::log10(value)) - 1.0);
  return unit * std::round(value / unit);
}

struct Agreement {
  double ratio = 1.0, least_error = NAN, most_error = NAN;
  int count = 0, at_zero = 0, positive = 0;
  std::string earliest, latest;
};

Agreement agreement_of(const std::vector<RuleEntry>& rules) {
  Agreement found;
  double least = INFINITY, most = 0.0;
  for (const RuleEntry& rule : rules) {
    if (!rule.is_usable()) continue;
    ++found.count;
    if (!trains(rule)) ++found.at_zero;
    if (!trains(rule) || !std::isfinite(rule.time)) continue;
    ++found.positive;
    if (rule.time < least) found.earliest = rule.name;
    if (rule.time > most) found.latest = rule.name;
    least = std::min(least, rule.time);
    most = std::max(most, rule.time);
    found.least_error = std::fmin(found.least_error, rule.loo_rmse);
    found.most_error = std::fmax(found.most_error, rule.loo_rmse);
  }
  if (found.positive > 1) found.ratio = most / least;
  return found;
}

// What the rules' agreement, or lack of it, says to someone who has to choose.
std::string agreement_clause(const std::vector<RuleEntry>& rules) {
  const Agreement found = agreement_of(rules);
  if (found.count < 2) return "";
  if (found.at_zero == found.count) return fmt::format("; all {} rules say so", found.count);
  if (found.at_zero > 0)
    return fmt::format(
        "; the rules disagree on whether to train at all ({} of {} would not), so take the gain with doubt",
        found.at_zero, found.count);
  if (found.ratio <= agreement)
    return fmt::format("; the {} rules agree within a factor of {}, so the time is well determined",
                       found.count, shown_number(std::ceil(10.0 * found.ratio) / 10.0));
  const std::string spread =
      fmt::format("the {} rules differ by a factor of {} ({} earliest, {} latest)", found.count,
                  brief_number(two_digits(found.ratio)), found.earliest, found.latest);
  const double relative = found.most_error / found.least_error - 1.0;
  if (relative <= same_error)
    return fmt::format(
        "; {}, but their leave-one-out errors are within {} of each other, so the choice matters "
        "little",
        spread, fmt::format("{:.2g} %", std::max(0.1, 100.0 * relative)));
  if (found.ratio <= disagreement_worth_a_warning) return fmt::format("; {}: an ordinary spread", spread);
  return fmt::format(
      "; {}: look for copied rows, errors that are not independent, or very little noise before trusting one "
      "of "
      "them",
      spread);
}

std::string path_phrase(const RunDocument& run, double time) {
  const std::string kind = run.text("/chosen/path/kind"), at = brief_number(time);
  if (kind == "ridge") return "stop the ridge path at tau = " + at;
  if (kind == "decay") return "stop gradient flow with weight decay at t = " + at;
  if (kind == "descent")
    return fmt::format("stop gradient descent after {} steps", brief_number(std::round(time)));
  if (kind == "implicit") return "take implicit steps of tau = " + at;
  return "stop gradient flow at t = " + at;
}

std::string stop_sentence(const RunDocument& run) {
  const std::vector<RuleEntry> rules = rules_of(run);
  const auto chosen = std::ranges::find_if(rules, [](const RuleEntry& rule) { return rule.chosen; });
  if (chosen == rules.end()) return "No stopping time was asked for.";
  if (!chosen->is_usable())
    return fmt::format("There is no stopping time by rule {} ({}): {}.", chosen->name, chosen->outcome,
                       chosen->reason);
  const std::string clause = agreement_clause(rules);
  if (!trains(*chosen))
    return fmt::format("Do not train (rule {} stops at time {}, where only the fixed effects are fitted){}.",
                       chosen->name, brief_number(chosen->time), clause);
  if (std::isinf(chosen->time))
    return fmt::format("Train to convergence (by rule {} the time has no bound){}.", chosen->name, clause);
  std::string sentence = path_phrase(run, chosen->time);
  const double p = run.number("/test/p_value");
  if (p >= 1.0 - level_of(run)) sentence = "should it be trained all the same, " + sentence;
  sentence.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(sentence.front())));
  if (std::isfinite(chosen->steps) && chosen->steps != chosen->time) {
    sentence += fmt::format(", after {} full-batch steps", brief_number(std::round(chosen->steps)));
    const std::string rate = run.scalar("/options/learning-rate");
    if (!rate.empty()) sentence += fmt::format(" at learning rate {}", rate);
  }
  if (std::isfinite(chosen->interval.lower) && !std::isnan(chosen->interval.upper))
    sentence += std::isinf(chosen->interval.upper)
                    ? fmt::format(" ({} interval from {} without an upper end)",
                                  shown_percent(chosen->interval.level), brief_number(chosen->interval.lower))
                    : fmt::format(" ({} interval {})", shown_percent(chosen->interval.level),
                                  fmt::format("{} to {}", brief_number(chosen->interval.lower),
                                              brief_number(chosen->interval.upper)));
  return sentence + clause + ".";
}

std::string class_sentence(const RunDocument& run) {
  if (!run.has("/leave_one_out/accuracy"))
    return fmt::format("No probabilities were fitted: {}.", run.text("/reason"));
  return fmt::format(
      "Left out of the fit, {:.1f} % of the rows get their class right (always guessing the most frequent "
      "one: "
      "{:.1f} %), with a log loss of {} against {}.",
      100.0 * run.number("/leave_one_out/accuracy"), 100.0 * run.number("/class_frequencies/accuracy"),
      brief_number(run.number("/leave_one_out/log_loss")),
      brief_number(run.number("/class_frequencies/log_loss")));
}

const RuleEntry* chosen_of(const std::vector<RuleEntry>& rules) {
  for (const RuleEntry& rule : rules)
    if (rule.chosen) return &rule;
  return nullptr;
}

void add(std::vector<Fact>& facts, const std::string& name, const std::string& value,
         const std::string& meaning) {
  if (!value.empty() && value != "NA") facts.push_back({name, value, meaning});
}

std::vector<Fact> class_facts(const RunDocument& run) {
  std::vector<Fact> facts;
  add(facts, "Accuracy", fmt::format("{:.1f} %", 100.0 * run.number("/leave_one_out/accuracy")),
      "of rows left out, most probable class");
  add(facts, "Log loss", brief_number(run.number("/leave_one_out/log_loss")), "nats; 0 is certain and right");
  add(facts, "Brier score", brief_number(run.number("/leave_one_out/brier")),
      "mean squared error of probabilities");
  add(facts, "Calibration error", brief_number(run.number("/leave_one_out/calibration_error")),
      fmt::format("perfect probabilities would show {}",
                  brief_number(run.number("/leave_one_out/calibration_error_if_calibrated/mean"))));
  return facts;
}

}  // namespace

double level_of(const RunDocument& run) {
  const double level = run.number("/chosen/interval/level");
  if (level > 0.0 && level < 1.0) return level;
  try {
    const double given = std::stod(run.scalar("/options/level"));
    if (given > 0.0 && given < 1.0) return given;
  } catch (const std::exception&) {  // none was given
  }
  return 0.95;
}

ReportVerdict verdict_of(const RunDocument& run) {
  if (run.of_training()) return training_verdict(run);
  return {test_sentence(run), run.of_classes() ? class_sentence(run) : stop_sentence(run)};
}

std::vector<Fact> facts_of(const RunDocument& run) {
  if (run.of_training()) return training_facts(run);
  if (run.of_classes()) return class_facts(run);
  std::vector<Fact> facts;
  const std::vector<RuleEntry> rules = rules_of(run);
  const RuleEntry* chosen = chosen_of(rules);
  if (chosen == nullptr || !chosen->is_usable()) return facts;
  const std::string units =
      is_transformed(run) ? "units of the transformed response" : "units of the response";
  add(facts, "Stopping time", brief_number(chosen->time), fmt::format("by rule {}", chosen->name));
  add(facts, "Steps", brief_number(std::round(chosen->steps)), "of full-batch gradient descent");
  add(facts, "Effective degrees of freedom", brief_number(run.number("/effective_dof")),
      fmt::format("free parameters the fit is worth, of {}", run.scalar("/N")));
  add(facts, "Noise", brief_number(std::sqrt(run.number("/noise_variance"))),
      fmt::format("standard deviation, {} (its own: {})", units, brief_number(run.number("/response_sd"))));
  add(facts, "Leave-one-out error", brief_number(chosen->loo_rmse),
      fmt::format("root mean square, {}", units));
  const double share = run.number("/signal_share");
  if (std::isfinite(share))
    add(facts, "Signal share", fmt::format("{:.0f} %", 100.0 * share), "of the variation is fitted");
  return facts;
}

}  // namespace gradflow
