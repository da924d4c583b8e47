#include "report/chart.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace gradflow {

void Extent::add(double value) {
  if (!std::isfinite(value)) return;
  least = found ? std::min(least, value) : value;
  most = found ? std::max(most, value) : value;
  found = true;
  if (!(value > 0.0)) return;
  least_positive = positive ? std::min(least_positive, value) : value;
  positive = true;
}

void Extent::add(const Vector& values) {
  for (const double value : values) add(value);
}

Range Extent::linear() const {
  if (!found) return {};
  const double margin = most > least ? 0.05 * (most - least) : std::max(0.5, 0.1 * std::abs(most));
  return {least - margin, most + margin};
}

Range Extent::logarithmic() const {
  if (!positive) return {0.1, 10.0};
  const double factor = std::max(1.2, std::pow(most / least_positive, 0.04));
  return {least_positive / factor, most * factor};
}

Script::Script(const Canvas& canvas) : canvas_(canvas) {
  line("set terminal svg size {},{} dynamic enhanced font 'Helvetica,{}' linewidth 1 name 'f'", canvas.width,
       canvas.height, canvas.narrow ? 12 : 13);
  line("set datafile missing 'NaN'");
  line("set border 3 lw 1 lc rgb '{}'", colour::muted);
  line("set tics nomirror out scale 0.6,0.3 textcolor rgb '{}'", colour::ink);
  line("set grid lt 1 lw 0.7 lc rgb '{}'", colour::rule);
  line("unset mxtics");
  line("unset mytics");
  line("set multiplot");
}

Script& Script::data(const std::string& name, const std::vector<Vector>& columns) {
  line("${} << EOD", name);
  for (Index i = 0; i < columns.front().size(); ++i) {
    std::string row;
    for (const Vector& column : columns)
      row += std::isfinite(column(i)) ? fmt::format("{:.6g} ", column(i)) : "NaN ";
    line("{}", row);
  }
  return line("EOD");
}

Script& Script::panel(const Panel& panel) {
  line("unset object");
  line("unset arrow");
  line("unset label");
  line("unset logscale");
  line("set lmargin at screen {:.4f}", panel.left);
  line("set rmargin at screen {:.4f}", panel.right);
  line("set bmargin at screen {:.4f}", panel.bottom);
  return line("set tmargin at screen {:.4f}", panel.top);
}

Script& Script::x_axis(const std::string& text, const Range& range, bool logarithmic) {
  if (logarithmic) line("set logscale x");
  line("set xrange [{:.9g}:{:.9g}]", range.low, range.high);
  // Decades as powers where there are many.
  const bool powers = logarithmic && (range.high > 1e5 || range.low < 1e-3);
  line("set xtics autofreq");
  line("set format x '{}'", text.empty() ? "" : powers ? "10^{%T}" : "%g");
  return line("set xlabel '{}' textcolor rgb '{}' offset 0,0.4", text, colour::ink);
}

Script& Script::y_axis(const std::string& text, const Range& range, bool logarithmic) {
  if (logarithmic) line("set logscale y");
  line("set yrange [{:.9g}:{:.9g}]", range.low, range.high);
  line("set ytics autofreq");
  line("set format y '{}'", logarithmic && (range.high > 1e5 || range.low < 1e-3) ? "10^{%T}" : "%g");
  // On a phone an upright label beside the axis costs a sixth of the width: it goes above.
  if (canvas_.narrow) {
    line("unset ylabel");
    return text.empty() ? *this
                        : line("set label 99 '{}' at graph 0.015,0.95 left front textcolor rgb '{}'", text,
                               colour::muted);
  }
  return line("set ylabel '{}' textcolor rgb '{}' offset 0.6,0", text, colour::ink);
}

Script& Script::legend(const Panel& panel, const std::vector<LegendEntry>& entries) {
  const double row = 17.0 / canvas_.height, sample = 24.0 / canvas_.width, gap = 6.0 / canvas_.width;
  const auto count = static_cast<double>(entries.size());
  line("unset key");
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const LegendEntry& entry = entries[i];
    const auto place = static_cast<double>(i);
    const double x = canvas_.narrow ? panel.left : panel.left + place * (panel.right - panel.left) / count;
    const double y = panel.top + (canvas_.narrow ? row * (count - place - 0.1) : 0.7 * row);
    if (entry.dash > 0)
      line("set arrow {} from screen {:.4f},{:.4f} to screen {:.4f},{:.4f} nohead lw 2.4 dt {} lc rgb '{}'",
           50 + i, x, y, x + sample, y, entry.dash, entry.ink);
    else
      line("set label {} '' at screen {:.4f},{:.4f} point pt {} ps 0.8 lc rgb '{}'", 70 + i, x + 0.5 * sample,
           y, entry.mark, entry.ink);
    line("set label {} '{}' at screen {:.4f},{:.4f} left textcolor rgb '{}'", 50 + i, entry.name,
         x + sample + gap, y, colour::ink);
  }
  return *this;
}

std::vector<Index> thinned(Index count, Index most) {
  std::vector<Index> places;
  const Index kept = std::min(count, most);
  for (Index i = 0; i < kept; ++i) places.push_back(kept == count ? i : i * (count - 1) / (kept - 1));
  return places;
}

std::vector<Index> thinned_by_log(Index count, Index most) {
  if (count <= most) return thinned(count, most);
  std::set<Index> places;
  for (Index i = 0; i < most; ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(most - 1);
    places.insert(static_cast<Index>(std::round(std::pow(static_cast<double>(count), share))) - 1);
  }
  return {places.begin(), places.end()};
}

Vector picked(const Vector& values, const std::vector<Index>& places) {
  if (values.size() == 0)
    return Vector::Constant(static_cast<Index>(places.size()), std::numeric_limits<double>::quiet_NaN());
  return values(places);
}

std::string label(const std::string& name) {
  std::string text;
  for (const char c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) || c == ' ' || c == '.' || c == '-') text += c;
  return text.substr(0, 40);
}

}  // namespace gradflow
