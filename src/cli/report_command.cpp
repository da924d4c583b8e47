#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "cli/commands.h"
#include "cli/output.h"
#include "gradflow/base/atomic_file.h"
#include "gradflow/base/error.h"
#include "gradflow/report/html_report.h"

namespace gradflow::cli {
namespace {

namespace fs = std::filesystem;

void refuse_folder(const std::string& folder, const std::string& why) {
  throw FileError(fmt::format("cannot write figures to '{}': {}", folder, why));
}

void write_figures(const std::string& folder, const std::vector<Figure>& figures) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) refuse_folder(folder, error.message());
  for (const Figure& figure : figures) {
    if (!figure.missing.empty()) continue;
    write_file_atomically((fs::path(folder) / (figure.name + ".svg")).string(), figure.wide);
    write_file_atomically((fs::path(folder) / (figure.name + "-narrow.svg")).string(), figure.narrow);
  }
}

}  // namespace

int report_command(Invocation& invocation) {
  const Settings& s = invocation.settings;
  require_writable(s.output, {s.model});
  std::error_code ignored;
  if (fs::exists(s.figures, ignored) && !fs::is_directory(s.figures, ignored))
    refuse_folder(s.figures, "it is not a folder");
  const ReportResult report = make_report_of_file(s.model);
  if (!s.figures.empty()) write_figures(s.figures, report.figures);
  if (s.output == "-") {
    print(report.html);
    return exit_usable;
  }
  write_file_atomically(s.output, report.html);
  if (s.quiet) return exit_usable;
  const auto count =
      std::ranges::count_if(report.figures, [](const Figure& figure) { return figure.missing.empty(); });
  print(fmt::format("Report written to {}: {} {}, {:.0f} kB.\n", s.output, count,
                    count == 1 ? "figure" : "figures", static_cast<double>(report.html.size()) / 1000.0));
  for (const Figure& figure : report.figures)
    if (!figure.missing.empty()) print(fmt::format("  {} is not drawn: {}\n", figure.name, figure.missing));
  return exit_usable;
}

}  // namespace gradflow::cli
