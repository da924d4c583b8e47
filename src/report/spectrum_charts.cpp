#include <algorithm>
#include <cmath>

#include "report/chart.h"
#include "report/format.h"

namespace gradflow {
namespace {

constexpr double decades_drawn = 10.0;

std::string why_no_directions(const RunDocument& run) {
  const std::string reason = run.text("/directions/reason");
  if (!reason.empty()) return reason;
  return run.has("/directions") ? "the operator has no eigen-directions with a positive eigenvalue"
                                : "the run's document holds no eigen-directions";
}

// Values that a logarithmic axis can show: positive, and not more than some decades below the largest.
Vector drawable(Vector values) {
  const double floor = values.size() > 0 ? values.maxCoeff() * std::pow(10.0, -decades_drawn) : 0.0;
  for (double& value : values)
    if (!(value > floor)) value = std::numeric_limits<double>::quiet_NaN();
  return values;
}

struct SpectrumData {
  Vector index, eigenvalue, signal, residual;
  double noise = std::numeric_limits<double>::quiet_NaN();
  Index total = 0;
};

SpectrumData spectrum_data(const RunDocument& run, Index most) {
  const Vector eigenvalue = run.numbers("/directions/eigenvalue"), signal = run.numbers("/directions/signal"),
               residual = run.numbers("/directions/residual");
  SpectrumData data{.index = {}, .eigenvalue = {}, .signal = {}, .residual = {}};
  data.total = eigenvalue.size();
  if (signal.size() != data.total || (residual.size() != 0 && residual.size() != data.total)) data.total = 0;
  if (data.total < 2 || !(eigenvalue.maxCoeff() > 0.0)) {
    data.total = 0;
    return data;
  }
  const std::vector<Index> places = thinned_by_log(data.total, most);
  data.index.resize(static_cast<Index>(places.size()));
  for (std::size_t i = 0; i < places.size(); ++i)
    data.index(static_cast<Index>(i)) = static_cast<double>(places[i] + 1);
  data.eigenvalue = drawable(picked(eigenvalue, places));
  data.signal = drawable(picked(signal, places));
  data.residual = picked(residual, places);
  const double floor = signal.maxCoeff() * std::pow(10.0, -decades_drawn);
  for (double& value : data.residual)
    if (!(value > floor)) value = std::numeric_limits<double>::quiet_NaN();
  data.noise = run.number("/noise_variance");
  return data;
}

std::string draw_spectrum(const RunDocument& run, const Canvas& canvas) {
  const SpectrumData data =
      spectrum_data(run, canvas.narrow ? most_points_on_phone / 2 : most_points_drawn / 3);
  Script script(canvas);
  script.data("d", {data.index, data.eigenvalue, data.signal, data.residual});
  const double left = canvas.narrow ? 0.15 : 0.115, right = 0.985;
  Extent eigenvalues, energies;
  eigenvalues.add(data.eigenvalue);
  energies.add(data.signal);
  energies.add(data.residual);
  if (data.noise > 0.0) energies.add(data.noise);
  const Range index{0.9, 1.1 * static_cast<double>(data.total)};
  script.panel(canvas.narrow ? Panel{left, right, 0.64, 0.93} : Panel{left, right, 0.62, 0.97})
      .x_axis("", index, true)
      .y_axis("eigenvalue", eigenvalues.logarithmic(), true)
      .line("unset key")
      .line("plot $d using 1:2 with linespoints pt 7 ps 0.35 lw 1.4 lc rgb '{}' notitle", colour::green);
  const Panel below = canvas.narrow ? Panel{left, right, 0.09, 0.455} : Panel{left, right, 0.115, 0.525};
  script.panel(below)
      .x_axis("eigen-direction, by falling eigenvalue (log scale)", index, true)
      .y_axis("squared size", energies.logarithmic(), true);
  std::vector<LegendEntry> legend{{"in the response", colour::blue, 0, 6}};
  std::vector<std::string> plots{
      fmt::format("$d using 1:3 with points pt 6 ps 0.6 lc rgb '{}' notitle", colour::blue)};
  if (data.residual.array().isFinite().any()) {
    legend.push_back({"left at the stop", colour::vermillion, 0, 8});
    plots.push_back(
        fmt::format("$d using 1:4 with points pt 8 ps 0.6 lc rgb '{}' notitle", colour::vermillion));
  }
  if (data.noise > 0.0) {
    legend.push_back({"noise variance", colour::ink, 2, 0});
    plots.push_back(
        fmt::format("{:.9g} with lines lw 1.6 dt 2 lc rgb '{}' notitle", data.noise, colour::ink));
  }
  return script.legend(legend).line("plot {}", fmt::join(plots, ", ")).line("unset multiplot").text();
}

DataTable spectrum_table_of(const RunDocument& run) {
  DataTable table{.columns = {"direction", "eigenvalue", "in the response", "left at the stop"}, .rows = {}};
  const Vector eigenvalue = run.numbers("/directions/eigenvalue"), signal = run.numbers("/directions/signal"),
               residual = run.numbers("/directions/residual");
  for (const Index i : thinned_by_log(eigenvalue.size(), most_rows_in_table))
    table.rows.push_back({std::to_string(i + 1), shown_number(eigenvalue(i)), shown_number(signal(i)),
                          residual.size() > 0 ? shown_number(residual(i)) : "NA"});
  return table;
}

// Points of the decorrelation scatter.
std::pair<Vector, Vector> losses_of(const RunDocument& run, Index most) {
  const Vector eigenvalue = run.numbers("/directions/eigenvalue"),
               loss = run.numbers("/directions/spectral_loss");
  if (loss.size() == 0 || loss.size() != eigenvalue.size()) return {};
  const std::vector<Index> places = thinned_by_log(loss.size(), most);
  return {drawable(picked(eigenvalue, places)), drawable(picked(loss, places))};
}

}  // namespace

Chart spectrum_chart(const RunDocument& run) {
  Chart chart;
  Figure& figure = chart.figure;
  figure.name = "spectrum";
  figure.title = "What training learns first, and what it leaves";
  figure.caption =
      "Each eigen-direction of the training operator is learnt at the speed of its eigenvalue (above). "
      "Below: how "
      "much of the response lies in each, and how much of that the fit has not taken up when it stops. "
      "Signal "
      "shows as circles far above the noise; directions on the right are left alone.";
  const SpectrumData data = spectrum_data(run, most_points_drawn / 3);
  if (data.total == 0) {
    figure.missing = why_no_directions(run);
    return chart;
  }
  if (data.total > data.index.size())
    figure.caption += fmt::format(" {} of {} directions are drawn, fewer of the later ones.",
                                  data.index.size(), data.total);
  figure.description = fmt::format(
      "{} eigenvalues, from {} down to {}. In the first direction the response has squared size {}, of which "
      "{} "
      "is left at the stop; the noise variance is {}.",
      data.total, shown_number(data.eigenvalue(0)),
      shown_number(run.number("/directions/eigenvalue/" + std::to_string(data.total - 1))),
      shown_number(data.signal(0)), shown_number(data.residual(0)), shown_number(data.noise));
  figure.table = spectrum_table_of(run);
  draw_both(chart, 560, 560, [&](const Canvas& canvas) { return draw_spectrum(run, canvas); });
  return chart;
}

Chart decorrelation_chart(const RunDocument& run) {
  Chart chart;
  Figure& figure = chart.figure;
  figure.name = "decorrelation";
  figure.title = "A check of the model: spectral losses at the likelihood's root";
  const double correlation = run.number("/spectrum/correlation_at_flow_root");
  figure.caption = fmt::format(
      "Where the likelihood of gradient flow has its root, what is left in each direction is uncorrelated "
      "with "
      "the direction's eigenvalue (correlation {}, zero up to rounding). A cloud that rises or falls with "
      "the "
      "eigenvalue says that one training time does not suit all directions.",
      shown_number(std::abs(correlation) < 1e-6 ? 0.0 : correlation));
  const auto [eigenvalue, loss] = losses_of(run, most_points_drawn);
  Extent values, losses;
  values.add(eigenvalue);
  losses.add(loss);
  if (!values.positive || !losses.positive) {
    figure.missing = run.text("/directions/reason").empty() && run.has("/directions")
                         ? "the likelihood of gradient flow has no root between time 0 and infinity"
                         : why_no_directions(run);
    return chart;
  }
  const Index total = run.length("/directions/eigenvalue");
  if (total > eigenvalue.size())
    figure.caption += fmt::format(" {} of {} directions are drawn.", eigenvalue.size(), total);
  figure.description = fmt::format("A scatter of {} spectral losses against eigenvalues; correlation {}.",
                                   total, shown_number(std::abs(correlation) < 1e-6 ? 0.0 : correlation));
  figure.table.columns = {"eigenvalue", "spectral loss"};
  const auto [x, y] = losses_of(run, most_rows_in_table);
  for (Index i = 0; i < x.size(); ++i) figure.table.rows.push_back({shown_number(x(i)), shown_number(y(i))});
  draw_both(chart, 380, 320, [&](const Canvas& canvas) {
    const auto [drawn_x, drawn_y] = losses_of(run, canvas.narrow ? most_points_on_phone : most_points_drawn);
    Script script(canvas);
    const Panel panel = canvas.narrow ? Panel{0.15, 0.985, 0.16, 0.90} : Panel{0.115, 0.985, 0.16, 0.96};
    script.data("d", {drawn_x, drawn_y})
        .panel(panel)
        .x_axis("eigenvalue (log scale)", values.logarithmic(), true)
        .y_axis("spectral loss", losses.logarithmic(), true)
        .line("unset key")
        .line("plot $d using 1:2 with points pt 6 ps 0.6 lc rgb '{}' notitle", colour::blue)
        .line("unset multiplot");
    return script.text();
  });
  return chart;
}

}  // namespace gradflow
