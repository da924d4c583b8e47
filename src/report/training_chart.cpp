#include <algorithm>
#include <cmath>

#include "report/chart.h"
#include "report/format.h"

namespace gradflow {
namespace {

struct TrainingData {
  Vector time, expected, left_out, training, dof;
  std::vector<RuleEntry> rules;
  const RuleEntry* chosen = nullptr;
  Range times;
  std::string axis;
};

TrainingData training_data(const RunDocument& run) {
  TrainingData data{.time = run.numbers("/curves/time"),
                    .expected = run.numbers("/curves/expected_rmse"),
                    .left_out = run.numbers("/curves/leave_one_out_rmse"),
                    .training = run.numbers("/curves/training_rmse"),
                    .dof = run.numbers("/curves/effective_dof"),
                    .rules = rules_of(run),
                    .chosen = nullptr,
                    .times = {},
                    .axis = time_label(run)};
  for (const RuleEntry& rule : data.rules)
    if (rule.chosen) data.chosen = &rule;
  if (data.time.size() > 0) data.times = {data.time.minCoeff(), data.time.maxCoeff()};
  return data;
}

bool same_length(const TrainingData& data) {
  const Index n = data.time.size();
  return data.expected.size() == n && data.left_out.size() == n && data.training.size() == n &&
         data.dof.size() == n;
}

// The chosen rule's interval as a shade, its time as a line.
void mark_stop(Script& script, const TrainingData& data, bool line) {
  if (data.chosen == nullptr || !data.chosen->is_usable()) return;
  const double time = data.chosen->time;
  const Interval& interval = data.chosen->interval;
  const auto on_axis = [&](double t) { return std::clamp(t, data.times.low, data.times.high); };
  if (std::isfinite(interval.lower) && !std::isnan(interval.upper))
    script.line(
        "set object 1 rectangle from first {:.9g}, graph 0 to first {:.9g}, graph 1 fc rgb '{}' fs solid "
        "0.12 "
        "noborder behind",
        on_axis(interval.lower), on_axis(interval.upper), colour::blue);
  if (line && time > 0.0 && std::isfinite(time))
    script.line(
        "set arrow 1 from first {0:.9g}, graph 0 to first {0:.9g}, graph 1 nohead lw 1.5 lc rgb '{1}' front",
        time, colour::ink);
}

void error_panel(Script& script, const TrainingData& data, const Panel& panel) {
  Extent errors;
  for (const Vector* curve : {&data.expected, &data.left_out, &data.training}) errors.add(*curve);
  script.panel(panel)
      .x_axis("", data.times, true)
      .y_axis("error (root mean square)", {std::max(0.0, errors.linear().low), errors.linear().high}, false);
  mark_stop(script, data, true);
  struct Series {
    const Vector& values;
    int column, dash;
    const char *name, *ink;
  };
  std::vector<std::string> plots;
  std::vector<LegendEntry> legend;
  for (const Series& series : {Series{data.expected, 2, 1, "expected, of a new response", colour::blue},
                               Series{data.left_out, 3, 2, "leave-one-out", colour::vermillion},
                               Series{data.training, 4, 4, "of the training rows", colour::muted}})
    if (series.values.array().isFinite().any()) {
      plots.push_back(fmt::format("$curves using 1:{} with lines lw 2.4 dt {} lc rgb '{}' notitle",
                                  series.column, series.dash, series.ink));
      legend.push_back({series.name, series.ink, series.dash, 0});
    }
  script.legend(legend);
  script.line("plot {}", fmt::join(plots, ", "));
}

void dof_panel(Script& script, const TrainingData& data, const Panel& panel) {
  Extent dof;
  dof.add(data.dof);
  script.panel(panel).x_axis("", data.times, true).y_axis("effective dof", {0.0, dof.linear().high}, false);
  mark_stop(script, data, true);
  script.line("unset key")
      .line("plot $curves using 1:5 with lines lw 2.4 dt 1 lc rgb '{}' notitle", colour::green);
}

// A row for each rule: where it stops, and its interval.
void rules_panel(Script& script, const TrainingData& data, const Panel& panel) {
  const auto count = static_cast<Index>(data.rules.size());
  Vector time(count), lower(count), upper(count), row(count);
  std::string tics;
  for (Index i = 0; i < count; ++i) {
    const RuleEntry& rule = data.rules[static_cast<std::size_t>(i)];
    const auto on_axis = [&](double t) {
      return std::isnan(t) ? t : std::clamp(t, data.times.low, data.times.high);
    };
    row(i) = static_cast<double>(count - i);
    const bool usable_rule = rule.is_usable();
    time(i) = usable_rule ? on_axis(rule.time) : std::numeric_limits<double>::quiet_NaN();
    const bool bounded =
        usable_rule && std::isfinite(rule.interval.lower) && !std::isnan(rule.interval.upper);
    lower(i) = bounded ? on_axis(rule.interval.lower) : std::numeric_limits<double>::quiet_NaN();
    upper(i) = bounded ? on_axis(rule.interval.upper) : std::numeric_limits<double>::quiet_NaN();
    tics += fmt::format("{}'{}' {}", i > 0 ? ", " : "", label(rule.name), count - i);
  }
  script.data("rules", {time, row, lower, upper})
      .panel(panel)
      .x_axis(data.axis, data.times, true)
      .y_axis("", {0.4, static_cast<double>(count) + 0.6}, false)
      .line("set ytics ({})", tics)
      .line("unset key");
  mark_stop(script, data, true);
  script.line(
      "plot $rules using 3:2:($4-$3):(0) with vectors nohead lw 2 lc rgb '{0}' notitle, $rules using 1:2 "
      "with "
      "points pt 7 ps 0.8 lc rgb '{0}' notitle",
      colour::ink);
}

std::string draw(const TrainingData& data, const Canvas& canvas) {
  Script script(canvas);
  const double left = canvas.narrow ? 0.26 : 0.135, right = 0.985;
  script.data("curves", {data.time, data.expected, data.left_out, data.training, data.dof});
  if (canvas.narrow) {
    error_panel(script, data, {left, right, 0.555, 0.875});
    dof_panel(script, data, {left, right, 0.355, 0.495});
    rules_panel(script, data, {left, right, 0.085, 0.315});
  } else {
    error_panel(script, data, {left, right, 0.50, 0.93});
    dof_panel(script, data, {left, right, 0.305, 0.465});
    rules_panel(script, data, {left, right, 0.09, 0.27});
  }
  script.line("unset multiplot");
  return script.text();
}

DataTable table_of(const TrainingData& data) {
  DataTable table{
      .columns = {"time", "expected error", "leave-one-out error", "training error", "effective dof"},
      .rows = {}};
  for (const Index i : thinned(data.time.size(), most_rows_in_table))
    table.rows.push_back({shown_number(data.time(i)), shown_number(data.expected(i)),
                          shown_number(data.left_out(i)), shown_number(data.training(i)),
                          shown_number(data.dof(i))});
  return table;
}

std::string description_of(const TrainingData& data) {
  std::string text = fmt::format("Three panels over training time from {} to {}. ",
                                 shown_number(data.times.low), shown_number(data.times.high));
  Index best = -1;
  for (Index i = 0; i < data.expected.size(); ++i)
    if (std::isfinite(data.expected(i)) && (best < 0 || data.expected(i) < data.expected(best))) best = i;
  if (best >= 0)
    text += fmt::format("The expected error of a new response is smallest, {}, at time {}. ",
                        shown_number(data.expected(best)), shown_number(data.time(best)));
  text += "Stops of the rules:";
  for (const RuleEntry& rule : data.rules)
    text += fmt::format(" {} {};", rule.name, rule.is_usable() ? shown_number(rule.time) : "NA");
  return text + " the effective degrees of freedom rise along the time.";
}

}  // namespace

Chart training_chart(const RunDocument& run) {
  Chart chart;
  chart.figure = {
      .name = "training-time",
      .title = "Error and flexibility along training time",
      .description = {},
      .caption =
          "Shaded: the interval of the chosen rule; upright line: its stop. The expected error counts "
          "what is learnt too late (signal missed) and too much (noise fitted); the error of the "
          "training rows only ever falls and is no guide. Below: how many free parameters the fit "
          "is worth, and where each rule would stop (a rule without a bar has no interval; a mark on "
          "the edge stands for a time beyond it).",
      .missing = {},
      .wide = {},
      .narrow = {},
      .table = {}};
  const TrainingData data = training_data(run);
  Extent errors;
  for (const Vector* curve : {&data.expected, &data.left_out, &data.training}) errors.add(*curve);
  if (data.time.size() < 2 || !same_length(data) || !errors.found || !(data.times.low > 0.0) ||
      !(data.times.high > data.times.low)) {
    chart.figure.missing = run.has("/curves")
                               ? "the run has no times along which the fit changes"
                               : "the run's document holds no curves (those of gradflow test, and of earlier "
                                 "versions, have none)";
    return chart;
  }
  if (is_transformed(run)) chart.figure.caption += " Errors are in units of the transformed response.";
  chart.figure.description = description_of(data);
  chart.figure.table = table_of(data);
  draw_both(chart, 620, 640, [&](const Canvas& canvas) { return draw(data, canvas); });
  return chart;
}

}  // namespace gradflow
