#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "report/format.h"
#include "report/html_page.h"
#include "report/html_text.h"

namespace gradflow {
namespace {

std::string row_of(const std::vector<std::string>& cells, bool chosen = false) {
  std::string row = chosen ? "<tr class=\"chosen\">" : "<tr>";
  for (std::size_t i = 0; i < cells.size(); ++i)
    row += i == 0 ? fmt::format("<th scope=\"row\">{}</th>", escaped(cells[i]))
                  : fmt::format("<td>{}</td>", escaped(cells[i]));
  return row + "</tr>\n";
}

std::string head_of(const std::vector<std::string>& columns, const std::string& caption) {
  std::string head = fmt::format("<table><caption>{}</caption>\n<thead><tr>", escaped(caption));
  for (const std::string& column : columns) head += fmt::format("<th scope=\"col\">{}</th>", escaped(column));
  return head + "</tr></thead>\n<tbody>\n";
}

// A table that scrolls by itself where it is wider than the page; keys reach it.
std::string scrolling(const std::string& table, const std::string& name, bool tall = false) {
  return fmt::format("<div class=\"scroll{}\" role=\"region\" aria-label=\"{}\" tabindex=\"0\">{}</div>\n",
                     tall ? " tall" : "", escaped(name), table);
}

// Pairs of words: what, and what it was.
class WordTable {
 public:
  void add(const std::string& name, const std::string& value) {
    if (value.empty()) return;
    rows_ += fmt::format("<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n", escaped(name), escaped(value));
  }
  std::string html() const {
    return rows_.empty() ? "" : fmt::format("<table class=\"words\"><tbody>\n{}</tbody></table>\n", rows_);
  }

