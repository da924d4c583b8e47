#include "report/noise_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "gradflow/model/data_source.h"
#include "report/format.h"
#include "report/json_parts.h"

namespace gradflow {
namespace {

constexpr double light = 0.1;
constexpr std::size_t most_listed = 5;
constexpr const char* test_statement =
    "The test is that of normal noise, as these weights have seen the response";

struct LightRow {
  Index row;  // 1-based data row of the input
  double weight;
};

// Rows of a weight below 0.1, the lightest first.
std::vector<LightRow> light_rows(const JobResult& result) {
  const Vector& weights = result.noise->weights;
  std::vector<Index> used = rows_used(result.prepared.dataset.report);
  if (static_cast<Index>(used.size()) != weights.size()) {
    used.resize(static_cast<std::size_t>(weights.size()));
    std::iota(used.begin(), used.end(), Index{0});
  }
  std::vector<LightRow> rows;
  for (Index i = 0; i < weights.size(); ++i)
    if (weights(i) < light) rows.push_back({used[static_cast<std::size_t>(i)] + 1, weights(i)});
  std::ranges::stable_sort(rows, [](const LightRow& a, const LightRow& b) { return a.weight < b.weight; });
  return rows;
}

std::string light_text(const JobResult& result) {
  const std::vector<LightRow> rows = light_rows(result);
  if (rows.empty()) return "No row has a weight below 0.1.\n";
  std::string text;
  for (std::size_t i = 0; i < std::min(most_listed, rows.size()); ++i)
    text += fmt::format("{}{} ({})", i == 0 ? "" : ", ", rows[i].row, brief_number(rows[i].weight));
  return fmt::format("{} {} a weight below 0.1; by number (weight): {}{}\n",
                     counted_text(static_cast<long long>(rows.size()), "row"),
                     rows.size() == 1 ? "has" : "have", text, rows.size() > most_listed ? ", ..." : ".");
}

std::string shown_dof(double dof) { return std::isinf(dof) ? "normal" : fmt::format("{:g}", dof); }

std::string student_table(const StudentNoise& student) {
  std::vector<std::vector<std::string>> rows{{"noise", "log likelihood", "LOO log score", "refits", ""}};
  const double bound = student.candidates.front().bound, score = student.candidates.front().log_score;
  for (const StudentCandidate& candidate : student.candidates) {
    std::string note = candidate.dof == student.dof ? "<- chosen" : "";
    if (candidate.outcome != Outcome::converged)
      note += fmt::format("{}({})", note.empty() ? "" : " ", to_string(candidate.outcome));
    rows.push_back({std::isinf(candidate.dof) ? "normal" : fmt::format("t, nu = {:g}", candidate.dof),
                    fmt::format("{:+.1f}", candidate.bound - bound),
                    fmt::format("{:+.1f}", candidate.log_score - score), std::to_string(candidate.iterations),
                    note});
  }
  return aligned_table(rows);
}

std::string variance_table(const HeteroscedasticNoise& variance) {
  std::vector<std::vector<std::string>> rows{{"log noise variance by", "coefficient", "s.e.", "p", ""}};
  for (const NoiseCoefficient& each : variance.coefficients)
    rows.push_back({each.name, shown_number(each.estimate), shown_number(each.standard_error),
                    shown_p(each.p_value, std::log10(each.p_value)), ""});
  return aligned_table(rows);
}

std::string gain_text(const NoiseEstimate& noise) {
  return fmt::format("Leave-one-out log score {:+.1f} (standard error {:.1f}) against normal noise{}",
                     noise.score_gain, noise.score_gain_standard_error,
                     noise.kind == NoiseModelKind::variance ? " of equal variances" : "");
}

Json student_json(const NoiseEstimate& noise) {
  const StudentNoise& student = noise.student;
  Json candidates = Json::array();
  for (const StudentCandidate& each : student.candidates)
    candidates.push_back({{"dof", number(each.dof)},
                          {"normal", std::isinf(each.dof)},
                          {"outcome", to_string(each.outcome)},
                          {"iterations", each.iterations},
                          {"last_change", number(each.last_change)},
                          {"bound", number(each.bound)},
                          {"log_score", number(each.log_score)}});
  return {{"dof", number(student.dof)},
          {"noise_variance", number(student.noise_variance)},
          {"bound_gain", number(student.bound_gain)},
          {"candidates", std::move(candidates)}};
}

Json variance_json(const HeteroscedasticNoise& variance) {
  Json coefficients = Json::array();
  for (const NoiseCoefficient& each : variance.coefficients)
    coefficients.push_back({{"name", each.name},
                            {"estimate", number(each.estimate)},
                            {"standard_error", number(each.standard_error)},
                            {"p_value", number(each.p_value)}});
  return {{"coefficients", std::move(coefficients)},
          {"score_statistic", number(variance.score_statistic)},
          {"score_p_value", number(variance.score_p_value)},
          {"wald_statistic", number(variance.wald_statistic)},
          {"wald_p_value", number(variance.wald_p_value)}};
}

}  // namespace

std::string noise_text(const JobResult& result) {
  if (!result.noise) return "";
  const NoiseEstimate& noise = *result.noise;
  if (!noise.is_usable())
    return fmt::format(
        "Noise model {} could not be estimated ({}): {}. What is shown is the analysis with normal "
        "noise.\n\n",
        to_string(noise.kind), to_string(noise.outcome), noise.reason);
  std::string text;
  if (noise.kind == NoiseModelKind::student) {
    text = noise.applied ? fmt::format(
                               "Noise model: Student's t with {} degrees of freedom; noise against the "
                               "normal's (the log likelihood is a lower bound):\n",
                               shown_dof(noise.student.dof))
                         : "Noise model: normal, which explains the data at least as well as every Student t "
                           "tried; all is as without a noise model:\n";
    text += student_table(noise.student);
    if (!noise.applied) return text + '\n';
    text += gain_text(noise) + ".\n";
  } else {
    text = fmt::format("Noise model: variances (per unit of the data; {}):\n",
                       counted_text(noise.iterations, "refit"));
    text += variance_table(noise.variance);
    text += fmt::format("{}; equal variances: p = {} (score test).\n", gain_text(noise),
                        shown_p(noise.variance.score_p_value, std::log10(noise.variance.score_p_value)));
  }
  return text + light_text(result) + test_statement + "; all else is made with them.\n\n";
}

Json noise_json(const JobResult& result) {
  if (!result.noise) return nullptr;
  const NoiseEstimate& noise = *result.noise;
  Json json = {{"model", to_string(noise.kind)}, {"outcome", to_string(noise.outcome)},
               {"reason", noise.reason},         {"applied", noise.applied},
               {"iterations", noise.iterations}, {"last_change", number(noise.last_change)}};
  json.update(noise.kind == NoiseModelKind::student ? student_json(noise) : variance_json(noise.variance));
  json["score_gain"] = number(noise.score_gain);
  json["score_gain_standard_error"] = number(noise.score_gain_standard_error);
  json["noise_standard_deviation"] = number(noise_standard_deviation(result));
  const std::vector<LightRow> rows = noise.applied ? light_rows(result) : std::vector<LightRow>{};
  json["rows_below_one_tenth"] = rows.size();
  Json lightest = Json::array();
  for (std::size_t i = 0; i < std::min(most_listed, rows.size()); ++i)
    lightest.push_back({{"row", rows[i].row}, {"weight", rows[i].weight}});
  json["lightest_rows"] = std::move(lightest);
  json["weights"] = numbers(noise.weights);
  json["test"] = fmt::format("{}.", test_statement);
  return json;
}

double noise_standard_deviation(const JobResult& result) {
  const double s2 = result.analysis.noise_variance;
  const bool student = result.noise && result.noise->model.kind == NoiseModelKind::student;
  if (!student) return std::sqrt(s2);
  const double dof = result.noise->model.dof;
  return std::sqrt(s2 * dof / (dof - 2.0));
}

}  // namespace gradflow
