// ./x bench rules [OUT.json] [REPLICATES] [SEED]: every stopping rule's error at new points over that at the
// best time along the same flow. Simulated: six test functions, three signal-to-noise ratios, three sizes,
// REPLICATES data sets each (default 50), against the noiseless function at 1,000 new points. Real: the
// shared regression sets, at most 1,000 training rows and REPLICATES splits, against the response.
#include <fmt/core.h>

#include <cstdlib>

#include "bench_support.h"
#include "gradflow/base/atomic_file.h"
#include "gradflow/model/simulate.h"
#include "stopping_study.h"

namespace {

using namespace gradflow;
using bench::Json;

constexpr Index new_points = 1000, most_training_rows = 1000;

struct Cell {
  std::string name;
  bool simulated;
  std::vector<study::SplitScore> scores;
};

study::Problem draw(TestFunction function, double signal_to_noise, Index n, std::uint64_t seed,
                    std::uint64_t replicate) {
  SimulationOptions options{.function = function,
                            .rows = n,
                            .signal_to_noise = signal_to_noise,
                            .seed = seed,
                            .replicate = 2 * replicate};
  SimulatedData train = simulate(options);
  options.rows = new_points;
  options.replicate += 1;
  SimulatedData points = simulate(options);
  return {std::move(train.X), std::move(train.y), std::move(points.X), std::move(points.f), replicate + 1};
}

std::vector<Cell> simulated_cells(std::uint64_t replicates, std::uint64_t seed) {
  std::vector<Cell> cells;
  for (const TestFunction function :
       {TestFunction::simple, TestFunction::nonlinear, TestFunction::mixed, TestFunction::friedman1,
        TestFunction::friedman2, TestFunction::friedman3})
    for (const double signal_to_noise : {1.0, 4.0, 16.0})
      for (const Index n : {100, 200, 400}) {
        Cell cell{fmt::format("{} snr {:g} n {}", to_string(function), signal_to_noise, n), true, {}};
        for (std::uint64_t r = 0; r < replicates; ++r)
          cell.scores.push_back(study::score(draw(function, signal_to_noise, n, seed, r)));
        cells.push_back(std::move(cell));
      }
  return cells;
}

std::vector<Cell> real_cells(int replicates) {
  std::vector<Cell> cells;
  std::vector<study::Case> cases = study::all_cases();
  std::erase_if(cases, [](const study::Case& c) { return c.folder == "kin8nm"; });
  for (const char* name : {"kin8nm", "naval"}) cases.push_back({name, name, 20});
  cases.push_back({"protein", "protein", 5});
  for (study::Case& study_case : cases) {
    if (!study::available(study_case.folder)) {
      fmt::print("{}: skipped, {} is absent\n", study_case.name, study::data_folder(study_case.folder));
      continue;
    }
    study_case.training_rows = most_training_rows;
    const study::RealData data = study::load(study_case.folder);
    Cell cell{study_case.name, false, {}};
    for (int split = 0; split < std::min(replicates, study_case.splits); ++split)
      cell.scores.push_back(study::score_split(data, study_case, split));
    cells.push_back(std::move(cell));
  }
  return cells;
}

study::Summary ratio(const Cell& cell, const std::string& rule) {
  return study::summarise(cell.scores, [&](const auto& s) { return s.rules.at(rule).ratio; });
}

// Each cell's mean ratio per rule, with its standard error.
Json print_cells(const std::vector<Cell>& cells, const std::vector<std::string>& rules) {
  Json out = Json::array();
  fmt::print("{:<46}{:>5}{:>11}", "mean ratio ± standard error", "sets", "oracle");
  for (const std::string& rule : rules) fmt::print("{:>17}", rule);
  fmt::print("\n");
  for (const Cell& cell : cells) {
    const double oracle = study::summarise(cell.scores, [](const auto& s) { return s.oracle_rmse; }).mean;
    fmt::print("{:<46}{:>5}{:>11.4g}", cell.name, cell.scores.size(), oracle);
    Json row{{"cell", cell.name}, {"sets", cell.scores.size()}, {"oracle_rmse", oracle}};
    for (const std::string& rule : rules) {
      const study::Summary s = ratio(cell, rule);
      const double dof =
          study::summarise(cell.scores, [&](const auto& v) { return v.rules.at(rule).dof; }).mean;
      fmt::print("  {:>7.4f} ± {:.3f}", s.mean, s.standard_error);
      row["rules"][rule] = {
          {"ratio", s.mean}, {"ratio_se", s.standard_error}, {"worst_set", s.worst}, {"dof", dof}};
    }
    fmt::print("\n");
    out.push_back(std::move(row));
  }
  return out;
}

// Over cells, each counted once: mean, the worst cell, and how many are above 1.05.
Json print_overall(const char* title, const std::vector<Cell>& cells, const std::vector<std::string>& rules) {
  Json out;
  fmt::print("\n{} ({} cells)\n{:<12}{:>19}{:>10}   {:<50}{:>10}\n", title, cells.size(), "rule", "mean",
             "worst", "cell", "> 1.05");
  for (const std::string& rule : rules) {
    double mean = 0.0, variance = 0.0;
    std::size_t worst = 0, above = 0;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const study::Summary s = ratio(cells[i], rule);
      mean += s.mean / static_cast<double>(cells.size());
      variance += s.standard_error * s.standard_error;
      above += s.mean > 1.05 ? 1 : 0;
      if (s.mean > ratio(cells[worst], rule).mean) worst = i;
    }
    const double error = std::sqrt(variance) / static_cast<double>(cells.size());
    const study::Summary at_worst = ratio(cells[worst], rule);
    fmt::print("{:<12}  {:.4f} ± {:.4f}  {:>8.4f}   {:<50}{:>10}\n", rule, mean, error, at_worst.mean,
               fmt::format("{} (± {:.3f})", cells[worst].name, at_worst.standard_error), above);
    out[rule] = {{"mean", mean},
                 {"mean_se", error},
                 {"worst", at_worst.mean},
                 {"worst_cell", cells[worst].name},
                 {"cells_above_1.05", above}};
  }
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  const int replicates = argc > 2 ? std::atoi(argv[2]) : 50;
  const std::uint64_t seed = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1;
  if (replicates < 2) {
    fmt::print(stderr, "replicates = {}: must be >= 2 (a standard error needs two)\n", replicates);
    return 2;
  }
  std::vector<Cell> simulated = simulated_cells(static_cast<std::uint64_t>(replicates), seed);
  std::vector<Cell> real = real_cells(replicates);
  std::vector<std::string> rules;
  for (const auto& [name, value] : simulated.front().scores.front().rules) rules.push_back(name);

  std::vector<Cell> all = simulated;
  all.insert(all.end(), real.begin(), real.end());
  Json out{{"replicates", replicates}, {"seed", seed}, {"cells", print_cells(all, rules)}};
  out["simulated"] = print_overall("simulated", simulated, rules);
  if (!real.empty()) out["real"] = print_overall("real", real, rules);
  out["all"] = print_overall("all", all, rules);
  if (argc > 1) write_file_atomically(argv[1], out.dump(2) + "\n");
  return 0;
}
