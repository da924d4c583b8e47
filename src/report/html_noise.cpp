#include <fmt/format.h>

#include "report/format.h"
#include "report/html_page.h"
#include "report/html_text.h"

namespace gradflow {
namespace {

DataTable table_of(const RunDocument& run) {
  if (run.text("/noise/model") == "variance") {
    DataTable table{.columns = {"column", "coefficient", "standard error", "p"}, .rows = {}};
    for (Index i = 0; i < run.length("/noise/coefficients"); ++i) {
      const std::string at = fmt::format("/noise/coefficients/{}", i);
      table.rows.push_back({run.text(at + "/name"), shown_number(run.number(at + "/estimate")),
                            shown_number(run.number(at + "/standard_error")),
                            shown_number(run.number(at + "/p_value"))});
    }
    return table;
  }
  DataTable table{.columns = {"degrees of freedom", "log likelihood (bound)", "log density left out", ""},
                  .rows = {}};
  for (Index i = 0; i < run.length("/noise/candidates"); ++i) {
    const std::string at = fmt::format("/noise/candidates/{}", i);
    const std::string dof = run.scalar(at + "/dof");
    const bool chosen = run.scalar(at + "/dof") == run.scalar("/noise/dof");
    table.rows.push_back({dof.empty() ? "infinite (normal)" : dof, shown_number(run.number(at + "/bound")),
                          shown_number(run.number(at + "/log_score")), chosen ? "chosen" : ""});
  }
  return table;
}

}  // namespace

std::string html_noise(const RunDocument& run) {
  if (!run.has("/noise")) return "";
  const bool applied = run.scalar("/noise/applied") == "true";
  std::string html =
      fmt::format("<p>Noise model {}: {}. {}</p>\n", escaped(run.text("/noise/model")),
                  escaped(run.text("/noise/reason")),
                  applied ? escaped(run.text("/noise/test")) : "The analysis is that of normal noise.");
  if (applied)
    html += fmt::format(
        "<p>Leave-one-out log score {} above normal noise (standard error {}); {} rows have a weight below "
        "0.1.</p>\n",
        shown_number(run.number("/noise/score_gain")),
        shown_number(run.number("/noise/score_gain_standard_error")),
        escaped(run.scalar("/noise/rows_below_one_tenth")));
  const DataTable table = table_of(run);
  return table.rows.empty() ? html : html + html_table(table, "Noise");
}

}  // namespace gradflow
