// ./x bench krylov [OUT.json]: Krylov runs on an infinite-width kernel in memory, over LAPACK's dsyevd with
// all vectors on the same matrix.
#include <lapacke.h>

#include <cmath>

#include "bench_support.h"
#include "gradflow/base/atomic_file.h"
#include "gradflow/inference/analysis.h"
#include "gradflow/operators/infinite_ntk.h"
#include "gradflow/operators/kernel_operator.h"

namespace {

using namespace gradflow;
using bench::Json;

Json analyse_with(const TrainingOperator& H, const Vector& y, bool all_rules, int repeats) {
  AnalysisOptions options;
  options.engine = Engine::krylov;
  if (!all_rules) options.rule = RuleKind::reml_path;
  options.krylov.all_rules = all_rules;
  const Observations observations{y, Vector::Zero(y.size()), Matrix(y.size(), 0), {}, {}};
  Analysis analysis;
  Json json{{"seconds", bench::timing_of(repeats, [&] { analysis = analyse(H, observations, options); })}};
  json["steps"] = analysis.krylov->steps;
  json["eigenpairs"] = analysis.krylov->eigenpairs;
  json["probes"] = analysis.krylov->probes;
  json["probe_steps"] = analysis.krylov->probe_steps;
  json["products"] = analysis.krylov->products;
  for (const auto& [stage, seconds] : analysis.seconds) json["stages"][stage] = seconds;
  return json;
}

Json at(Index n) {
  const bench::Simulated data = bench::simulate(n, 10, 3);
  const KernelOperator H(InfiniteArchitecture{}, data.X, {.storage = KernelStorage::float64});
  Json json{{"n", n}};
  json["reml_flow"] = analyse_with(H, data.y, false, 3);
  json["all_rules"] = analyse_with(H, data.y, true, 5);
  Matrix vectors = H.matrix();
  Vector values(n);
  json["dsyevd_seconds"] = bench::timing_of(n <= 4000 ? 3 : 1, [&] {
    vectors = H.matrix();
    LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'L', static_cast<int>(n), vectors.data(), static_cast<int>(n),
                   values.data());
  });
  for (const char* what : {"reml_flow", "all_rules"})
    json[what]["ratio"] =
        json[what]["seconds"]["median"].get<double>() / json["dsyevd_seconds"]["median"].get<double>();
  return json;
}

}  // namespace

int main(int argc, char** argv) {
  Json out;
  fmt::print("infinite-width ntk:relu:2, d = 10, entries in memory, float64; seconds, and over dsyevd\n");
  fmt::print("  {:>6} {:>10} {:>12} {:>18} {:>12} {:>16}\n", "n", "dsyevd", "reml-flow", "ratio (aim 0.03)",
             "all rules", "ratio (aim 0.15)");
  for (const Index n : {2000, 4000, 8000}) {
    const Json json = bench::in_child([n] { return at(n); });
    out["sizes"].push_back(json);
    if (json.contains("error")) continue;
    fmt::print("  {:>6} {:>10.2f} {:>12.3f} {:>18.3f} {:>12.3f} {:>16.3f}\n", n,
               json["dsyevd_seconds"]["median"].get<double>(),
               json["reml_flow"]["seconds"]["median"].get<double>(), json["reml_flow"]["ratio"].get<double>(),
               json["all_rules"]["seconds"]["median"].get<double>(),
               json["all_rules"]["ratio"].get<double>());
  }
  if (argc > 1) write_file_atomically(argv[1], out.dump(2) + "\n");
  return 0;
}
