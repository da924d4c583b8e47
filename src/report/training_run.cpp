#include "report/training_run.h"

#include <cmath>

#include "report/format.h"

namespace gradflow {
namespace {

// One member of every look but that at the start, which a logarithmic axis does not have.
Vector looks(const RunDocument& run, const std::string& name) {
  std::vector<double> values;
  for (Index i = 0; i < run.length("/watch"); ++i)
    if (run.number(fmt::format("/watch/{}/step", i)) > 0.0)
      values.push_back(run.number(fmt::format("/watch/{}/{}", i, name)));
  return Eigen::Map<const Vector>(values.data(), static_cast<Index>(values.size()));
}

bool has(const Vector& values) { return values.size() > 0 && values.array().isFinite().any(); }

Range steps_of(const Vector& step) { return {step.minCoeff() * 0.9, step.maxCoeff() * 1.1}; }

constexpr const char* step_axis = "step (log scale)";

std::string why_missing(const RunDocument& run) {
  return run.length("/watch") > 0 ? "the training was looked at only at its start"
                                  : "the training was not watched";
}

struct Series {
  const Vector& values;
  int column;
  LegendEntry entry;
};

// Lines with dots of those series that have values, their legend above.
void plot(Script& script, const std::vector<Series>& all) {
  std::vector<std::string> plots;
  std::vector<LegendEntry> legend;
  for (const Series& series : all) {
    if (!has(series.values)) continue;
    plots.push_back(fmt::format("$d using 1:{} with linespoints pt 7 ps 0.4 lw 2.2 dt {} lc rgb '{}' notitle",
                                series.column, series.entry.dash, series.entry.ink));
    legend.push_back(series.entry);
  }
  script.legend(legend).line("plot {}", fmt::join(plots, ", "));
}

struct Panels {
  Panel above, below;
};

Panels panels_of(const Canvas& canvas) {
  if (canvas.narrow) return {{0.17, 0.985, 0.53, 0.83}, {0.17, 0.985, 0.11, 0.41}};
  return {{0.115, 0.985, 0.45, 0.92}, {0.115, 0.985, 0.13, 0.36}};
}

std::string draw_losses(const RunDocument& run, const Canvas& canvas) {
  const Vector step = looks(run, "step"), training = looks(run, "training_loss"),
               held_out = looks(run, "held_out_loss"), dof = looks(run, "effective_dof");
  const bool with_dof = has(dof);
  Extent losses, freedom;
  losses.add(training);
  losses.add(held_out);
  freedom.add(dof);
  const Panels panels = panels_of(canvas);
  Panel above = panels.above;
  if (!with_dof) above.bottom = panels.below.bottom;
  Script script(canvas);
  script.data("d", {step, training, held_out, dof})
      .panel(above)
      .x_axis(with_dof ? "" : step_axis, steps_of(step), true)
      .y_axis("loss", {std::max(0.0, losses.linear().low), losses.linear().high}, false);
  plot(script, {{training, 2, {"training rows", colour::blue, 1, 0}},
                {held_out, 3, {"rows held out", colour::vermillion, 2, 0}}});
  if (with_dof)
    script.panel(panels.below)
        .x_axis(step_axis, steps_of(step), true)
        .y_axis("effective dof", {0.0, freedom.linear().high}, false)
        .line("unset key")
        .line("plot $d using 1:4 with linespoints pt 7 ps 0.4 lw 2.2 lc rgb '{}' notitle", colour::green);
  return script.line("unset multiplot").text();
}

std::string draw_regime(const RunDocument& run, const Canvas& canvas) {
  const Vector step = looks(run, "step"), drift = looks(run, "kernel_drift"),
               distance = looks(run, "distance_from_linearised"), alignment = looks(run, "kernel_alignment");
  Extent moved, aligned;
  moved.add(drift);
  moved.add(distance);
  aligned.add(alignment);
  const Panels panels = panels_of(canvas);
  Script script(canvas);
  script.data("d", {step, drift, distance, alignment})
      .panel(panels.above)
      .x_axis("", steps_of(step), true)
      .y_axis("relative change", moved.logarithmic(), true);
  plot(script, {{drift, 2, {"of the operator (drift)", colour::blue, 1, 0}},
                {distance, 3, {"of the residual, from theory", colour::vermillion, 2, 0}}});
  script.panel(panels.below)
      .x_axis(step_axis, steps_of(step), true)
      .y_axis("alignment", {std::min(0.0, aligned.linear().low), std::max(1.05, aligned.linear().high)},
              false)
      .line("unset key");
  if (has(alignment))
    script.line("plot $d using 1:4 with linespoints pt 7 ps 0.4 lw 2.2 lc rgb '{}' notitle", colour::green);
  return script.line("unset multiplot").text();
}

// What a stop looked at to say how long.
struct StopCurve {
  std::string unit;  // flow time or steps
  double chosen = 0.0;
  Vector point{}, criterion{}, dof{};  // but for no training, which a logarithmic axis does not have
  std::string axis{}, legend{};
};

StopCurve stop_curve(const RunDocument& run, const std::string& object, const std::string& criterion) {
  StopCurve curve{.unit = run.text(object + "/unit"), .chosen = run.number(object + "/point")};
  const Vector points = run.numbers(object + "/points"), values = run.numbers(object + criterion);
  const Index later = points.size() - 1;
  if (later < 2 || values.size() != points.size()) return curve;
  curve.point = points.tail(later);
  curve.criterion = values.tail(later);
  const Vector dofs = run.numbers(object + "/generalised_dofs");
  if (dofs.size() == points.size()) curve.dof = dofs.tail(later);
  return curve;
}

std::string draw_stop(const StopCurve& curve, const Canvas& canvas) {
  Extent heights, freedom;
  heights.add(curve.criterion);
  freedom.add(curve.dof);
  const bool with_dof = has(curve.dof);
  const Panels panels = panels_of(canvas);
  Panel above = panels.above;
  if (!with_dof) above.bottom = panels.below.bottom;
  const std::string x_axis = curve.unit == "steps" ? step_axis : "flow time (log scale)";
  const Range x{curve.point.minCoeff() * 0.9, curve.point.maxCoeff() * 1.1};
  Script script(canvas);
  script.data("d", {curve.point, curve.criterion, with_dof ? curve.dof : curve.criterion})
      .panel(above)
      .x_axis(with_dof ? "" : x_axis, x, true)
      .y_axis(curve.axis, {std::max(0.0, heights.linear().low), heights.linear().high}, false);
  if (curve.chosen > 0.0)
    script.line(
        "set arrow 1 from first {0:.9g}, graph 0 to first {0:.9g}, graph 1 nohead lw 1.5 lc rgb '{1}' front",
        curve.chosen, colour::ink);
  plot(script, {{curve.criterion, 2, {curve.legend, colour::vermillion, 1, 0}}});
  if (with_dof)
    script.panel(panels.below)
        .x_axis(x_axis, x, true)
        .y_axis("dof used", {0.0, freedom.linear().high}, false)
        .line("unset key")
        .line("plot $d using 1:3 with linespoints pt 7 ps 0.4 lw 2.2 lc rgb '{}' notitle", colour::green);
  return script.line("unset multiplot").text();
}

DataTable table_of(const RunDocument& run, const std::vector<std::pair<std::string, std::string>>& members) {
  DataTable table;
  for (const auto& [name, heading] : members) table.columns.push_back(heading);
  for (const Index i : thinned(run.length("/watch"), most_rows_in_table)) {
    std::vector<std::string> cells;
    for (const auto& [name, heading] : members)
      cells.push_back(shown_number(run.number(fmt::format("/watch/{}/{}", i, name))));
    table.rows.push_back(std::move(cells));
  }
  return table;
}

double at_end(const RunDocument& run, const std::string& name) {
  const Index looks_made = run.length("/watch");
  return looks_made > 0 ? run.number(fmt::format("/watch/{}/{}", looks_made - 1, name))
                        : std::numeric_limits<double>::quiet_NaN();
}

void add(std::vector<Fact>& facts, const std::string& name, double value, const std::string& meaning) {
  if (std::isfinite(value)) facts.push_back({name, brief_number(value), meaning});
}

}  // namespace

ReportVerdict training_verdict(const RunDocument& run) {
  const double steps = run.number("/training/steps"), time = run.number("/training/time");
  const std::string outcome = run.text("/training/outcome"), reason = run.text("/training/reason");
  ReportVerdict verdict;
  const bool no_training = steps == 0.0 || outcome == "at_zero";
  if (no_training)
    verdict.test = fmt::format("The network was not trained ({}).", reason);
  else
    verdict.test = fmt::format(
        "The network was trained for {} steps{} ({}), and the loss went from {} to {}.", brief_number(steps),
        std::isfinite(time) ? fmt::format(", to flow time {}", brief_number(time)) : "", reason,
        brief_number(run.number("/training/start_loss")), brief_number(run.number("/training/loss")));
  if (run.text("/training/end") == "diverged")
    verdict.test = fmt::format("Training diverged after {} steps: {}.", brief_number(steps), reason);
  verdict.stop = run.text("/verdict/sentence");
  if (const std::string collapse = run.text("/verdict/collapse"); !collapse.empty())
    verdict.stop += " " + collapse;
  if (verdict.stop.empty())
    verdict.stop =
        "Whether the theory of a fixed operator describes it is not known: the training was not watched.";
  return verdict;
}

std::vector<Fact> training_facts(const RunDocument& run) {
  std::vector<Fact> facts;
  add(facts, "Steps", run.number("/training/steps"), "of the optimiser");
  add(facts, "Learning rate", run.number("/training/learning_rate"),
      run.scalar("/training/learning_rate_chosen") == "true" ? "chosen from the largest eigenvalue"
                                                             : "as given");
  add(facts, "Loss", run.number("/training/loss"),
      fmt::format("of the training rows (at the start: {})",
                  brief_number(run.number("/training/start_loss"))));
  add(facts, "Validation loss", run.number("/training/validation_loss"),
      run.number("/cross_validation/folds") > 0.0 ? "of rows left out, of all folds"
                                                  : "of the rows held out");
  add(facts, "Held-out loss", run.number("/training/held_out_loss"), "of rows that were only watched");
  add(facts, "Degrees of freedom used", run.number("/trained_gcv/generalised_dof"),
      fmt::format("of {}, from twins (standard error {})",
                  brief_number(run.number("/trained_gcv/residual_dof")),
                  brief_number(run.number("/trained_gcv/generalised_dof_standard_error"))));
  add(facts, "Accuracy", run.number("/training/accuracy"), "of the training rows");
  add(facts, "Validation accuracy", run.number("/training/validation_accuracy"), "of the rows held out");
  add(facts, "Spread of the classes (NC1)", at_end(run, "classes/nc1"),
      "of the features, within classes over between them; 0: each class collapsed to a point");
  add(facts, "Kernel drift", at_end(run, "kernel_drift"), "relative change of the operator by the end");
  add(facts, "Effective degrees of freedom", at_end(run, "effective_dof"),
      "of the linearised training so far");
  return facts;
}

Chart loss_chart(const RunDocument& run) {
  Chart chart;
  Figure& figure = chart.figure;
  figure.name = "training-curves";
  figure.title = "Loss and flexibility along training";
  const Vector step = looks(run, "step"), training = looks(run, "training_loss");
  if (step.size() < 2 || !has(training)) {
    figure.missing = why_missing(run);
    return chart;
  }
  figure.caption =
      "The loss of the training rows as they were trained, and of rows held out where there are some; below, "
      "how "
      "many free parameters the linearised fit is worth by then. Looks are made at steps that grow "
      "geometrically.";
  figure.description = fmt::format(
      "The training loss is {} after step {} and {} after step {}.", shown_number(training(0)),
      shown_steps(step(0)), shown_number(training(training.size() - 1)), shown_steps(step(step.size() - 1)));
  figure.table = table_of(run, {{"step", "step"},
                                {"time", "flow time"},
                                {"training_loss", "training loss"},
                                {"held_out_loss", "held-out loss"},
                                {"effective_dof", "effective dof"}});
  draw_both(chart, 480, 520, [&](const Canvas& canvas) { return draw_losses(run, canvas); });
  return chart;
}

Chart cross_validation_chart(const RunDocument& run) {
  Chart chart;
  Figure& figure = chart.figure;
  figure.name = "cross-validation";
  figure.title = "How long to train, by rows left out";
  const Vector points = run.numbers("/cross_validation/points"),
               losses = run.numbers("/cross_validation/losses");
  StopCurve curve = stop_curve(run, "/cross_validation", "/losses");
  if (curve.point.size() == 0) {
    figure.missing = "the training was not cross-validated";
    return chart;
  }
  curve.axis = "loss";
  curve.legend = "rows left out";
  figure.caption =
      "The mean loss of every row while the network was trained without its fold; the line is at the least "
      "of it, "
      "to which the network was then trained on all rows.";
  figure.description = fmt::format(
      "Without training the loss is {}; the least is {} (standard error {}) at {} {}; at the last look it is "
      "{}.",
      shown_number(losses(0)), shown_number(run.number("/cross_validation/loss")),
      shown_number(run.number("/cross_validation/standard_error")), curve.unit, shown_number(curve.chosen),
      shown_number(losses(losses.size() - 1)));
  figure.table.columns = {curve.unit, "loss of rows left out"};
  for (const Index i : thinned(points.size(), most_rows_in_table))
    figure.table.rows.push_back({shown_number(points(i)), shown_number(losses(i))});
  draw_both(chart, 360, 380, [&](const Canvas& canvas) { return draw_stop(curve, canvas); });
  return chart;
}

Chart trained_gcv_chart(const RunDocument& run) {
  Chart chart;
  Figure& figure = chart.figure;
  figure.name = "trained-gcv";
  figure.title = "How long to train, by the freedom that training uses";
  StopCurve curve = stop_curve(run, "/trained_gcv", "/gcvs");
  if (curve.point.size() == 0) {
    figure.missing = "no twins were trained";
    return chart;
  }
  curve.axis = "GCV";
  curve.legend = "generalised cross-validation";
  figure.caption =
      "Above, the squared error to expect of new rows, from that of the training rows and the degrees of "
      "freedom used so far; the line is at the least of it, to which the network was trained. Below, those "
      "degrees of freedom, from how trainings on slightly disturbed responses part from this one.";
  figure.description =
      fmt::format("The least is {} at {} {}, with {} of {} degrees of freedom used (standard error {}).",
                  shown_number(run.number("/trained_gcv/gcv")), curve.unit, shown_number(curve.chosen),
                  shown_number(run.number("/trained_gcv/generalised_dof")),
                  shown_number(run.number("/trained_gcv/residual_dof")),
                  shown_number(run.number("/trained_gcv/generalised_dof_standard_error")));
  figure.table.columns = {curve.unit, "GCV", "dof used", "standard error", "mean square of the residuals"};
  const Vector points = run.numbers("/trained_gcv/points");
  for (const Index i : thinned(points.size(), most_rows_in_table)) {
    std::vector<std::string> cells{shown_number(points(i))};
    for (const char* name : {"gcvs", "generalised_dofs", "generalised_dof_standard_errors", "mean_squares"})
      cells.push_back(shown_number(run.number(fmt::format("/trained_gcv/{}/{}", name, i))));
    figure.table.rows.push_back(std::move(cells));
  }
  draw_both(chart, 480, 520, [&](const Canvas& canvas) { return draw_stop(curve, canvas); });
  return chart;
}

Chart regime_chart(const RunDocument& run) {
  Chart chart;
  Figure& figure = chart.figure;
  figure.name = "regime";
  figure.title = "Did the network stay in the regime of the theory?";
  const Vector step = looks(run, "step"), drift = looks(run, "kernel_drift"),
               distance = looks(run, "distance_from_linearised");
  Extent moved;
  moved.add(drift);
  moved.add(distance);
  if (step.size() < 2 || !moved.positive) {
    figure.missing = why_missing(run);
    return chart;
  }
  figure.caption =
      "The theory takes the training operator as fixed. Drift: how far the operator has moved, relative to "
      "its "
      "size; and how far the residual has left the course that the theory foretold. Alignment of 1: the "
      "operator "
      "has grown without turning, which only changes the speed.";
  figure.description =
      fmt::format("Kernel drift is {} after step {} and {} at the end; alignment at the end {}.",
                  shown_number(drift(0)), shown_steps(step(0)), shown_number(drift(drift.size() - 1)),
                  shown_number(at_end(run, "kernel_alignment")));
  figure.table = table_of(run, {{"step", "step"},
                                {"kernel_drift", "kernel drift"},
                                {"distance_from_linearised", "distance from the linearised training"},
                                {"kernel_alignment", "kernel alignment"}});
  draw_both(chart, 480, 520, [&](const Canvas& canvas) { return draw_regime(run, canvas); });
  return chart;
}

}  // namespace gradflow
