// ./x bench calibration [OUT.json] [--effort F] [--rows N] [--only PART]: how often every test rejects a true
// null, and every interval holds the truth. F (1) multiplies the counts of repetitions, N (1000) is the most
// rows of real data; PART: sizes, profiles, simulated, real, simulated-chosen, real-chosen, selected,
// real-selected. A short run: --effort 0.01 --rows 150.
#include "calibration/parts.h"

#include <cstring>

#include "bench_support.h"
#include "gradflow/base/atomic_file.h"

namespace {

using namespace gradflow;
using namespace gradflow::calibration;

struct Arguments {
  std::string out, only;
  Effort effort;
};

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--effort" && i + 1 < argc)
      arguments.effort.scale = std::stod(argv[++i]);
    else if (word == "--rows" && i + 1 < argc)
      arguments.effort.rows = std::stol(argv[++i]);
    else if (word == "--only" && i + 1 < argc)
      arguments.only = argv[++i];
    else
      arguments.out = word;
  }
  return arguments;
}

Json report_all_sizes(const Effort& effort) {
  std::vector<SizeRow> rows;
  add_score_sizes(effort, rows);
  add_ratio_sizes(effort, rows);
  add_other_sizes(effort, rows);
  Json out{{"sizes", report_sizes("Rejected under a true null", rows)}};
  out["power"] = report_power(effort);
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = parse(argc, argv);
  Json all{{"effort", arguments.effort.scale}};
  const auto part = [&](const std::string& name, const std::function<Json(const Effort&)>& report) {
    if (!arguments.only.empty() && arguments.only != name) return;
    const double seconds = bench::seconds_of([&] { all[name] = report(arguments.effort); });
    all["seconds"][name] = seconds;
    fmt::print("({}: {:.0f} s)\n", name, seconds);
    std::fflush(stdout);
  };
  part("sizes", report_all_sizes);
  part("profiles", report_profile_coverage);
  for (const auto& [end, kernel] : {std::pair{"", Kernel::prespecified}, {"-chosen", Kernel::chosen}}) {
    part(fmt::format("simulated{}", end),
         [&](const Effort& e) { return report_simulated_coverage(e, kernel); });
    part(fmt::format("real{}", end), [&](const Effort& e) { return report_real_coverage(e, kernel); });
  }
  part("selected", report_selected);
  part("real-selected", report_real_selected);
  if (!arguments.out.empty()) write_file_atomically(arguments.out, all.dump(2) + "\n");
  return 0;
}
