// ./x bench training_stops [OUT.json [SEEDS [WIDTH [PART [STEPS [RATE [PROBLEM [FIRST]]]]]]]]: how near a
// trained network comes to its flow as it gets wider (PART rate), and the test error of networks trained to
// the time that each rule says (PART stops), over the best error along the same training. Both by default.
// Seeds are FIRST (1) and the next; PROBLEM "" is all.
#include <numeric>

#include "bench_support.h"
#include "gradflow/base/atomic_file.h"
#include "gradflow/model/simulate.h"
#include "gradflow/model/trained_model.h"
#include "gradflow/training/cross_validation.h"
#include "gradflow/training/following_stop.h"
#include "gradflow/training/rate_follower.h"
#include "gradflow/training/trained_gcv.h"
#include "lazy_limit.h"
#include "stopping_study.h"

namespace {

using namespace gradflow;
using bench::Json;
using bench::Mean;
using bench::mean_of;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

struct Sample {
  TrainingSet train;
  Matrix X_test;
  Vector truth;
};

Sample standardised(const Matrix& X, const Vector& y, const Matrix& X_test, const Vector& truth) {
  DatasetOptions encoding;
  encoding.copies = CopiesPolicy::all;
  Dataset train = make_dataset(X, y, encoding, "X", "y");
  const NewRows points = encode(train.recipe, X_test, "X");
  Sample sample;
  sample.train.design = Matrix::Ones(train.X.rows(), 1);
  sample.train.X = std::move(train.X);
  sample.train.Y = std::move(train.y);
  sample.X_test = points.X;
  sample.truth = (truth.array() - train.recipe.target_center) / train.recipe.target_scale;
  return sample;
}

Sample simulated(TestFunction function, Index n, std::uint64_t seed) {
  constexpr Index test_rows = 1000;
  RandomStream random(seed, "bench training stops");
  const Index d = default_features(function);
  Matrix X = random.normals(n + test_rows, d);
  if (function == TestFunction::parity)
    for (double& x : X.reshaped()) x = random.sign();
  const Vector f = evaluate(function, X);
  const Vector y = f.head(n) + default_noise(function) * random.normals(n);
  return standardised(X.topRows(n), y, X.bottomRows(test_rows), f.tail(test_rows));
}

Sample real(const std::string& folder, Index n, std::uint64_t seed) {
  const study::RealData data = study::load(folder);
  study::Case study_case;
  study_case.folder = folder;
  study_case.training_rows = n;
  study_case.copies = study::Copies::drop_from_training;
  const study::Rows rows =
      rows_of_split(data, study_case, static_cast<int>((seed - 1) % data.splits["train"].size()));
  std::vector<Index> test = rows.test;
  if (test.size() > 1000) test.resize(1000);
  return standardised(data.X(rows.train, Eigen::all), data.y(rows.train), data.X(test, Eigen::all),
                      data.y(test));
}

double rmse(const Trainer& trainer, const Matrix& X, const Vector& truth) {
  const Matrix design = Matrix::Ones(X.rows(), trainer.fixed().count());
  return std::sqrt((trainer.predict(X, design).col(0) - truth).squaredNorm() /
                   static_cast<double>(truth.size()));
}

/// The error at geometric times and at those it is told of.
class Recorder final : public Monitor {
 public:
  Recorder(const Matrix& X, const Vector& truth, std::vector<double> times)
      : X_(X), truth_(truth), times_(std::move(times)) {
    std::sort(times_.begin(), times_.end());
  }
  Due due() const override {
    return {Due::never, next_ < times_.size() ? times_[next_] : std::numeric_limits<double>::infinity()};
  }
  std::string look(const Trainer& trainer) override {
    const double error = rmse(trainer, X_, truth_);
    while (next_ < times_.size() && times_[next_] <= trainer.time() * (1.0 + 1e-9)) {
      errors_[times_[next_]] = error;
      ++next_;
    }
    return "";
  }
  void save(TensorFile&) const override {}
  void restore(const TensorFile&) override {}

