#pragma once

#include <string>
#include <vector>

#include "gradflow/report/html_report.h"
#include "report/run_document.h"

namespace gradflow {

/// The whole page. Figures are placed by their names.
std::string html_page(const RunDocument& run, const std::vector<Figure>& figures);

/// The page's parts.
std::string html_style();
std::string html_table(const DataTable& table, const std::string& caption);
std::string html_figure(const Figure& figure);
std::string html_rules(const RunDocument& run);
std::string html_residuals(const RunDocument& run);
std::string html_classes(const RunDocument& run);
/// What was left to the likelihood: candidates and relevances; empty where nothing was.
std::string html_choice(const RunDocument& run);
/// The noise model; empty where none was asked for.
std::string html_noise(const RunDocument& run);
std::string html_data(const RunDocument& run);
std::string html_settings(const RunDocument& run);
std::string html_command(const RunDocument& run);

}  // namespace gradflow
