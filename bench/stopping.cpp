// ./x bench stopping [OUT.json]: test error of every stopping rule over the best time along the same flow.
#include <fmt/core.h>

#include "gradflow/base/atomic_file.h"
#include "stopping_study.h"

namespace {

using namespace gradflow;

using study::Summary;

nlohmann::json run_case(const study::Case& study_case) {
  const study::RealData data = study::load(study_case.folder);
  std::vector<study::SplitScore> scores;
  for (int split = 0; split < study_case.splits; ++split)
    scores.push_back(study::score_split(data, study_case, split));
  const Summary oracle = study::summarise(scores, [](const auto& s) { return s.oracle_rmse; });
  nlohmann::json out{{"case", study_case.name},
                     {"splits", study_case.splits},
                     {"n", scores.front().n},
                     {"oracle_rmse", oracle.mean}};
  fmt::print("\n{} (n = {}, {} splits; oracle RMSE {:.4g})\n", study_case.name, scores.front().n,
             study_case.splits, oracle.mean);
  fmt::print("  {:<12} {:>18} {:>12} {:>8} {:>8}\n", "rule", "RMSE / oracle", "RMSE", "dof", "worst");
  for (const auto& [name, first] : scores.front().rules) {
    const Summary ratio = study::summarise(scores, [&](const auto& s) { return s.rules.at(name).ratio; });
    const Summary rmse = study::summarise(scores, [&](const auto& s) { return s.rules.at(name).rmse; });
    const Summary dof = study::summarise(scores, [&](const auto& s) { return s.rules.at(name).dof; });
    fmt::print("  {:<12} {:>9.4f} ± {:.4f} {:>12.5g} {:>8.1f} {:>8.3f}\n", name, ratio.mean,
               ratio.standard_error, rmse.mean, dof.mean, ratio.worst);
    out["rules"][name] = {{"ratio", ratio.mean},
                          {"ratio_se", ratio.standard_error},
                          {"worst_ratio", ratio.worst},
                          {"rmse", rmse.mean},
                          {"dof", dof.mean}};
  }
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  nlohmann::json all = nlohmann::json::array();
  for (const study::Case& study_case : study::all_cases()) {
    if (!study::available(study_case.folder)) {
      fmt::print("{}: skipped, {} is absent\n", study_case.name, study::data_folder(study_case.folder));
      continue;
    }
    all.push_back(run_case(study_case));
  }
  if (argc > 1) write_file_atomically(argv[1], all.dump(2) + "\n");
  return 0;
}
