#include <fmt/format.h>

#include <filesystem>

#include "cli/commands.h"
#include "cli/output.h"
#include "gradflow/base/atomic_file.h"
#include "gradflow/base/error.h"
#include "gradflow/report/html_report.h"

namespace gradflow::cli {
namespace {

namespace fs = std::filesystem;

void require_folder(const std::string& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error || !fs::is_directory(folder))
    throw FileError(fmt::format("cannot write figures to '{}': {}", folder,
                                error ? error.message() : "it is not a folder"));
}

}  // namespace

int report_command(Invocation& invocation) {
  const Settings& s = invocation.settings;
  require_writable(s.output, {s.model});
  const ReportResult report = make_report_of_file(s.model);
  if (!s.figures.empty()) {
    require_folder(s.figures);
    for (const Figure& figure : report.figures) {
      if (!figure.missing.empty()) continue;
      const fs::path folder(s.figures);
      write_file_atomically((folder / (figure.name + ".svg")).string(), figure.wide);
      write_file_atomically((folder / (figure.name + "-narrow.svg")).string(), figure.narrow);
    }
  }
  if (s.output == "-") {
    print(report.html);
    return exit_usable;
  }
  write_file_atomically(s.output, report.html);
  if (s.quiet) return exit_usable;
  std::size_t count = 0;
  for (const Figure& figure : report.figures) count += figure.missing.empty() ? 1 : 0;
  print(fmt::format("Report written to {}: {} {}, {:.0f} kB.\n", s.output, count,
                    count == 1 ? "figure" : "figures", static_cast<double>(report.html.size()) / 1000.0));
  for (const Figure& figure : report.figures)
    if (!figure.missing.empty()) print(fmt::format("  {} is not drawn: {}\n", figure.name, figure.missing));
  return exit_usable;
}

}  // namespace gradflow::cli