  const std::map<double, double>& errors() const { return errors_; }
  double best_time() const {
    return std::min_element(errors_.begin(), errors_.end(),
                            [](const auto& a, const auto& b) { return a.second < b.second; })
        ->first;
  }

 private:
  const Matrix& X_;
  const Vector& truth_;
  std::vector<double> times_;
  std::size_t next_ = 0;
  std::map<double, double> errors_;
};

/// The share of test responses within `half` of the prediction, at a time.
class Coverage final : public Monitor {
 public:
  Coverage(const Sample& sample, double time, double half) : sample_(sample), time_(time), half_(half) {}
  Due due() const override { return {Due::never, std::isnan(share_) ? time_ : infinite}; }
  std::string look(const Trainer& trainer) override {
    if (trainer.time() >= time_ * (1.0 - 1e-9)) finish(trainer);
    return "";
  }
  double finish(const Trainer& trainer) {
    if (!std::isnan(share_)) return share_;
    const Matrix design = Matrix::Ones(sample_.X_test.rows(), trainer.fixed().count());
    const Vector error = trainer.predict(sample_.X_test, design).col(0) - sample_.truth;
    return share_ = (error.array().abs() <= half_).cast<double>().mean();
  }
  void save(TensorFile&) const override {}
  void restore(const TensorFile&) override {}

 private:
  static constexpr double infinite = std::numeric_limits<double>::infinity();
  const Sample& sample_;
  double time_, half_, share_ = nan;
};

/// A following stop that only notes where it would have ended the training.
class Shadow final : public Monitor {
 public:
  Shadow(const Trainer& trainer, const FollowOptions& options, const Sample& sample)
      : stop_(trainer, options), sample_(sample) {}
  Due due() const override { return std::isnan(error_) ? stop_.due() : Due{}; }
  std::string look(const Trainer& trainer) override {
    const bool ended = !stop_.look(trainer).empty();
    if (ended) finish(trainer);
    return "";
  }
  void finish(const Trainer& trainer) {
    if (!std::isnan(error_)) return;
    error_ = rmse(trainer, sample_.X_test, sample_.truth);
    time_ = trainer.time();
  }
  void save(TensorFile&) const override {}
  void restore(const TensorFile&) override {}
  double error() const { return error_; }
  double time() const { return time_; }
  const FollowingStop& stop() const { return stop_; }

