// ./x bench agreement [OUT.json]: the Krylov engine's numbers against the dense engine's, at n = 2000 (or all
// rows) on every real data set, for finite and infinite width.
#include <cmath>
#include <filesystem>

#include "bench_support.h"
#include "gradflow/base/atomic_file.h"
#include "gradflow/data/dataset.h"
#include "gradflow/inference/analysis.h"
#include "gradflow/operators/make_operator.h"

namespace {

using namespace gradflow;
using bench::Json;

constexpr Index most_rows = 2000;

Dataset load(const std::string& name) {
  const Table table = read_table(std::string(GRADFLOW_SHARED_DIR) + "/data/" + name + "/data.csv");
  DatasetOptions options;
  options.target = table.names.back();
  return make_dataset(table, options);
}

std::unique_ptr<DenseOperator> operator_of(const Matrix& X, bool finite) {
  if (!finite) return make_operator(InfiniteArchitecture{}, X);
  return make_operator(DenseNetwork::initialise(parse_architecture("relu:128x2"), X.cols(), 1), X);
}

Json compare(const std::string& name, bool finite) {
  const Dataset data = load(name);
  // A fixed random choice of rows.
  std::vector<Index> rows = RandomStream(5, "agreement").permutation(data.X.rows());
  rows.resize(static_cast<std::size_t>(std::min<Index>(most_rows, data.X.rows())));
  const Matrix X = data.X(rows, Eigen::all);
  const Vector y = data.y(rows);
  const Index n = X.rows();
  const auto H = operator_of(X, finite);
  const Observations observations{y, Vector::Zero(n), Matrix(n, 0), {}, {}};
  AnalysisOptions dense, krylov;
  dense.rule = krylov.rule = RuleKind::reml_path;
  krylov.engine = Engine::krylov;
  const Analysis a = analyse(*H, observations, dense), b = analyse(*H, observations, krylov);
  const double t = a.flow.path.time;
  Json json{{"name", name}, {"operator", finite ? "relu:128x2" : "ntk:relu:2"}, {"n", n}};
  json["flow_time_relative_error"] = std::abs(b.flow.path.time / t - 1.0);
  json["bracket_contains_dense"] = b.krylov->bracket.lower <= t && t <= b.krylov->bracket.upper;
  json["bracket_relative_width"] = b.krylov->bracket.relative_width();
  json["fit_error"] = (a.fit.fitted - b.fit.fitted).norm() / y.norm();
  json["log10_p"] = a.test.log10_p_value;
  json["log10_p_error"] = std::abs(b.test.log10_p_value - a.test.log10_p_value);
  json["steps"] = b.krylov->steps;
  json["probes"] = b.krylov->probes;
  for (std::size_t i = 0; i < a.rules.size(); ++i) {
    const double difference = std::log(b.rules[i].time / a.rules[i].time);
    json["rules"].push_back({{"name", b.rules[i].name},
                             {"time", a.rules[i].time},
                             {"log_time_difference", difference},
                             {"standard_error", b.rules[i].log_time_standard_error},
                             {"outcome", to_string(b.rules[i].outcome)},
                             {"dense_outcome", to_string(a.rules[i].outcome)}});
  }
  return json;
}

std::string shown(const Json& rule) {
  if (!rule["log_time_difference"].is_number()) return "NA";
  const double difference = rule["log_time_difference"];
  const std::string error =
      rule["standard_error"].is_number() ? fmt::format("{:.4f}", rule["standard_error"].get<double>()) : "NA";
  return fmt::format("{:+.4f} ({})", difference, error);
}

}  // namespace

int main(int argc, char** argv) {
  if (!std::filesystem::exists(std::string(GRADFLOW_SHARED_DIR) + "/data")) {
    fmt::print("skipped: the real data sets are not there\n");
    return 0;
  }
  set_threads(0);
  Json out;
  fmt::print("Krylov against dense; times of rules as the difference of log times (standard error)\n");
  const std::vector<RuleKind> shown_rules{RuleKind::expected_loo, RuleKind::reml_risk, RuleKind::gcv,
                                          RuleKind::validation};
  fmt::print("  {:<10} {:<11} {:>5} {:>9} {:>9} {:>9} {:>7} {:>9} {:>9}", "data", "operator", "n",
             "flow time", "bracket", "contains", "fit", "log10 p", "error");
  for (const RuleKind rule : shown_rules) fmt::print(" {:>17}", rule_name(rule, PathKind::flow));
  fmt::print("\n");
  for (const char* name : {"yacht", "boston", "wine-red", "kin8nm", "naval", "protein"})
    for (const bool finite : {false, true}) {
      const Json json = compare(name, finite);
      fmt::print("  {:<10} {:<11} {:>5} {:>9.1e} {:>9.1e} {:>9} {:>7.0e} {:>9.1f} {:>9.1e}", name,
                 json["operator"].get<std::string>(), json["n"].get<long>(),
                 json["flow_time_relative_error"].get<double>(), json["bracket_relative_width"].get<double>(),
                 json["bracket_contains_dense"].get<bool>(), json["fit_error"].get<double>(),
                 json["log10_p"].get<double>(), json["log10_p_error"].get<double>());
      for (const RuleKind rule : shown_rules)
        fmt::print(" {:>17}", shown(json["rules"][static_cast<std::size_t>(rule)]));
      fmt::print("\n");
      out["cases"].push_back(json);
    }
  if (argc > 1) write_file_atomically(argv[1], out.dump(2) + "\n");
  return 0;
}
