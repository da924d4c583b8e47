#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "report/format.h"
#include "report/html_page.h"
#include "report/html_text.h"

namespace gradflow {
namespace {

constexpr Index relevances_listed = 30;

DataTable candidates_of(const RunDocument& run) {
  DataTable table{.columns = {"kernel", "free", "transform", "criterion", "log density left out", ""},
                  .rows = {}};
  const double best = run.number("/choice/best");
  for (Index i = 0; i < run.length("/choice/candidates"); ++i) {
    const std::string at = fmt::format("/choice/candidates/{}", i);
    table.rows.push_back({run.text(at + "/kernel"), run.text(at + "/free"), run.text(at + "/transform"),
                          shown_number(run.number(at + "/penalised_criterion")),
                          shown_number(run.number(at + "/leave_one_out_log_density")),
                          static_cast<double>(i) == best ? "chosen" : ""});
  }
  return table;
}

// The features of one term by falling relevance; empty where it has none.
DataTable relevances_of(const RunDocument& run, Index term) {
  DataTable table{.columns = {"feature", "relevance"}, .rows = {}};
  const Vector relevance = run.numbers(fmt::format("/operator/relevances/{}", term));
  const std::vector<std::string> features = run.texts("/encoding/features");
  if (relevance.size() != static_cast<Index>(features.size())) return table;
  std::vector<Index> order(features.size());
  std::iota(order.begin(), order.end(), Index{0});
  std::ranges::stable_sort(order, [&](Index a, Index b) { return relevance(a) > relevance(b); });
  order.resize(std::min<std::size_t>(order.size(), relevances_listed));
  for (const Index i : order)
    table.rows.push_back({features[static_cast<std::size_t>(i)], shown_number(relevance(i))});
  return table;
}

}  // namespace

bool is_transformed(const RunDocument& run) {
  const std::string kind = run.text("/choice/transform/kind");
  return !kind.empty() && kind != "none";
}

std::string shown_transform(const RunDocument& run) {
  if (!is_transformed(run)) return "";
  return fmt::format("{}, lambda {}", run.text("/choice/transform/kind"),
                     shown_number(run.number("/choice/transform/lambda")));
}

std::string html_choice(const RunDocument& run) {
  if (run.length("/choice/candidates") == 0) return "";
  std::string html = fmt::format(
      "<p>Kernel and transform were chosen by the restricted likelihood of {} rows; smaller criteria are "
      "better. "
      "The test above is that of the operator as it was given: one chosen for this very response would look "
      "too "
      "good.</p>\n{}",
      escaped(run.scalar("/choice/rows")), html_table(candidates_of(run), "Candidates"));
  if (const std::string guard = run.text("/choice/guard/sentence"); !guard.empty())
    html += fmt::format("<p>{}</p>\n", escaped(guard));
  if (const double size = run.number("/choice/folds/root_mean_square"); std::isfinite(size))
    html += fmt::format(
        "<p>Chosen again without each of {} folds: the errors of the {} rows left out are {} times the "
        "standard "
        "deviations given them (root mean square), which predictions allow for.</p>\n",
        escaped(run.scalar("/choice/folds/folds")), escaped(run.scalar("/choice/folds/rows")),
        shown_number(size));
  if (const Index folds = run.length("/choice/average"); folds > 0)
    html += fmt::format(
        "<p>Predictions are the mean of this fit and others, whose kernels have parameters chosen without "
        "each "
        "of {} folds of the rows; what follows is of this fit.</p>\n",
        folds);
  for (Index term = 0; term < run.length("/operator/relevances"); ++term) {
    const DataTable relevances = relevances_of(run, term);
    if (!relevances.rows.empty())
      html += html_table(relevances, "Relevance of the features: near 0, the feature is switched off");
  }
  return html;
}

}  // namespace gradflow
