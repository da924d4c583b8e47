// Coverage of the profile-likelihood intervals of the time and of the noise variance, under the model.
#include <cmath>
#include <cstdio>

#include "designs.h"
#include "gradflow/base/random.h"
#include "gradflow/inference/profile_intervals.h"
#include "parts.h"

namespace gradflow::calibration {
namespace {

constexpr std::array<double, 2> levels{0.8, 0.95};
constexpr double margin = 0.02;

struct Truth {
  SpectralData data;
  double time, noise_variance;
};

// Responses of the ridge model by simulate(), at the design's own rows.
Truth ridge_truth(const Design& design, double signal_to_noise, Index repetition) {
  SimulationOptions options;
  options.function = TestFunction::model;
  options.rows = design.setting().n;
  options.features = design.setting().d;
  options.noise = 0.7;
  if (signal_to_noise > 0.0)
    options.signal_to_noise = signal_to_noise;
  else
    options.tau = 0.0;
  options.seed = 20;  // the design's
  options.replicate = static_cast<std::uint64_t>(repetition);
  options.fixed_inputs = true;
  const SimulatedData data = simulate(options);
  return {design.data(design.project_responses(data.y), 0), data.tau, data.noise * data.noise};
}

// Coordinates of the flow's model, w ~ N(0, s2 exp(tM)).
Truth flow_truth(const Design& design, double reduced_time, Index repetition) {
  const double time = reduced_time / design.values()(0), noise = 0.7;
  const Vector z = RandomStream(static_cast<std::uint64_t>(repetition), "flow coordinates")
                       .normals(design.values().size());
  const Vector sd = noise * (0.5 * time * design.values().array()).exp();
  return {{design.values(), sd.cwiseProduct(z)}, time, noise * noise};
}

struct Counts {
  Index answered = 0, time = 0, noise = 0;
};

bool holds(const ProfileInterval& interval, double truth) {
  return interval.interval.lower <= truth && truth <= interval.interval.upper;
}

template <typename MakeTruth>
void add_cell(const Design& design, PathKind path, double strength, Index count, const MakeTruth& make_truth,
              Json& out) {
  std::array<std::vector<Counts>, 2> counts;
  for (auto& of_level : counts) of_level.resize(static_cast<std::size_t>(count));
  for_each_repetition(count, [&](Index r) {
    const Truth truth = make_truth(design, strength, r);
    for (std::size_t i = 0; i < levels.size(); ++i) {
      const ProfileIntervals intervals =
          profile_intervals(truth.data, Path{.kind = path}, {.level = levels[i]});
      if (std::isnan(intervals.time.interval.lower)) continue;
      counts[i][static_cast<std::size_t>(r)] = {
          1, holds(intervals.time, truth.time) ? 1 : 0,
          holds(intervals.noise_variance, truth.noise_variance) ? 1 : 0};
    }
  });
  std::string line = fmt::format("  {:<26} {:<6} {:>8} ", design.setting().name(), to_string(path), strength);
  Json entry{{"setting", design.setting().name()}, {"path", to_string(path)}, {"strength", strength}};
  const auto add = [&](const char* name, std::size_t i, Index held, Index answered) {
    const double share = static_cast<double>(held) / static_cast<double>(answered);
    const std::string word = share < levels[i] - margin ? "low" : share > levels[i] + margin ? "high" : "";
    line += fmt::format(" {:5.1f} {:<5}", 100.0 * share, word);
    entry["coverage"].push_back(
        {{"of", name}, {"level", levels[i]}, {"covered", share}, {"answered", answered}, {"verdict", word}});
  };
  for (std::size_t i = 0; i < levels.size(); ++i) {
    Counts sum;
    for (const Counts& one : counts[i]) {
      sum.answered += one.answered;
      sum.time += one.time;
      sum.noise += one.noise;
    }
    add("time", i, sum.time, sum.answered);
    add("noise variance", i, sum.noise, sum.answered);
    if (i == 0) line += " |";
  }
  fmt::print("{}\n", line);
  std::fflush(stdout);
  out["rows"].push_back(entry);
}

}  // namespace

Json report_profile_coverage(const Effort& effort) {
  const Index count = effort.of(1500);
  Json out{{"repetitions", count}, {"margin", margin}};
  fmt::print("\nCoverage in % of profile intervals under the model, {} data sets a line\n", count);
  fmt::print("  strength: ridge, variance of the function over the noise's; flow, t lambda_1\n");
  fmt::print("  {:<26} {:<6} {:>8}  {:<23} | {}\n", "", "", "", "80", "95");
  fmt::print("  {:<26} {:<6} {:>8}  {:<11} {:<11} | {:<11} {}\n", "design", "path", "strength", "time",
             "noise", "time", "noise");
  for (const Index n : {50, 200}) {
    const Design design({.n = n});
    for (const double strength : {0.0, 0.1, 0.5, 2.0, 20.0})
      add_cell(design, PathKind::ridge, strength, count, ridge_truth, out);
    for (const double reduced_time : {0.0, 0.3, 3.0, 30.0})
      add_cell(design, PathKind::flow, reduced_time, count, flow_truth, out);
  }
  return out;
}

}  // namespace gradflow::calibration