 private:
  FollowingStop stop_;
  const Sample& sample_;
  double error_ = nan, time_ = nan;
};

std::vector<double> geometric(double low, double high, double ratio) {
  std::vector<double> times;
  for (double t = low; t < high; t *= ratio) times.push_back(t);
  times.push_back(high);
  return times;
}

std::unique_ptr<TrainableNetwork> draw(Index width, Index inputs, std::uint64_t seed) {
  Architecture architecture;
  architecture.widths = {width, width};
  return make_trainable(DenseNetwork::initialise(architecture, inputs, seed), Centring::none,
                        Precision::float32);
}

ProjectedSpectrum spectrum_at_start(const TrainableNetwork& network, const TrainingSet& set) {
  const DenseOperator H(network.kernel(set.X) / static_cast<double>(set.X.rows()));
  return project(H, FixedEffects::intercept(set.X.rows()));
}

// eta lambda_1, kept as the operator grows: short enough to follow the flow.
double rate_part = 0.4;
constexpr double longest_time = 2000.0;  // t lambda_1

TrainerOptions descent(double largest_eigenvalue) {
  TrainerOptions options;
  options.optimiser.learning_rate = rate_part / largest_eigenvalue;
  return options;
}

struct HeldOutRun {
  double time = nan, error = nan;
};

// Training on 80 %: the time with the least held-out error, and the test error there.
HeldOutRun validation(const Sample& sample, Index width, std::uint64_t seed, Index most_steps) {
  const Index n = sample.train.X.rows(), held = n / 5;
  const std::vector<Index> order = RandomStream(seed, "validation split").permutation(n);
  const std::vector<Index> out(order.begin(), order.begin() + held), in(order.begin() + held, order.end());
  TrainingSet part{sample.train.X(in, Eigen::all), sample.train.Y(in, Eigen::all),
                   sample.train.design(in, Eigen::all)};
  const auto network = draw(width, part.X.cols(), seed);
  const double largest = spectrum_at_start(*network, part).values(0);
  Trainer trainer(*network, part, descent(largest));
  const double eta = trainer.options().optimiser.learning_rate;
  const double most = longest_time * eta / rate_part;
  const Matrix X_held = sample.train.X(out, Eigen::all);
  const Vector y_held = sample.train.Y.col(0)(out);
  const std::vector<double> times = geometric(eta, most, 1.06);
  RateFollower rate(trainer, seed);
  Recorder held_out(X_held, y_held, times), test(sample.X_test, sample.truth, times);
  run_training(trainer, {.max_steps = most_steps, .stop_time = most, .monitors = {&rate, &held_out, &test}});
  const double time = held_out.best_time();
  const auto found = test.errors().find(time);
  return {time, found == test.errors().end() ? nan : found->second};
}

constexpr const char* cross_validated = "cross-validation, 5 folds";
constexpr const char* used_freedom = "follow gdf";
constexpr const char* no_refit = "validation, no refit";

struct StopScores {
  double oracle = nan;
  double coverage = nan;  // of the 90 % interval from the rows left out; of real data only (f has no noise)
  std::map<std::string, double> errors, times;
  double drift = nan, steps = nan;
  double expected = nan;  // root of the GCV of follow gdf over the error there; f has no noise, y has
};

struct CrossStop {
  double time, half;  // infinite where the loss was falling still; of the 90 % interval
};

TurnOptions turns_of(const TrainerOptions& options, Index most_steps) {
  return {.trainer = options, .follows_rate = true, .max_steps = most_steps};
}

CrossStop cross_validated_stop(TrainableNetwork& network, const Sample& sample, const TrainerOptions& options,
                               Index most_steps) {
  const CrossValidation cross = cross_validate(network, sample.train, {turns_of(options, most_steps)});
  Recipe same_units;
  same_units.target_scale = 1.0;
  const LeftOutErrors errors =
      left_out_errors(same_units, sample.train.Y.col(0), cross.left_out.col(0), cross.folds);
  return {cross.still_falling() ? std::numeric_limits<double>::infinity() : cross.point(),
          errors.quantile(0.9)};
}

struct TwinStop {
  double time, expected;  // infinite where GCV was falling still; root of the GCV there
};

TwinStop twin_stop(TrainableNetwork& network, const Sample& sample, const TrainerOptions& options,
                   std::uint64_t seed, Index most_steps) {
  TrainedGcvOptions twins{turns_of(options, most_steps)};
  twins.trainer.seed = seed;
  const TrainedGcv used = trained_gcv(network, sample.train, twins);
  return {used.still_falling() ? std::numeric_limits<double>::infinity() : used.point(),
          std::sqrt(used.at_best(used.gcv))};
}

StopScores score(const Sample& sample, Index width, std::uint64_t seed, Index most_steps) {
  StopScores scores;
  const HeldOutRun held_out = validation(sample, width, seed, most_steps);
  const auto network = draw(width, sample.train.X.cols(), seed);
  const ProjectedSpectrum M = spectrum_at_start(*network, sample.train);
  const Matrix kernel_before = network->kernel(sample.train.X);
  Trainer trainer(*network, sample.train, descent(M.values(0)));
  const double eta = trainer.options().optimiser.learning_rate;
  const double most = longest_time * eta / rate_part;
  const CrossStop cross = cross_validated_stop(*network, sample, trainer.options(), most_steps);
  const TwinStop twins = twin_stop(*network, sample, trainer.options(), seed, most_steps);
  const SpectralData data{M.values, M.coordinates(trainer.residual()), Vector(), M.trace};
  const double risk = risk_time(data, fit_reml(data, Path{.kind = PathKind::ridge}), StoppingOptions{});
  const double flow = flow_time(data), gcv = gcv_minimiser(data, StoppingOptions{});
  const std::map<std::string, double> fixed{
      {"one-shot reml-risk", std::min(risk, most)}, {"one-shot reml-flow", std::min(flow, most)},
      {"one-shot gcv", std::min(gcv, most)},        {cross_validated, std::min(cross.time, most)},
      {used_freedom, std::min(twins.time, most)},   {"validation, refit", std::min(held_out.time, most)}};
  std::vector<double> times = geometric(eta, most, 1.06);
  times.push_back(0.0);
  for (const auto& [name, time] : fixed) times.push_back(time);
  RateFollower rate(trainer, seed);
  Recorder test(sample.X_test, sample.truth, times);
  Shadow follow_risk(trainer, {}, sample);
  Shadow follow_flow(trainer, {.kind = FollowKind::flow}, sample);
  Shadow follow_gcv(trainer, {.kind = FollowKind::gcv}, sample);
  Coverage coverage(sample, fixed.at(cross_validated), cross.half);
  const TrainingRun run =
      run_training(trainer, {.max_steps = most_steps,
                             .stop_time = most,
                             .monitors = {&rate, &test, &follow_risk, &follow_flow, &follow_gcv, &coverage}});
  scores.coverage = coverage.finish(trainer);
  for (Shadow* shadow : {&follow_risk, &follow_flow, &follow_gcv}) shadow->finish(trainer);
  for (const auto& [name, time] : fixed) {
    const auto found = test.errors().find(time);
    // What the steps do not reach is stopped where they end.
    scores.errors[name] =
        found == test.errors().end() ? rmse(trainer, sample.X_test, sample.truth) : found->second;
    scores.times[name] = std::min(time, trainer.time());
  }
  const std::pair<const char*, const Shadow*> shadows[] = {
      {"follow risk", &follow_risk}, {"follow flow", &follow_flow}, {"follow gcv", &follow_gcv}};
  for (const auto& [name, shadow] : shadows) {
    scores.errors[name] = shadow->error();
    scores.times[name] = shadow->time();
  }
  scores.expected = twins.expected / scores.errors.at(used_freedom);
  scores.errors[no_refit] = held_out.error;
  scores.times[no_refit] = held_out.time;
  scores.errors["longest"] = rmse(trainer, sample.X_test, sample.truth);
  scores.times["longest"] = trainer.time();
  scores.times["oracle"] = test.best_time();
  scores.oracle = test.errors().at(test.best_time());
  for (const auto& [name, error] : scores.errors)
    if (name != no_refit) scores.oracle = std::min(scores.oracle, error);
  scores.drift = (network->kernel(sample.train.X) - kernel_before).norm() / kernel_before.norm();
  scores.steps = static_cast<double>(run.steps);
  for (auto& [name, time] : scores.times) time *= M.values(0);
  return scores;
}

Json stops_of(const std::string& name, const std::vector<StopScores>& all) {
  Json json{{"problem", name}};
  const auto mean = [&](auto get) { return mean_of(all, get); };
  const Mean oracle = mean([](const auto& s) { return s.oracle; });
  json["oracle_rmse"] = oracle.mean;
  json["oracle_rmse_se"] = oracle.standard_error;
  json["oracle_time_lambda1"] = mean([](const auto& s) { return s.times.at("oracle"); }).mean;
  json["coverage_90"] = mean([](const auto& s) { return s.coverage; }).mean;
  json["drift"] = mean([](const auto& s) { return s.drift; }).mean;
  const Mean expected = mean([](const auto& s) { return s.expected; });
  json["expected_error_ratio"] = expected.mean;
  json["expected_error_ratio_se"] = expected.standard_error;
  fmt::print(
      "\n{} (oracle RMSE {:.4f} ± {:.4f} sd of y, at t lambda_1 = {:.3g}; kernel drift at the end {:.2f}, "
      "{:.0f} steps)\n",
      name, oracle.mean, oracle.standard_error, json["oracle_time_lambda1"].get<double>(),
      json["drift"].get<double>(), mean([](const auto& s) { return s.steps; }).mean);
  for (const auto& entry : all.front().errors) {
    const std::string& rule = entry.first;
    const Mean ratio = mean([&](const auto& s) { return s.errors.at(rule) / s.oracle; });
    const Mean time = mean([&](const auto& s) { return std::log10(1e-12 + s.times.at(rule)); });
    fmt::print("  {:<32} {:>8.4f} ± {:.4f}   t lambda_1 {:>9.3g}\n", rule, ratio.mean, ratio.standard_error,
               std::pow(10.0, time.mean));
    json["rules"][rule] = {{"ratio", ratio.mean},
                           {"ratio_se", ratio.standard_error},
                           {"time_lambda1", std::pow(10.0, time.mean)}};
  }
  const Mean coverage = mean([](const auto& s) { return s.coverage; });
  fmt::print("  90 % intervals of {} cover {:.3f} ± {:.3f}\n", cross_validated, coverage.mean,
             coverage.standard_error);
  fmt::print("  root of the generalised cross-validation of {} over the test error {:.3f} ± {:.3f}\n",
             used_freedom, expected.mean, expected.standard_error);
  return json;
}

// Problems whose name begins so; empty: all.
std::string only;
int first_seed = 1;

Json stops(int seeds, Index width, Index most_steps) {
  Json json = Json::array();
  const std::pair<const char*, TestFunction> functions[] = {
      {"single-index, n = 300", TestFunction::single_index}, {"parity, n = 400", TestFunction::parity}};
  const auto run = [&](const std::string& name, const std::function<Sample(std::uint64_t)>& draw_sample) {
    if (!name.starts_with(only)) return;
    std::vector<StopScores> all;
    for (int seed = first_seed; seed < first_seed + seeds; ++seed)
      all.push_back(score(draw_sample(static_cast<std::uint64_t>(seed)), width,
                          static_cast<std::uint64_t>(seed), most_steps));
    json.push_back(stops_of(name, all));
    std::fflush(stdout);
  };
  for (const auto& [name, function] : functions)
    run(name, [f = function](std::uint64_t seed) {
      return simulated(f, f == TestFunction::parity ? 400 : 300, seed);
    });
  for (const char* folder : {"yacht", "boston", "wine-red", "kin8nm", "naval", "protein"}) {
    if (!study::available(folder)) {
      fmt::print("{}: skipped, {} is absent\n", folder, study::data_folder(folder));
      continue;
    }
    run(folder, [folder](std::uint64_t seed) { return real(folder, 300, seed); });
  }
  return json;
}

}  // namespace

int main(int argc, char** argv) {
  const int seeds = argc > 2 ? std::stoi(argv[2]) : 10;
  const Index width = argc > 3 ? std::stol(argv[3]) : 64;
  const std::string part = argc > 4 ? argv[4] : "both";
  const Index most_steps = argc > 5 ? std::stol(argv[5]) : 6000;
  if (argc > 6) rate_part = std::stod(argv[6]);
  if (argc > 7) only = argv[7];
  if (argc > 8) first_seed = std::stoi(argv[8]);
  Json out;
  if (part != "stops") out["rate"] = bench::lazy_limit(std::min(seeds, 5));
  if (part != "rate") out["stops"] = stops(seeds, width, most_steps);
  if (argc > 1) write_file_atomically(argv[1], out.dump(2) + "\n");
  return 0;
}
