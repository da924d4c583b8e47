// ./x bench growth [OUT.json]: time and memory of a matrix-free run at a fixed number of Krylov steps, n from
// 1k to 128k, for a network and for an infinite-width kernel whose entries are evaluated anew.
#include <cmath>

#include "bench_support.h"
#include "gradflow/base/atomic_file.h"
#include "gradflow/inference/analysis.h"
#include "gradflow/operators/jacobian_operator.h"
#include "gradflow/operators/kernel_operator.h"

namespace {

using namespace gradflow;
using bench::Json;

constexpr Index d = 20, steps = 24;

AnalysisOptions fixed_work() {
  AnalysisOptions options;
  options.engine = Engine::krylov;
  options.rule = RuleKind::reml_path;
  options.krylov.all_rules = false;
  options.krylov.max_steps = steps;
  options.krylov.time_tolerance = options.krylov.fit_tolerance = 1e-300;  // never before the limit
  options.krylov.probes = 4;
  return options;
}

Json network_run(Index n) {
  const bench::Simulated data = bench::simulate(n, d, 1, 1.0);
  Architecture architecture;
  architecture.widths = {128, 128};
  const DenseNetwork network = DenseNetwork::initialise(architecture, d, 1);
  const double sweeps = JacobianOperator::sweep_bytes(architecture, d, n, Precision::float32);
  return {{"seconds", bench::timing_of(n <= 16000 ? 3 : 1, [&] {
             const JacobianOperator H(network, data.X,
                                      {.precision = Precision::float32, .cache_bytes = sweeps});
             analyse(H, {data.y, H.output(), Matrix(n, 0), {}, {}}, fixed_work());
           })}};
}

Json kernel_run(Index n) {
  const bench::Simulated data = bench::simulate(n, d, 1, 1.0);
  return {{"seconds", bench::timing_of(n <= 8000 ? 3 : 1, [&] {
             const KernelOperator H(InfiniteArchitecture{}, data.X,
                                    {.storage = KernelStorage::none, .precision = Precision::float32});
             analyse(H, {data.y, Vector::Zero(n), Matrix(n, 0), {}, {}}, fixed_work());
           })}};
}

// Least-squares slope of log seconds on log n from `from` on.
double slope(const Json& runs, double from, const char* quantity) {
  double count = 0, x = 0, y = 0, xx = 0, xy = 0;
  for (const Json& run : runs) {
    if (run["n"].get<double>() < from) continue;
    const double a = std::log(run["n"].get<double>());
    const double b = std::log(std::string(quantity) == "seconds" ? run["seconds"]["best"].get<double>()
                                                                 : run[quantity].get<double>());
    count += 1;
    x += a;
    y += b;
    xx += a * a;
    xy += a * b;
  }
  return (xy - x * y / count) / (xx - x * x / count);
}

}  // namespace

int main(int argc, char** argv) {
  Json out;
  const auto study = [&out](const char* name, Index largest, Json (*run)(Index)) {
    fmt::print("{}: d = {}, float32, {} Krylov steps and 4 probes\n  {:>7} {:>10} {:>14} {:>10}\n", name, d,
               steps, "n", "seconds", "us per row", "peak MiB");
    for (Index n = 1000; n <= largest; n *= 2) {
      Json json = bench::in_child([n, run] { return run(n); });
      json["n"] = n;
      fmt::print("  {:>7} {:>10.3f} {:>14.2f} {:>10.1f}\n", n, json["seconds"]["best"].get<double>(),
                 1e6 * json["seconds"]["best"].get<double>() / static_cast<double>(n),
                 json["peak_bytes"].get<double>() / (1 << 20));
      out[name]["runs"].push_back(json);
    }
    out[name]["slope_from_8k"] = slope(out[name]["runs"], 8000.0, "seconds");
    fmt::print("  slope of time from 8k on: {:.3f}\n", out[name]["slope_from_8k"].get<double>());
  };
  study("network relu:128x2, matrix-free", 128000, network_run);
  study("kernel ntk:relu:2, evaluated anew", 32000, kernel_run);
  if (argc > 1) write_file_atomically(argv[1], out.dump(2) + "\n");
  return 0;
}
