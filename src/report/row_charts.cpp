#include <algorithm>
#include <cmath>

#include "report/chart.h"
#include "report/format.h"

namespace gradflow {
namespace {

struct Fits {
  Vector observed, fitted, lower, upper, left_out, left_out_lower, left_out_upper;

  bool consistent() const {
    const Index n = observed.size();
    for (const Vector* column : {&fitted, &lower, &upper, &left_out, &left_out_lower, &left_out_upper})
      if (column->size() != n) return false;
    return true;
  }
  bool has_left_out() const { return left_out.array().isFinite().any(); }
  bool has_intervals() const { return lower.array().isFinite().any(); }
};

Fits fits_of(const RunDocument& run) {
  return {run.numbers("/rows/observed"),      run.numbers("/rows/fitted"),
          run.numbers("/rows/lower"),         run.numbers("/rows/upper"),
          run.numbers("/rows/left_out"),      run.numbers("/rows/left_out_lower"),
          run.numbers("/rows/left_out_upper")};
}

// One panel: observed against predicted, intervals as faint bars.
void fit_panel(Script& script, const std::string& block, const Panel& panel, const std::string& title,
               const Range& range, bool with_label, const char* ink, bool intervals) {
  script.panel(panel)
      .x_axis(fmt::format("predicted, {}", title), range, false)
      .y_axis(with_label ? "observed" : "", range, false)
      .line("unset key");
  // Bars lie along the predicted axis: an observation is inside where the diagonal crosses its bar.
  const std::string bars =
      intervals
          ? fmt::format("${} using 3:1:($4-$3):(0) with vectors nohead lw 0.6 lc rgb '#d5dee5' notitle, ",
                        block)
          : "";
  script.line(
      "plot {}x with lines lw 1.2 dt 2 lc rgb '{}' notitle, ${} using 2:1 with points pt 7 ps 0.35 lc rgb "
      "'{}' "
      "notitle",
      bars, colour::ink, block, ink);
}

std::string draw_fits(const Fits& fits, const Canvas& canvas) {
  const std::vector<Index> places =
      thinned(fits.observed.size(), canvas.narrow ? most_points_on_phone : most_points_drawn);
  Script script(canvas);
  Extent extent;
  for (const Vector* column : {&fits.observed, &fits.fitted, &fits.left_out}) extent.add(*column);
  const Range range = extent.linear();
  const auto columns = [&](const Vector& predicted, const Vector& lower, const Vector& upper) {
    const auto inside = [&](Vector ends) {  // bars end at the frame
      for (double& end : ends)
        if (std::isfinite(end)) end = std::clamp(end, range.low, range.high);
      return ends;
    };
    return std::vector<Vector>{picked(fits.observed, places), picked(predicted, places),
                               inside(picked(lower, places)), inside(picked(upper, places))};
  };
  script.data("fit", columns(fits.fitted, fits.lower, fits.upper));
  if (fits.has_left_out())
    script.data("out", columns(fits.left_out, fits.left_out_lower, fits.left_out_upper));
  const bool both = fits.has_left_out();
  const Panel first = canvas.narrow
                          ? (both ? Panel{0.15, 0.985, 0.585, 0.955} : Panel{0.15, 0.985, 0.11, 0.93})
                          : Panel{0.095, both ? 0.515 : 0.985, 0.15, 0.965};
  fit_panel(script, "fit", first, "in sample", range, true, colour::blue, fits.has_intervals());
  if (both)
    fit_panel(script, "out",
              canvas.narrow ? Panel{0.15, 0.985, 0.075, 0.445} : Panel{0.57, 0.985, 0.15, 0.965}, "left out",
              range, canvas.narrow, colour::vermillion, true);
  return script.line("unset multiplot").text();
}

struct Coverage {
  Vector nominal, observed, lower, upper;
};

Coverage coverage_of(const RunDocument& run) {
  const Index n = run.length("/coverage");
  Coverage coverage{Vector(n), Vector(n), Vector(n), Vector(n)};
  for (Index i = 0; i < n; ++i) {
    const std::string at = fmt::format("/coverage/{}", i);
    coverage.nominal(i) = run.number(at + "/nominal");
    coverage.observed(i) = run.number(at + "/inside") / run.number(at + "/rows");
    const Interval interval = run.interval(at + "/interval");
    coverage.lower(i) = interval.lower;
    coverage.upper(i) = interval.upper;
  }
  return coverage;
}

std::string rounded_percent(double share) {
  return std::isfinite(share) ? fmt::format("{:.1f} %", 100.0 * share) : "NA";
}

// Stated against observed, with intervals, on a square of shares.
std::string draw_shares(const Canvas& canvas, const std::vector<Vector>& columns, const char* x,
                        const char* y) {
  Script script(canvas);
  const Panel panel = canvas.narrow ? Panel{0.13, 0.97, 0.14, 0.915} : Panel{0.22, 0.78, 0.13, 0.97};
  script.data("c", columns)
      .panel(panel)
      .x_axis(x, {0.0, 1.0}, false)
      .y_axis(y, {0.0, 1.0}, false)
      .line("unset key")
      .line(
          "plot x with lines lw 1.2 dt 2 lc rgb '{}' notitle, $c using 1:2:3:4 with yerrorbars pt 7 ps 0.7 "
          "lw "
          "1.6 lc rgb '{}' notitle",
          colour::ink, colour::blue)
      .line("unset multiplot");
  return script.text();
}

}  // namespace

Chart fit_chart(const RunDocument& run) {
  Chart chart;
  Figure& figure = chart.figure;
  figure.name = "predicted-observed";
  figure.title = "Predicted against observed";
  const Fits fits = fits_of(run);
  const Index listed = fits.observed.size();
  if (listed < 2 || !fits.consistent() || !fits.fitted.array().isFinite().any()) {
    figure.missing = run.has("/rows") ? "the chosen rule gave no usable stop, so there is no fit"
                                      : "the run's document holds no rows";
    return chart;
  }
  figure.caption =
      "Dots on the dashed diagonal are predicted exactly. In sample, the fit has seen the row; left out, it "
      "has "
      "not, which is the honest view.";
  if (fits.has_intervals())
    figure.caption += fmt::format(
        " Bars: {} of what a new response at the row may be; it is inside where its bar crosses the "
        "diagonal.",
        fmt::format("{:g} % intervals", 100.0 * run.number("/chosen/interval/level")));
  const std::string reason = run.text("/rows/reason");
  if (!reason.empty()) figure.caption += fmt::format(" Not computed: {}.", reason);
  const double rows = run.number("/rows/of");
  if (std::min(listed, most_points_drawn) < rows)
    figure.caption += fmt::format(" {} of {} rows are drawn, evenly spaced.",
                                  std::min(listed, most_points_drawn), shown_steps(rows));
  figure.description = fmt::format("A scatter of {} rows, observed against predicted {}.", shown_steps(rows),
                                   fits.has_left_out() ? "in sample and left out" : "in sample");
  figure.table.columns = {"row", "observed", "in sample", "from", "to", "left out", "from", "to"};
  const std::vector<std::string> ids = run.texts("/rows/id");
  for (const Index i : thinned(listed, most_rows_in_table)) {
    std::vector<std::string> cells{static_cast<std::size_t>(i) < ids.size() ? ids[static_cast<std::size_t>(i)]
                                                                            : std::to_string(i + 1)};
    for (const Vector* column : {&fits.observed, &fits.fitted, &fits.lower, &fits.upper, &fits.left_out,
                                 &fits.left_out_lower, &fits.left_out_upper})
      cells.push_back(shown_number((*column)(i)));
    figure.table.rows.push_back(std::move(cells));
  }
  draw_both(chart, 400, fits.has_left_out() ? 640 : 340,
            [&](const Canvas& canvas) { return draw_fits(fits, canvas); });
  return chart;
}

Chart calibration_chart(const RunDocument& run) {
  Chart chart;
  Figure& figure = chart.figure;
  figure.name = "calibration";
  figure.title = "Are the intervals honest?";
  const Coverage coverage = coverage_of(run);
  if (coverage.nominal.size() == 0 || !coverage.nominal.allFinite() || !coverage.observed.allFinite() ||
      !coverage.lower.allFinite() || !coverage.upper.allFinite()) {
    const std::string reason = run.text("/rows/reason");
    figure.missing = reason.empty() ? "no rows were left out, so nothing can be counted" : reason;
    return chart;
  }
  figure.caption =
      "Of the intervals that claim to hold a given share of left-out responses, how many did. On the dashed "
      "line "
      "the claim is kept; dots below it: the intervals are too narrow. Bars: 95 % of the counting error.";
  figure.description = "Share of left-out responses inside their intervals, against the share claimed:";
  figure.table.columns = {"claimed", "inside", "95 % counting error"};
  for (Index i = 0; i < coverage.nominal.size(); ++i) {
    figure.description += fmt::format(" {} claimed, {} inside;", rounded_percent(coverage.nominal(i)),
                                      rounded_percent(coverage.observed(i)));
    figure.table.rows.push_back(
        {rounded_percent(coverage.nominal(i)), rounded_percent(coverage.observed(i)),
         fmt::format("{} to {}", rounded_percent(coverage.lower(i)), rounded_percent(coverage.upper(i)))});
  }
  draw_both(chart, 440, 340, [&](const Canvas& canvas) {
    return draw_shares(canvas, {coverage.nominal, coverage.observed, coverage.lower, coverage.upper},
                       "share claimed", "share inside");
  });
  return chart;
}

Chart reliability_chart(const RunDocument& run) {
  Chart chart;
  Figure& figure = chart.figure;
  figure.name = "reliability";
  figure.title = "Stated probability against outcome";
  const Index bins = run.length("/reliability/bins");
  std::vector<Vector> columns(4, Vector(bins));
  figure.table.columns = {"predicted", "came true", "95 % counting error", "rows"};
  for (Index i = 0; i < bins; ++i) {
    const std::string at = fmt::format("/reliability/bins/{}", i);
    const Interval interval = run.interval(at + "/interval");
    columns[0](i) = run.number(at + "/predicted");
    columns[1](i) = run.number(at + "/observed");
    columns[2](i) = interval.lower;
    columns[3](i) = interval.upper;
    figure.table.rows.push_back(
        {rounded_percent(columns[0](i)), rounded_percent(columns[1](i)),
         fmt::format("{} to {}", rounded_percent(interval.lower), rounded_percent(interval.upper)),
         run.scalar(at + "/count")});
  }
  if (bins == 0 || !columns[0].allFinite() || !columns[1].allFinite()) {
    figure.missing = "the run made no leave-one-out probabilities";
    return chart;
  }
  figure.caption =
      "Rows, each left out of the fit that predicts it, sorted by how sure the prediction of their class "
      "was, "
      "against how often it came true. On the dashed line a stated 80 % comes true in 80 of 100 cases; dots "
      "below it: overconfident. Bars: 95 % of the counting error.";
  figure.description = fmt::format("A reliability diagram of {} bins; expected calibration error {}.", bins,
                                   shown_number(run.number("/leave_one_out/calibration_error")));
  draw_both(chart, 440, 340, [&](const Canvas& canvas) {
    return draw_shares(canvas, columns, "probability of the predicted class", "share that came true");
  });
  return chart;
}

}  // namespace gradflow
