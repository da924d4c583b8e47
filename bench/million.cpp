// ./x bench million [OUT.json]: a network's run at a million rows beside one at 100,000, and an
// infinite-width run at 50,000 rows within 8 GiB.
#include <cmath>

#include "bench_support.h"
#include "gradflow/base/atomic_file.h"
#include "gradflow/inference/analysis.h"
#include "gradflow/operators/jacobian_operator.h"
#include "gradflow/operators/kernel_operator.h"

namespace {

using namespace gradflow;
using bench::Json;

AnalysisOptions options_for_float32() {
  AnalysisOptions options;
  options.engine = Engine::krylov;
  options.rule = RuleKind::reml_path;
  options.krylov.all_rules = false;
  options.loosen_for_float32();  // as the program does
  return options;
}

Json describe(const Analysis& analysis) {
  const KrylovReport& report = *analysis.krylov;
  return {{"time", analysis.rule().time},
          {"outcome", to_string(analysis.rule().outcome)},
          {"log10_p", analysis.test.log10_p_value},
          {"log10_p_standard_error", analysis.test.log10_standard_error},
          {"steps", report.steps},
          {"products", report.products},
          {"noise_sd", std::sqrt(analysis.noise_variance)}};
}

Json network_run(Index n) {
  const bench::Simulated data = bench::simulate(n, 20, 1, 1.0);
  Architecture architecture;
  architecture.widths = {128, 128};
  const DenseNetwork network = DenseNetwork::initialise(architecture, 20, 1);
  Analysis analysis;
  const double seconds = bench::seconds_of([&] {
    const double sweeps = JacobianOperator::sweep_bytes(architecture, 20, n, Precision::float32);
    const JacobianOperator H(network, data.X, {.precision = Precision::float32, .cache_bytes = sweeps});
    analysis = analyse(H, {data.y, H.output(), Matrix(n, 0), {}, {}}, options_for_float32());
    H.pullback(analysis.fit.alpha);
  });
  Json json = describe(analysis);
  json["seconds"] = seconds;
  return json;
}

Json kernel_run(Index n) {
  const bench::Simulated data = bench::simulate(n, 20, 1, 1.0);
  Analysis analysis;
  const double seconds = bench::seconds_of([&] {
    const KernelOperator H(InfiniteArchitecture{}, data.X,
                           {.storage = KernelStorage::float32, .precision = Precision::float64});
    analysis = analyse(H, {data.y, Vector::Zero(n), Matrix(n, 0), {}, {}}, options_for_float32());
  });
  Json json = describe(analysis);
  json["seconds"] = seconds;
  return json;
}

void show(const char* name, Index n, const Json& json) {
  const double seconds = json["seconds"], rows = static_cast<double>(n);
  fmt::print("  {:<28} {:>8} {:>9.1f} {:>11.2f} {:>9.2f} {:>6} {:>9} {:>11.2f} {:>9.4g}\n", name, n, seconds,
             1e6 * seconds / rows, json["peak_bytes"].get<double>() / (1 << 30), json["steps"].get<long>(),
             json["products"].get<long>(), 1e6 * seconds / rows / json["products"].get<double>(),
             json["time"].get<double>());
}

}  // namespace

int main(int argc, char** argv) {
  Json out;
  fmt::print("test + reml-flow + fit, d = 20\n  {:<28} {:>8} {:>9} {:>11} {:>9} {:>6} {:>9} {:>11} {:>9}\n",
             "operator", "n", "seconds", "us per row", "peak GiB", "steps", "products", "us/row/prod",
             "time");
  for (const Index n : {100000, 1000000}) {
    Json json = bench::in_child([n] { return network_run(n); });
    json["n"] = n;
    show("relu:128x2, float32", n, json);
    out["network"].push_back(json);
  }
  const auto per_row = [&](std::size_t i, const char* by) {
    const Json& run = out["network"][i];
    const double units = std::string(by) == "rows" ? 1.0 : run["products"].get<double>();
    return run["seconds"].get<double>() / run["n"].get<double>() / units;
  };
  out["time_per_row_ratio"] = per_row(1, "rows") / per_row(0, "rows");
  out["time_per_row_and_product_ratio"] = per_row(1, "products") / per_row(0, "products");
  fmt::print("  time per row, a million over 100,000: {:.2f} (aim 1.3); per row and product: {:.2f}\n",
             out["time_per_row_ratio"].get<double>(), out["time_per_row_and_product_ratio"].get<double>());
  Json json = bench::in_child([] { return kernel_run(50000); });
  show("ntk:relu:2, kept in float32", 50000, json);
  out["kernel"] = json;
  if (argc > 1) write_file_atomically(argv[1], out.dump(2) + "\n");
  return 0;
}
