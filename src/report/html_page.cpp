#include "report/html_page.h"

#include <fmt/format.h>

#include <algorithm>

#include "gradflow/model/version.h"
#include "report/html_text.h"
#include "report/verdict.h"

namespace gradflow {
namespace {

struct Section {
  std::string id, heading, body;
};

std::string figure_of(const std::vector<Figure>& figures, const std::string& name) {
  const auto found = std::ranges::find_if(figures, [&](const Figure& figure) { return figure.name == name; });
  return found == figures.end() ? "" : html_figure(*found);
}

std::vector<Section> sections_of(const RunDocument& run, const std::vector<Figure>& figures) {
  std::vector<Section> sections;
  if (run.of_training()) {
    sections.push_back({"training", "How did training go?",
                        figure_of(figures, "training-curves") + figure_of(figures, "cross-validation") +
                            figure_of(figures, "trained-gcv")});
    sections.push_back({"regime-section", "Does the theory describe it?", figure_of(figures, "regime")});
  } else if (run.of_classes()) {
    sections.push_back(
        {"calibration-section", "How honest are the probabilities?", figure_of(figures, "reliability")});
    sections.push_back({"classes", "Classes", html_classes(run)});
  } else {
    sections.push_back(
        {"stopping", "How long to train?",
         figure_of(figures, "training-time") + html_rules(run) + figure_of(figures, "likelihood-profile")});
    sections.push_back({"learning", "What is learnt?",
                        figure_of(figures, "spectrum") + figure_of(figures, "decorrelation")});
    sections.push_back({"predictions", "How good are the predictions?",
                        figure_of(figures, "predicted-observed") + figure_of(figures, "calibration") +
                            "<h3>Largest residuals</h3>\n" + html_residuals(run)});
  }
  if (const std::string choice = html_choice(run); !choice.empty())
    sections.push_back({"choice", "What was chosen?", choice});
  if (const std::string noise = html_noise(run); !noise.empty())
    sections.push_back({"noise", "What is the noise like?", noise});
  sections.push_back({"data", "What was done to the data?", html_data(run)});
  sections.push_back({"settings", "Settings", html_settings(run)});
  sections.push_back({"reproduce", "How to reproduce this", html_command(run)});
  return sections;
}

std::string title_of(const RunDocument& run) {
  std::string response = run.text("/encoding/response");
  if (response.empty() && run.of_training()) response = run.scalar("/options/target");
  if (run.of_training())
    return response.empty() ? "Training" : fmt::format("Training to predict {}", response);
  if (response.empty()) return "Is training warranted, and how long?";
  return run.of_classes() ? fmt::format("Can {} be predicted?", response)
                          : fmt::format("How long to train to predict {}?", response);
}

std::string subtitle_of(const RunDocument& run) {
  std::string text;
  const std::string table = run.has("/options/DATA") ? run.scalar("/options/DATA") : "";
  if (!table.empty()) text += table.substr(table.find_last_of('/') + 1) + ": ";
  text += fmt::format("{} rows, {} features", run.scalar("/n"), run.scalar("/d"));
  const std::string description = run.of_training()
                                      ? fmt::format("network {}, {} parameters", run.text("/network/text"),
                                                    run.scalar("/network/parameters"))
                                      : run.text("/operator/description");
  return description.empty() ? text : fmt::format("{}; {}", text, description);
}

std::string verdict_html(const RunDocument& run) {
  const ReportVerdict verdict = verdict_of(run);
  std::string html =
      fmt::format("<section class=\"verdict\" aria-label=\"Verdict\">\n<p>{}</p>\n<p>{}</p>\n</section>\n",
                  escaped(verdict.test), escaped(verdict.stop));
  const std::vector<Fact> facts = facts_of(run);
  if (facts.empty()) return html;
  html += "<dl class=\"facts\">\n";
  for (const Fact& fact : facts)
    html += fmt::format("<div><dt>{}</dt><dd class=\"value\">{}</dd><dd class=\"meaning\">{}</dd></div>\n",
                        escaped(fact.name), escaped(fact.value), escaped(fact.meaning));
  return html + "</dl>\n";
}

}  // namespace

std::string html_page(const RunDocument& run, const std::vector<Figure>& figures) {
  const std::vector<Section> sections = sections_of(run, figures);
  const std::string title = escaped(title_of(run));
  std::string body, links;
  for (const Section& section : sections) {
    links += fmt::format("<li><a href=\"#{}\">{}</a></li>\n", section.id, escaped(section.heading));
    body += fmt::format("<section aria-labelledby=\"{0}\">\n<h2 id=\"{0}\">{1}</h2>\n{2}</section>\n",
                        section.id, escaped(section.heading), section.body);
  }
  // The policy forbids every request, should a reader's extension or an editor add one.
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
      "img-src data:\">\n<meta name=\"generator\" content=\"gradflow {}\">\n<link rel=\"icon\" "
      "href=\"data:,\">\n"
      "<title>{}</title>\n<style>{}</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#main\">Skip to the "
      "verdict</a>\n<header>\n<h1>{}</h1>\n<p class=\"subtitle\">{}</p>\n</header>\n<main id=\"main\">\n{}"
      "<nav aria-label=\"Contents\"><ul>\n{}</ul></nav>\n{}</main>\n<footer>Written by gradflow {} from {}; "
      "figures "
      "by gnuplot. All numbers are those of the run.</footer>\n</body>\n</html>\n",
      version, title, html_style(), title, escaped(subtitle_of(run)), verdict_html(run), links, body, version,
      escaped(run.source().substr(run.source().find_last_of('/') + 1)));
}

}  // namespace gradflow
