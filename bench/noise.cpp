// ./x bench noise [OUT.json [REPLICATES [ROWS]]]: noise models where the truth is known. Friedman's first
// function of five uniform features under normal noise, Student's t with 3 degrees of freedom, and a log
// variance that rises by 4 over x4, each fitted with every noise model (Student's t also
// with 4 degrees of freedom as given): error against the truth, coverage of
// intervals of new responses, log density of new responses. 50 replicates of 150 rows, 1,000 new rows each.
#include <array>
#include <cmath>
#include <map>

#include "bench_support.h"
#include "gradflow/base/atomic_file.h"
#include "gradflow/base/error.h"
#include "gradflow/data/column_table.h"
#include "gradflow/model/fitted_model.h"
#include "gradflow/model/simulate.h"

namespace {

using namespace gradflow;
using bench::Json;
using bench::Mean;

constexpr std::array noises{"normal", "t3", "variance"};
constexpr std::array models{"normal", "student", "student=4", "fitted", "columns x4"};
constexpr std::array levels{0.5, 0.8, 0.95};
constexpr Index new_rows = 1000;
constexpr double noise_sd = 2.0;

struct Sample {
  Matrix X;
  Vector f, y, sd;  // sd: of the noise of a row
};

double student3(RandomStream& random) {
  return random.normal() / std::sqrt(random.normals(3).squaredNorm() / 3.0);
}

Sample sample_of(const std::string& noise, Index n, RandomStream& random) {
  Sample sample;
  sample.X =
      0.5 *
      (1.0 + (random.normals(n, 5).array() / std::sqrt(2.0)).unaryExpr([](double z) { return std::erf(z); }));
  sample.f = evaluate(TestFunction::friedman1, sample.X);
  sample.sd = Vector::Constant(n, noise_sd);
  if (noise == "variance") sample.sd = noise_sd * (2.0 * (sample.X.col(3).array() - 0.5)).exp();
  sample.y = sample.f;
  for (Index i = 0; i < n; ++i)
    // t3 has variance 3: scaled to a standard deviation of noise_sd
    sample.y(i) += sample.sd(i) * (noise == "t3" ? student3(random) / std::sqrt(3.0) : random.normal());
  return sample;
}

NoiseOptions options_of(const std::string& model) {
  NoiseOptions options;
  if (model.starts_with("student")) options.kind = NoiseModelKind::student;
  if (model == "student=4") options.dof = 4.0;
  if (model == "fitted" || model == "columns x4") options.kind = NoiseModelKind::variance;
  options.on_fitted_mean = model == "fitted";
  if (model == "columns x4") options.columns = {"x4"};
  return options;
}

struct Score {
  double rmse = 0.0, log_density = 0.0, noisiest = 0.0;  // noisiest: coverage at 95 % of the noisiest third
  std::array<double, 3> coverage{};
  bool applied = false, usable = true;
};

double share_inside(const Predictions& predictions, const Vector& y, const std::vector<Index>& rows) {
  double inside = 0.0;
  for (const Index i : rows) inside += predictions.lower(i) <= y(i) && y(i) <= predictions.upper(i) ? 1 : 0;
  return inside / static_cast<double>(rows.size());
}

Score score_of(const Sample& train, const Sample& fresh, const std::string& model_name) {
  ColumnTable table, points;
  table.add(train.X.data(), train.X.rows(), 5, 1, train.X.rows());
  table.columns.push_back({.name = "y", .numbers = train.y.data()});
  points.add(fresh.X.data(), fresh.X.rows(), 5, 1, fresh.X.rows());
  Job job;
  job.source.columns = &table;
  job.dataset.target = std::string("y");
  job.noise = options_of(model_name);
  JobResult result = run(job);
  Score score;
  score.usable = !result.noise || result.noise->is_usable();
  score.applied = result.noise && result.noise->applied;
  FittedModel model = make_model(job, std::move(result));
  const NewRows rows = encode(model.recipe, points);
  std::vector<Index> all(static_cast<std::size_t>(new_rows)), noisiest;
  for (Index i = 0; i < new_rows; ++i) {
    all[static_cast<std::size_t>(i)] = i;
    if (fresh.X(i, 3) > 2.0 / 3.0) noisiest.push_back(i);
  }
  for (std::size_t k = 0; k < levels.size(); ++k) {
    model.level = levels[k];
    const Predictions predictions = predict(model, rows);
    score.coverage[k] = share_inside(predictions, fresh.y, all);
    if (k + 1 < levels.size()) continue;
    score.noisiest = share_inside(predictions, fresh.y, noisiest);
    score.rmse = std::sqrt((predictions.mean - fresh.f).squaredNorm() / static_cast<double>(new_rows));
    score.log_density = log_densities(model, predictions, fresh.y).mean();
  }
  return score;
}

Json report(const std::string& noise, const std::string& model, const std::vector<Score>& scores,
            const std::vector<Score>& normal) {
  Json json{{"noise", noise}, {"model", model}};
  const auto add = [&](const char* name, auto get) {
    std::vector<double> values;
    for (std::size_t r = 0; r < scores.size(); ++r) values.push_back(get(r));
    const Mean value = bench::mean_of(values);
    json[name] = {{"mean", value.mean}, {"standard_error", value.standard_error}};
    return value;
  };
  const Mean rmse = add("rmse", [&](std::size_t r) { return scores[r].rmse; });
  const Mean ratio = add("rmse_over_normal", [&](std::size_t r) { return scores[r].rmse / normal[r].rmse; });
  const Mean half = add("coverage_50", [&](std::size_t r) { return scores[r].coverage[0]; });
  const Mean most = add("coverage_80", [&](std::size_t r) { return scores[r].coverage[1]; });
  const Mean nearly = add("coverage_95", [&](std::size_t r) { return scores[r].coverage[2]; });
  const Mean third = add("coverage_95_noisiest_third", [&](std::size_t r) { return scores[r].noisiest; });
  const Mean density =
      add("log_density_gain", [&](std::size_t r) { return scores[r].log_density - normal[r].log_density; });
  const auto count = [&](auto is) { return std::count_if(scores.begin(), scores.end(), is); };
  const auto applied = count([](const Score& s) { return s.applied; });
  json["applied"] = applied;
  json["not_usable"] = count([](const Score& s) { return !s.usable; });
  fmt::print(
      "{:<9} {:<11} {:.3f} ± {:.3f}  {:.3f} ± {:.3f}  {:.3f} ± {:.3f}  {:.3f} ± {:.3f}  {:.3f} ± "
      "{:.3f}  {:.3f} ± {:.3f}  {:+.3f} ± {:.3f}  {:>4}\n",
      noise, model, rmse.mean, rmse.standard_error, ratio.mean, ratio.standard_error, half.mean,
      half.standard_error, most.mean, most.standard_error, nearly.mean, nearly.standard_error, third.mean,
      third.standard_error, density.mean, density.standard_error, applied);
  std::fflush(stdout);
  return json;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string out = argc > 1 ? argv[1] : "";
  const int replicates = argc > 2 ? std::stoi(argv[2]) : 50;
  const Index n = argc > 3 ? std::stol(argv[3]) : 150;
  if (replicates < 2) throw InputError("replicates: must be >= 2 (a standard error needs two)");
  fmt::print("{:<9} {:<11} {:<15} {:<15} {:<15} {:<15} {:<15} {:<15} {:<16} {}\n", "noise", "model", "RMSE",
             "over normal's", "50 %", "80 %", "95 %", "95 %, noisiest", "log density", "applied");
  Json all{{"replicates", replicates}, {"rows", n}, {"cells", Json::array()}};
  for (const std::string noise : noises) {
    std::map<std::string, std::vector<Score>> scores;
    for (int r = 0; r < replicates; ++r) {
      RandomStream random(static_cast<std::uint64_t>(r) + 1, fmt::format("bench noise {}", noise));
      const Sample train = sample_of(noise, n, random), fresh = sample_of(noise, new_rows, random);
      for (const std::string model : models) scores[model].push_back(score_of(train, fresh, model));
    }
    for (const std::string model : models)
      all["cells"].push_back(report(noise, model, scores[model], scores["normal"]));
  }
  if (!out.empty()) write_file_atomically(out, fmt::format("{}\n", all.dump(1)));
  return 0;
}
