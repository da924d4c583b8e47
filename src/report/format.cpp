#include "report/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace gradflow {
namespace {

constexpr std::size_t most_rows_listed = 10;

std::string row_list(const std::vector<Index>& rows) {
  const std::size_t listed = std::min(rows.size(), most_rows_listed);
  std::string text =
      fmt::format("{}", fmt::join(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(listed), ", "));
  return rows.size() > listed ? text + ", ..." : text;
}

}  // namespace

std::string left_out_text(const DataReport& report) {
  std::string text;
  if (!report.dropped_rows.empty())
    text += fmt::format("  {} dropped for missing values: {}\n",
                        counted_text(static_cast<long long>(report.dropped_rows.size()), "row"),
                        row_list(report.dropped_rows));
  if (report.missing_cells > 0)
    text += fmt::format("  {}\n", counted_text(report.missing_cells, "missing cell"));
  if (!report.removed_constant.empty())
    text += fmt::format("  constant columns removed: {}\n", fmt::join(report.removed_constant, ", "));
  return text;
}

std::string shown_number(double value) {
  if (std::isnan(value)) return "NA";
  if (std::isinf(value)) return value > 0.0 ? "inf" : "-inf";
  return fmt::format("{:.5g}", value == 0.0 ? 0.0 : value);
}

std::string brief_number(double value) {
  if (!std::isfinite(value)) return shown_number(value);
  if (std::abs(value) < 1000.0 || std::abs(value) >= 1e9)
    return fmt::format("{:.3g}", value == 0.0 ? 0.0 : value);
  std::string digits = fmt::format("{:.0f}", std::abs(value));
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<std::size_t>(at), 1, ',');
  return value < 0.0 ? fmt::format("-{}", digits) : digits;
}

std::string brief_p(double p_value, double log10_p_value) {
  if (std::isnan(p_value) || !(log10_p_value < 0.0) || log10_p_value < -1e7)
    return shown_p(p_value, log10_p_value);
  if (p_value >= 1e-3) return fmt::format("{:.2g}", p_value);
  constexpr std::array superscripts{"\u2070", "\u00b9", "\u00b2", "\u00b3", "\u2074",
                                    "\u2075", "\u2076", "\u2077", "\u2078", "\u2079"};
  double exponent = std::floor(log10_p_value), digits = std::pow(10.0, log10_p_value - exponent);
  if (digits >= 9.95) {
    digits = 1.0;
    exponent += 1.0;
  }
  std::string power;
  for (const char digit : fmt::format("{:.0f}", -exponent))
    power += superscripts.at(static_cast<std::size_t>(digit - '0'));
  return fmt::format("{:.1f} \u00d7 10\u207b{}", digits, power);
}

std::string shown_p(double p_value, double log10_p_value) {
  if (std::isinf(log10_p_value)) return "0";
  if (log10_p_value < -300.0) return fmt::format("10^{:.1f}", log10_p_value);
  return std::isnan(p_value) ? "NA" : fmt::format("{:.3g}", p_value);
}

std::string shown_steps(double steps) {
  if (!std::isfinite(steps)) return shown_number(steps);
  return steps < 1e7 ? fmt::format("{:.0f}", steps) : fmt::format("{:.5g}", steps);
}

std::string shown_interval(const Interval& interval) {
  if (std::isnan(interval.lower) || std::isnan(interval.upper)) return "NA";
  return fmt::format("{} to {}", shown_number(interval.lower), shown_number(interval.upper));
}

std::string counted_text(long long count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::string shown_percent(double share) { return fmt::format("{:g} %", 100.0 * share); }

std::string aligned_table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()), 0);
    for (std::size_t j = 0; j < row.size(); ++j) widths[j] = std::max(widths[j], row[j].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t j = 0; j < row.size(); ++j) {
      const bool left = j == 0 || j + 1 == widths.size();
      const std::string padding(widths[j] - row[j].size(), ' ');
      line += j == 0 ? "  " : "   ";
      line += left ? row[j] + padding : padding + row[j];
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

}  // namespace gradflow
