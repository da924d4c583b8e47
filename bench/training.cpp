// ./x bench training [OUT.json]: a whole run at n = 100,000 in units of one full-batch gradient of the
// network.
#include "bench_support.h"
#include "gradflow/base/atomic_file.h"
#include "gradflow/inference/analysis.h"
#include "gradflow/operators/jacobian_operator.h"

namespace {

using namespace gradflow;
using bench::Json;

constexpr Index n = 100000, d = 50, new_rows = 10000;

DenseNetwork make_network() {
  Architecture architecture;
  architecture.widths = {512, 512};
  return DenseNetwork::initialise(architecture, d, 1);
}

Json gradient() {
  const bench::Simulated data = bench::simulate(n, d, 1);
  const DenseNetwork network = make_network();
  const Vector residual = -data.y;
  Json json{{"seconds", bench::timing_of(
                            5, [&] { full_batch_gradient(network, data.X, residual, Precision::float32); })}};
  json["sgemm_gflops"] = 1e-9 * bench::sgemm_rate();
  // One forward and one reverse sweep, on the operator's construction, which does nothing else of that order.
  const double flops = JacobianOperator::flops_per_apply(network.architecture(), d, n, false) -
                       JacobianOperator::flops_per_apply(network.architecture(), d, n, true);
  const Json sweep = bench::timing_of(3, [&] { JacobianOperator(network, data.X, {}); });
  json["sweep_seconds"] = sweep;
  json["sweep_gflops"] = 0.5e-9 * flops / sweep["median"].get<double>();
  return json;
}

Json whole_run(RuleKind rule, double noise) {
  const bench::Simulated data = bench::simulate(n, d, 1, noise);
  const Matrix X_new = RandomStream(2, "bench new rows").normals(new_rows, d);
  const DenseNetwork network = make_network();
  Json json;
  json["seconds"] = bench::seconds_of([&] {
    const JacobianOperator H(
        network, data.X,
        {.precision = Precision::float32,
         .cache_bytes = JacobianOperator::sweep_bytes(network.architecture(), d, n, Precision::float32)});
    AnalysisOptions options;
    options.engine = Engine::krylov;
    options.rule = rule;
    options.krylov.all_rules = false;
    options.krylov.loo_probes = 0;
    options.loosen_for_float32();  // as the program does
    const Observations observations{data.y, H.output(), Matrix(n, 0), {}, {}};
    const Analysis analysis = analyse(H, observations, options);
    const Vector prediction = network.output(X_new) + network.jvp(X_new, H.pullback(analysis.fit.alpha)) +
                              Vector::Constant(new_rows, analysis.fit.beta(0));
    const KrylovReport& report = *analysis.krylov;
    json["time"] = analysis.rule().time;
    json["log_time_standard_error"] = analysis.rule().log_time_standard_error;
    json["outcome"] = to_string(analysis.rule().outcome);
    json["log10_p"] = analysis.test.log10_p_value;
    json["log10_p_standard_error"] = analysis.test.log10_standard_error;
    json["steps"] = report.steps;
    json["eigenpairs"] = report.eigenpairs;
    json["probes"] = report.probes;
    json["probe_steps"] = report.probe_steps;
    json["products"] = report.products;
    json["decision_movement"] = report.decision_movement;
    json["bracket_width"] = report.bracket.relative_width();
    json["prediction_sd"] = std::sqrt((prediction.array() - prediction.mean()).square().mean());
  });
  return json;
}

}  // namespace

int main(int argc, char** argv) {
  fmt::print(
      "n = {}, d = {}, relu 512x2, float32; test + stop + fit + predict {} rows, only the chosen rule\n", n,
      d, new_rows);
  Json out;
  out["gradient"] = bench::in_child(gradient);
  const double gradient_seconds = out["gradient"]["seconds"]["median"];
  fmt::print(
      "  one full-batch gradient  {:.3f} s;  sweeps {:.0f} GFLOP/s, SGEMM {:.0f} GFLOP/s: ratio {:.2f} (aim "
      "0.6)\n",
      gradient_seconds, out["gradient"]["sweep_gflops"].get<double>(),
      out["gradient"]["sgemm_gflops"].get<double>(),
      out["gradient"]["sweep_gflops"].get<double>() / out["gradient"]["sgemm_gflops"].get<double>());
  fmt::print("  {:<12} {:>5} {:>9} {:>10} {:>10} {:>9} {:>7} {:>10}\n", "rule", "noise", "seconds",
             "gradients", "peak GiB", "products", "steps", "time");
  // The rules that need traces take minutes: only when asked for with a second argument.
  struct Case {
    RuleKind rule;
    double noise;
  };
  for (const auto [rule, noise] :
       {Case{RuleKind::reml_path, 2.0}, Case{RuleKind::reml_path, 1.0}, Case{RuleKind::reml_path, 0.5},
        Case{RuleKind::expected_loo, 1.0}, Case{RuleKind::reml_risk, 1.0}}) {
    if (needs_traces(rule, PathKind::flow) && argc < 3) continue;
    Json json = bench::in_child([rule = rule, noise = noise] { return whole_run(rule, noise); });
    json["rule"] = rule_name(rule, PathKind::flow);
    json["noise_sd"] = noise;
    json["gradients"] = json["seconds"].get<double>() / gradient_seconds;
    fmt::print("  {:<12} {:>5} {:>9.1f} {:>10.1f} {:>10.2f} {:>9} {:>7} {:>10.5g}\n",
               json["rule"].get<std::string>(), noise, json["seconds"].get<double>(),
               json["gradients"].get<double>(), json["peak_bytes"].get<double>() / (1 << 30),
               json["products"].get<long>(), json["steps"].get<long>(), json["time"].get<double>());
    out["runs"].push_back(json);
  }
  if (argc > 1) write_file_atomically(argv[1], out.dump(2) + "\n");
  return 0;
}
