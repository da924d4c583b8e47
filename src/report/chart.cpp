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
  panel_ = panel;
  line("unset object");
  line("unset arrow");
  line("unset label");
  line("unset logscale");
  line("set lmargin at screen {:.4f}", panel.left);
  line("set rmargin at screen {:.4f}", panel.right);
  line("set bmargin at screen {:.4f}", panel.bottom);
  return line("set tmargin at screen {:.4f}", panel.top);
}

namespace {

// The smallest of 1, 2, 5 times a power of ten that is not below `least`.
double round_step(double least) {
  const double decade = std::pow(10.0, std::floor(std::log10(least)));
  for (const double digit : {1.0, 2.0, 5.0})
    if (digit * decade >= least) return digit * decade;
  return 10.0 * decade;
}

}  // namespace

Script& Script::tics(char axis, const Range& range, bool logarithmic, bool labelled) {
  line("set {}tics autofreq{}", axis, axis == 'x' ? " offset 0,0.35" : "");
  if (!logarithmic) {
    const double room = axis == 'x' ? (panel_.right - panel_.left) * canvas_.width / 62.0
                                    : (panel_.top - panel_.bottom) * canvas_.height / 32.0;
    line("set {}tics {:.9g}", axis, round_step((range.high - range.low) / std::max(2.0, room)));
  }
  // Less than two decades: 1, 2 and 5 of each; otherwise every decade, as a power where there are many.
  if (logarithmic && range.high < 100.0 * range.low) {
    std::string list;
    for (double decade = std::pow(10.0, std::floor(std::log10(range.low))); decade <= range.high;
         decade *= 10.0)
      for (const double digit : {1.0, 2.0, 5.0})
        if (digit * decade >= range.low && digit * decade <= range.high)
          list += fmt::format("{}{:.6g}", list.empty() ? "" : ", ", digit * decade);
    if (!list.empty()) line("set {}tics ({})", axis, list);
  }
  const bool powers = logarithmic && (range.high > 1e5 || range.low < 1e-3);
  return line("set format {} '{}'", axis, !labelled ? "" : powers ? "10^{%T}" : "%g");
}

Script& Script::x_axis(const std::string& text, const Range& range, bool logarithmic) {
  if (logarithmic) line("set logscale x");
  line("set xrange [{:.9g}:{:.9g}]", range.low, range.high);
  tics('x', range, logarithmic, !text.empty());
  return line("set xlabel '{}' textcolor rgb '{}' offset 0,0.6", text, colour::ink);
}

Script& Script::y_axis(const std::string& text, const Range& range, bool logarithmic) {
  if (logarithmic) line("set logscale y");
  line("set yrange [{:.9g}:{:.9g}]", range.low, range.high);
  tics('y', range, logarithmic, true);
  if (!canvas_.narrow) return line("set ylabel '{}' textcolor rgb '{}' offset 0.6,0", text, colour::ink);
  // On a phone an upright label beside the axis costs a sixth of the width: it lies above.
  line("unset ylabel");
  if (text.empty()) return *this;
  return line("set label 99 '{}' at screen {:.4f},{:.4f} left textcolor rgb '{}'", text, panel_.left,
              panel_.top + 10.0 / canvas_.height, colour::muted);
}

Script& Script::legend(const std::vector<LegendEntry>& entries) {
  constexpr double sample = 24.0, gap = 6.0, letter = 7.2, between = 28.0, row = 17.0, above_label = 28.0;
  line("unset key");
  double x = panel_.left * canvas_.width;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const LegendEntry& entry = entries[i];
    const double rows_below = canvas_.narrow ? static_cast<double>(entries.size() - 1 - i) : 0.0;
    const double y = panel_.top + ((canvas_.narrow ? above_label : 12.0) + row * rows_below) / canvas_.height;
    const double from = x / canvas_.width, to = (x + sample) / canvas_.width;
    if (entry.dash > 0)
      line("set arrow {} from screen {:.4f},{:.4f} to screen {:.4f},{:.4f} nohead lw 2.4 dt {} lc rgb '{}'",
           50 + i, from, y, to, y, entry.dash, entry.ink);
    else
      line("set label {} '' at screen {:.4f},{:.4f} point pt {} ps 0.8 lc rgb '{}'", 70 + i,
           0.5 * (from + to), y, entry.mark, entry.ink);
    line("set label {} '{}' at screen {:.4f},{:.4f} left textcolor rgb '{}'", 50 + i, entry.name,
         to + gap / canvas_.width, y, colour::ink);
    if (!canvas_.narrow) x += sample + gap + letter * static_cast<double>(entry.name.size()) + between;
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

std::string time_label(const RunDocument& run) {
  const std::string kind = run.text("/chosen/path/kind");
  if (kind == "descent") return "full-batch steps (log scale)";
  if (kind == "ridge" || kind == "implicit") return "time {/:Italic tau} of the path (log scale)";
  return "training time {/:Italic t} (log scale)";
}

std::string label(const std::string& name) {
  std::string text;
  for (const char c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) || c == ' ' || c == '.' || c == '-') text += c;
  return text.substr(0, 40);
}

}  // namespace gradflow