 private:
  std::string rows_;
};

std::string listed(const std::vector<std::string>& names, std::size_t most) {
  const auto end = names.begin() + static_cast<std::ptrdiff_t>(std::min(names.size(), most));
  std::string text = fmt::format("{}", fmt::join(names.begin(), end, ", "));
  return names.size() > most ? fmt::format("{}, ... ({} in all)", text, names.size()) : text;
}

std::vector<std::string> scalars(const RunDocument& run, const std::string& pointer) {
  std::vector<std::string> list;
  for (Index i = 0; i < run.length(pointer); ++i)
    list.push_back(run.scalar(fmt::format("{}/{}", pointer, i)));
  return list;
}

std::string counted(const RunDocument& run, const std::string& pointer, std::string_view noun) {
  const double count = run.number(pointer);
  if (!(count > 0.0)) return "";
  const bool is_whole = count < 1e15;  // a document may say anything
  return is_whole ? counted_text(static_cast<long long>(count), noun)
                  : fmt::format("{} {}s", shown_number(count), noun);
}

// A word as a shell takes it.
std::string shell_word(const std::string& word) {
  const bool plain = !word.empty() && std::ranges::all_of(word, [](unsigned char c) {
    return std::isalnum(c) ||
           std::string_view("_-./=:,+@%").find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (plain) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string html_components(const RunDocument& run) {
  if (!run.has("/variance_components/time/estimate")) return "";
  std::string html = head_of({"variance component", "REML estimate", "interval"},
                             "Variance components of the signal and the noise, whatever rule stops");
  for (const auto& [name, member_name] :
       std::vector<std::pair<std::string, std::string>>{{"tau, signal over noise", "time"},
                                                        {"noise variance", "noise_variance"},
                                                        {"signal share", "signal_share"},
                                                        {"degrees of freedom of ridge", "effective_dof"}}) {
    const std::string at = "/variance_components/" + member_name;
    html += row_of(
        {name, shown_number(run.number(at + "/estimate")), shown_interval(run.interval(at + "/interval"))});
  }
  return scrolling(html + "</tbody></table>", "Variance components");
}

}  // namespace

std::string html_table(const DataTable& table, const std::string& caption) {
  std::string html = head_of(table.columns, caption);
  for (const std::vector<std::string>& row : table.rows) html += row_of(row);
  constexpr std::size_t shown_whole = 14;  // rows; longer tables scroll by themselves
  return scrolling(html + "</tbody></table>", caption, table.rows.size() > shown_whole);
}

std::string html_figure(const Figure& figure) {
  const std::string title = escaped(figure.title);
  if (!figure.missing.empty())
    return fmt::format("<p class=\"missing\" id=\"{}\">{}: NA. Not drawn, because {}.</p>\n", figure.name,
                       title, escaped(figure.missing));
  std::string html = fmt::format(
      "<figure id=\"{}\">\n<h3>{}</h3>\n<div class=\"wide\">\n{}</div>\n<div class=\"narrow\">\n{}</div>\n"
      "<figcaption>{}</figcaption>\n",
      figure.name, title, figure.wide, figure.narrow, escaped(figure.caption));
  if (!figure.table.rows.empty())
    html += fmt::format("<details><summary>The numbers behind this figure</summary>\n{}</details>\n",
                        html_table(figure.table, figure.title));
  return html + "</figure>\n";
}

std::string html_rules(const RunDocument& run) {
  const std::vector<RuleEntry> rules = rules_of(run);
  if (rules.empty()) return "";
  const bool steps =
      std::ranges::any_of(rules, [](const RuleEntry& rule) { return std::isfinite(rule.steps); });
  std::vector<std::string> columns{
      "rule", "time", "effective dof", "expected error", "leave-one-out error", "interval"};
  if (steps) columns.insert(columns.begin() + 2, "steps");
  std::string html = head_of(columns, "Every stopping rule; the chosen one is in bold");
  std::string notes;
  for (const RuleEntry& rule : rules) {
    const bool usable_rule = rule.is_usable();
    std::vector<std::string> cells{rule.chosen ? fmt::format("{} (chosen)", rule.name) : rule.name,
                                   usable_rule ? shown_number(rule.time) : "NA",
                                   shown_number(rule.effective_dof),
                                   shown_number(rule.estimated_rmse),
                                   shown_number(rule.loo_rmse),
                                   shown_interval(rule.interval)};
    if (steps) cells.insert(cells.begin() + 2, shown_steps(rule.steps));
    html += row_of(cells, rule.chosen);
    if (rule.outcome != "converged")
      notes += fmt::format("<li>{} ({}): {}.</li>\n", escaped(rule.name), escaped(rule.outcome),
                           escaped(rule.reason));
  }
  html = scrolling(html + "</tbody></table>", "Stopping rules");
  notes = notes.empty() ? "" : fmt::format("<ul class=\"warnings\">{}</ul>\n", notes);
  return html + notes + html_components(run);
}

std::string html_residuals(const RunDocument& run) {
  const Vector observed = run.numbers("/rows/observed"), left_out = run.numbers("/rows/left_out"),
               fitted = run.numbers("/rows/fitted"), standardised = run.numbers("/rows/standardised");
  const Index n = observed.size();
  const std::vector<Index> places = run.places("/largest_residuals", std::max<Index>(n, 1));
  if (places.empty() || left_out.size() != n || fitted.size() != n || standardised.size() != n)
    return "<p class=\"missing\">NA: there is no fit to compare the rows with.</p>\n";
  const std::vector<std::string> ids = run.texts("/rows/id");
  const bool out = left_out.array().isFinite().any();
  const std::vector<std::string> columns =
      out ? std::vector<std::string>{"row", "observed", "predicted without it", "difference",
                                     "in standard deviations"}
          : std::vector<std::string>{"row", "observed", "fitted", "difference"};
  std::string html = head_of(columns, out ? "Rows that surprise the fit most, each left out of it"
                                          : "Rows farthest from their fitted value");
  for (const Index place : places) {
    const double predicted = out ? left_out(place) : fitted(place);
    const auto at = static_cast<std::size_t>(place);
    std::vector<std::string> cells{at < ids.size() ? ids[at] : std::to_string(place + 1),
                                   shown_number(observed(place)), shown_number(predicted),
                                   shown_number(observed(place) - predicted)};
    if (out) cells.push_back(fmt::format("{:+.2f}", standardised(place)));
    html += row_of(cells);
  }
  html = scrolling(html + "</tbody></table>", "Largest residuals");
  if (run.text("/residual_check/outcome") != "converged") return html;
  return html + fmt::format("<p>{} {}</p>\n", escaped(run.text("/residual_check/normality")),
                            escaped(run.text("/residual_check/dependence")));
}

std::string html_classes(const RunDocument& run) {
  std::string html = head_of({"class", "rows"}, "Classes");
  for (Index i = 0; i < run.length("/classes"); ++i)
    html += row_of(
        {run.text(fmt::format("/classes/{}/name", i)), run.scalar(fmt::format("/classes/{}/rows", i))});
  html = scrolling(html + "</tbody></table>", "Classes");
  const Index K = run.length("/confusion");
  if (K == 0) return html;
  std::vector<std::string> columns{"observed"};
  for (Index i = 0; i < K; ++i)
    columns.push_back(fmt::format("predicted {}", run.text(fmt::format("/classes/{}/name", i))));
  std::string table = head_of(columns,
                              "Confusion: rows by observed class, columns by the class predicted when "
                              "the row is left out");
  for (Index i = 0; i < K; ++i) {
    std::vector<std::string> cells{run.text(fmt::format("/classes/{}/name", i))};
    for (const std::string& count : scalars(run, fmt::format("/confusion/{}", i))) cells.push_back(count);
    table += row_of(cells);
  }
  return html + scrolling(table + "</tbody></table>", "Confusion");
}

std::string html_data(const RunDocument& run) {
  WordTable table;
  table.add("Response", run.text("/encoding/response"));
  table.add("Features", listed(run.texts("/encoding/features"), 40));
  table.add("Covariates (fixed effects)", listed(run.texts("/encoding/covariates"), 40));
  table.add("Rows read", run.scalar("/data/rows_read"));
  table.add("Rows used", run.has("/data/rows_used") ? run.scalar("/data/rows_used") : run.scalar("/n"));
  table.add("Dropped for missing values", listed(scalars(run, "/data/dropped_rows"), 20));
  table.add("Missing cells", counted(run, "/data/missing_cells", "cell"));
  table.add("Constant columns removed", listed(run.texts("/data/removed_constant"), 20));
  table.add("Copies of earlier rows", counted(run, "/data/duplicate_rows", "row"));
  table.add("Copies left out", listed(scalars(run, "/data/dropped_copies"), 20));
  table.add("Replicates merged", counted(run, "/data/merged_rows", "row"));
  if (run.has("/data/pure_error_sd"))
    table.add("Noise seen in replicates (standard deviation)",
              shown_number(run.number("/data/pure_error_sd")));
  if (run.has("/encoding/response_scale"))
    table.add("Response centred at, divided by",
              fmt::format("{}, {}", shown_number(run.number("/encoding/response_center")),
                          shown_number(run.number("/encoding/response_scale"))));
  table.add("Transform of the response", shown_transform(run));
  table.add("Training operator", run.text("/operator/description"));
  table.add("Computed by", run.has("/krylov") ? "Krylov spaces and random probes" : run.text("/plan/engine"));
  std::string html = table.html();
  if (!run.has("/data"))
    html =
        "<p class=\"missing\">What was done to the data before the fit is not recorded in this model "
        "file.</p>\n" +
        html;
  const std::vector<std::string> warnings = run.texts("/warnings");
  if (warnings.empty()) return html + "<p class=\"note\">The run gave no warnings.</p>\n";
  html += "<h3>Warnings</h3>\n<ul class=\"warnings\">\n";
  for (const std::string& warning : warnings) html += fmt::format("<li>{}</li>\n", escaped(warning));
  return html + "</ul>\n";
}

std::string html_settings(const RunDocument& run) {
  WordTable given, defaults;
  for (const std::string& name : run.names("/options")) {
    const std::string value = run.scalar(fmt::format("/options/{}", member(name)));
    if (value.empty())
      defaults.add(name, "(not given)");
    else
      given.add(name, value);
  }
  std::string html = given.html();
  if (html.empty()) return "<p class=\"missing\">NA: the settings are not recorded.</p>\n";
  if (!defaults.html().empty())
    html += fmt::format("<details><summary>Options that were not given</summary>\n{}</details>\n",
                        defaults.html());
  return html;
}

std::string html_command(const RunDocument& run) {
  const std::vector<std::string> words = run.texts("/argv");
  if (words.size() < 2)
    return "<p class=\"missing\">NA: the command that fitted this model is not recorded.</p>\n";
  std::string command = "gradflow";
  for (std::size_t i = 1; i < words.size(); ++i) command += ' ' + shell_word(words[i]);
  return fmt::format(
      "<pre tabindex=\"0\" aria-label=\"Command\"><code>{}</code></pre>\n<p class=\"note\">gradflow {}, seed "
      "{}. The "
      "same command on the same data gives the same numbers, whatever the number of threads.</p>\n",
      escaped(command), escaped(run.text("/gradflow")), escaped(run.scalar("/seed")));
}

}  // namespace gradflow
