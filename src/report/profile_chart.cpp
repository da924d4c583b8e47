#include <cmath>

#include "report/chart.h"
#include "report/format.h"

namespace gradflow {
namespace {

constexpr double excess_drawn = 12.0;

struct Profile {
  std::string name;
  Vector time, excess;
};

std::vector<Profile> profiles_of(const RunDocument& run) {
  std::vector<Profile> profiles;
  for (Index i = 0; i < run.length("/profiles/curves"); ++i) {
    const std::string at = fmt::format("/profiles/curves/{}", i);
    Profile profile{run.text(at + "/rule"), run.numbers(at + "/time"), run.numbers(at + "/excess")};
    if (profile.time.size() > 1 && profile.time.size() == profile.excess.size())
      profiles.push_back(std::move(profile));
  }
  return profiles;
}

Extent times_of(const std::vector<Profile>& profiles) {
  Extent times;
  for (const Profile& profile : profiles)
    for (Index i = 0; i < profile.time.size(); ++i)
      if (profile.excess(i) <= excess_drawn) times.add(profile.time(i));
  return times;
}

void describe(const std::vector<Profile>& profiles, Figure& figure) {
  figure.table.columns = {"rule", "time", "twice the loss"};
  for (const Profile& profile : profiles) {
    Index best = 0;
    profile.excess.minCoeff(&best);
    figure.description +=
        fmt::format("Profile of {}: lowest near time {}. ", profile.name, shown_number(profile.time(best)));
    for (const Index i : thinned(profile.time.size(), most_rows_in_table / 4))
      figure.table.rows.push_back(
          {profile.name, shown_number(profile.time(i)), shown_number(profile.excess(i))});
  }
}

std::string draw(const std::vector<Profile>& profiles, double threshold, const std::string& axis,
                 const Canvas& canvas) {
  Script script(canvas);
  std::vector<std::string> plots;
  std::vector<LegendEntry> legend;
  for (std::size_t i = 0; i < profiles.size(); ++i) {
    const int dash = i == 0 ? 1 : 4;
    const char* ink = i == 0 ? colour::blue : colour::purple;
    script.data(fmt::format("p{}", i), {profiles[i].time, profiles[i].excess});
    plots.push_back(fmt::format("$p{} using 1:2 with lines lw 2.4 dt {} lc rgb '{}' notitle", i, dash, ink));
    legend.push_back({label(profiles[i].name), ink, dash, 0});
  }
  if (std::isfinite(threshold)) {
    plots.push_back(fmt::format("{:.9g} with lines lw 1.6 dt 2 lc rgb '{}' notitle", threshold, colour::ink));
    legend.push_back({"limit of the interval", colour::ink, 2, 0});
  }
  const Panel panel = canvas.narrow ? Panel{0.12, 0.985, 0.15, 0.77} : Panel{0.115, 0.985, 0.165, 0.91};
  return script.panel(panel)
      .x_axis(axis, times_of(profiles).logarithmic(), true)
      .y_axis("2 x loss of log-likelihood", {0.0, excess_drawn}, false)
      .legend(legend)
      .line("plot {}", fmt::join(plots, ", "))
      .line("unset multiplot")
      .text();
}

}  // namespace

Chart profile_chart(const RunDocument& run) {
  Chart chart;
  Figure& figure = chart.figure;
  figure.name = "likelihood-profile";
  figure.title = "How sharply the data point to a stopping time";
  const double threshold = run.number("/profiles/threshold");
  figure.caption = fmt::format(
      "How much less likely other stopping times are: twice the loss of log-likelihood. Times below the "
      "dashed "
      "line at {} make up the interval. A narrow valley: the data are sure; a flat one: many times do as "
      "well.",
      shown_number(threshold));
  const std::vector<Profile> profiles = profiles_of(run);
  const Extent times = times_of(profiles);
  if (!times.positive || !(times.least_positive < times.most)) {
    figure.missing = run.has("/profiles") ? "no likelihood has a minimum at a positive, finite time"
                                          : "the run's document holds no profiles";
    return chart;
  }
  describe(profiles, figure);
  draw_both(chart, 360, 340,
            [&](const Canvas& canvas) { return draw(profiles, threshold, time_label(run), canvas); });
  return chart;
}

}  // namespace gradflow
