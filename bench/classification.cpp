// ./x bench classification [OUT.json] [--peers FILE.json] [--sets NAME,...] [--kernels default|chosen|both]
// [--method one-hot|laplace]
// Accuracy, log-loss, Brier score and calibration of class probabilities on the shared classification sets,
// beside the peers of tools/class_peers.py.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <sstream>

#include "bench_support.h"
#include "gradflow/base/atomic_file.h"
#include "gradflow/base/error.h"
#include "gradflow/inference/classification.h"
#include "gradflow/model/class_job.h"
#include "stopping_study.h"

namespace {

using namespace gradflow;
using bench::Json;

constexpr double floor_probability = 1e-3;  // of every method's log-loss: a forest of 500 trees can say 0
constexpr Index bins = 15;

struct Method {
  std::string name;
  ClassOptions options;
  bool chosen;  ///< kernel chosen by the method's own criterion
};

// Probabilities of one method on one set, all folds one after the other.
struct Predictions {
  std::vector<Matrix> folds;
  double seconds = 0.0;
};

struct ClassSet {
  std::string name;
  study::RealData data;
  Index classes = 0;
  std::vector<Labels> labels{};            ///< of the test rows, per fold
  std::vector<std::vector<Index>> rows{};  ///< the test rows, per fold
  std::map<std::string, Predictions> predictions{};
};

std::vector<KernelSum> kernels(bool chosen) {
  return chosen ? kernel_candidates() : std::vector<KernelSum>{parse_kernel_sum("ntk:relu:2")};
}

struct Fold {
  Matrix train, test;
  Labels labels;
};

Fold make_fold(const ClassSet& set, std::size_t fold) {
  const auto train = set.data.splits["train"][fold].get<std::vector<Index>>();
  const auto test = set.data.splits["test"][fold].get<std::vector<Index>>();
  const Dataset encoded = make_dataset(Matrix(set.data.X(train, Eigen::all)), Vector(set.data.y(train)),
                                       DatasetOptions{}, "X", "class");
  Fold result{encoded.X, encode(encoded.recipe, Matrix(set.data.X(test, Eigen::all)), "X").X, {}};
  // Of the rows kept: copies are, once.
  for (const double label : unstandardize_response(encoded.recipe, encoded.y))
    result.labels.push_back(std::lround(label));
  return result;
}

struct Answer {
  Matrix P;
  Matrix unmapped;  ///< laplace: without its map; otherwise empty
};

Answer predict(const Fold& fold, Index classes, const Method& method, Json& log) {
  const auto n = static_cast<double>(fold.train.rows());
  ClassFit best;
  KernelSum kernel;
  for (const KernelSum& candidate : kernels(method.chosen)) {
    const DenseOperator H(kernel_gram(candidate, fold.train) / n);
    ClassFit fit = classify(H, fold.labels, classes, method.options);
    if (!usable(fit.outcome)) continue;
    if (usable(best.outcome) && !(fit.criterion < best.criterion)) continue;
    best = std::move(fit);
    kernel = candidate;
  }
  const DenseOperator H(kernel_gram(kernel, fold.train) / n);
  const Matrix cross = kernel_cross(kernel, fold.test, fold.train) / n;
  const Vector self = kernel_diagonal(kernel, fold.test) / n;
  Answer answer{ClassPredictor(H, best).probabilities(cross, self), {}};
  log.push_back({{"kernel", to_string(kernel)},
                 {"outcome", to_string(best.outcome)},
                 {"latent_variance", best.latent_variance},
                 {"interval_over_tau", {best.interval.lower / best.tau, best.interval.upper / best.tau}},
                 {"evaluations", best.evaluations},
                 {"slope", std::vector<double>(best.map.slope.begin(), best.map.slope.end())},
                 {"leave_one_out_log_loss", log_loss(best.leave_one_out, fold.labels, floor_probability)}});
  if (method.options.method == ClassMethod::laplace) {
    best.map.outcome = Outcome::not_run;
    answer.unmapped = ClassPredictor(H, best).probabilities(cross, self);
  }
  return answer;
}

ClassSet load_set(const std::string& name) {
  ClassSet set{.name = name, .data = study::load(name)};
  set.classes = static_cast<Index>(set.data.y.maxCoeff()) + 1;
  for (const auto& fold : set.data.splits["test"]) {
    set.rows.push_back(fold.get<std::vector<Index>>());
    Labels labels;
    for (const Index row : set.rows.back()) labels.push_back(static_cast<Index>(set.data.y(row)));
    set.labels.push_back(std::move(labels));
  }
  return set;
}

void add_peers(ClassSet& set, const Json& peers) {
  for (const auto& fold : peers["sets"].at(set.name))
    for (const auto& [name, result] : fold.items()) {
      const auto rows = result["probabilities"].get<std::vector<std::vector<double>>>();
      Matrix P(static_cast<Index>(rows.size()), set.classes);
      for (std::size_t i = 0; i < rows.size(); ++i)
        for (Index c = 0; c < set.classes; ++c)
          P(static_cast<Index>(i), c) = rows[i].at(static_cast<std::size_t>(c));
      Predictions& predictions = set.predictions[name];
      predictions.folds.push_back(P.array().colwise() / P.rowwise().sum().array());
      predictions.seconds += result["seconds"].get<double>();
    }
}

struct Scores {
  double accuracy = 0.0, log_loss = 0.0, brier = 0.0, calibration_error = 0.0;
};

Scores operator+(const Scores& a, const Scores& b) {
  return {a.accuracy + b.accuracy, a.log_loss + b.log_loss, a.brier + b.brier,
          a.calibration_error + b.calibration_error};
}

// Folds one below the other.
struct Stacked {
  Matrix P;
  Labels labels;
  std::vector<Index> rows;
};

void append(Stacked& all, const Matrix& P, const Labels& labels, const std::vector<Index>& rows,
            Index offset) {
  const Index before = all.P.rows();
  const Index columns = std::max(all.P.cols(), P.cols());
  Matrix joined = Matrix::Zero(before + P.rows(), columns);
  joined.topLeftCorner(before, all.P.cols()) = all.P;
  joined.bottomLeftCorner(P.rows(), P.cols()) = P;
  all.P = std::move(joined);
  all.labels.insert(all.labels.end(), labels.begin(), labels.end());
  for (const Index row : rows) all.rows.push_back(offset + row);
}

Scores score(const Stacked& all) {
  return {accuracy(all.P, all.labels), log_loss(all.P, all.labels, floor_probability),
          brier_score(all.P, all.labels), expected_calibration_error(all.P, all.labels, bins)};
}

Json to_json(const Scores& s) {
  return {{"accuracy", s.accuracy},
          {"log_loss", s.log_loss},
          {"brier", s.brier},
          {"calibration_error", s.calibration_error}};
}

Json report(const std::vector<ClassSet>& sets) {
  Json out;
  fmt::print("\n{:<30} {:<18} {:>8} {:>9} {:>8} {:>8} {:>9} {:>8}\n", "set", "method", "accuracy", "log-loss",
             "Brier", "ECE", "null 95 %", "seconds");
  const auto line = [&](const std::string& set, const std::string& method, const Scores& s, double quantile,
                        double seconds) {
    fmt::print("{:<30} {:<18} {:>8.4f} {:>9.4f} {:>8.4f} {:>8.4f} {:>9.4f} {:>8.1f}\n", set, method,
               s.accuracy, s.log_loss, s.brier, s.calibration_error, quantile, seconds);
    out[set][method] = to_json(s);
    out[set][method]["calibration_error_quantile"] = quantile;
    out[set][method]["seconds"] = seconds;
  };
  std::map<std::string, Stacked> pooled;
  std::map<std::string, Scores> sums;
  std::map<std::string, double> seconds;
  Index offset = 0;
  for (const ClassSet& set : sets) {
    for (const auto& [method, predictions] : set.predictions) {
      Stacked all;
      for (std::size_t fold = 0; fold < predictions.folds.size(); ++fold) {
        append(all, predictions.folds[fold], set.labels[fold], set.rows[fold], 0);
        append(pooled[method], predictions.folds[fold], set.labels[fold], set.rows[fold], offset);
      }
      const Scores s = score(all);
      line(set.name, method, s, calibration_error_if_calibrated(all.P, bins, 0.95, 500, 1, all.rows).quantile,
           predictions.seconds);
      sums[method] = sums[method] + s;
      seconds[method] += predictions.seconds;
    }
    offset += set.data.y.size();
  }
  const auto count = static_cast<double>(sets.size());
  for (const auto& [method, s] : sums) {
    const Stacked& all = pooled[method];
    const Scores mean{s.accuracy / count, s.log_loss / count, s.brier / count,
                      expected_calibration_error(all.P, all.labels, bins)};
    line("mean of sets; pooled ECE", method, mean,
         calibration_error_if_calibrated(all.P, bins, 0.95, 500, 1, all.rows).quantile, seconds[method]);
  }
  return out;
}

struct Arguments {
  std::optional<std::string> out, peers;
  std::string kernels = "default";
  std::string method;  ///< empty: all
  std::vector<std::string> sets{
      "class-breast-cancer-wisc-diag", "class-contrac", "class-ionosphere", "class-pima", "class-sonar",
      "class-statlog-vehicle",         "class-yeast"};
};

Arguments parse(int argc, char** argv) {
  Arguments result;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.rfind("--", 0) == 0 && i + 1 == argc) throw gradflow::InputError(word + ": a value must follow");
    if (word == "--peers") {
      result.peers = argv[++i];
    } else if (word == "--kernels") {
      result.kernels = argv[++i];
    } else if (word == "--method") {
      result.method = argv[++i];
    } else if (word == "--sets") {
      std::stringstream list(argv[++i]);
      result.sets.clear();
      for (std::string name; std::getline(list, name, ',');) result.sets.push_back("class-" + name);
    } else {
      result.out = word;
    }
  }
  return result;
}

std::vector<Method> methods(const std::string& which, const std::string& only) {
  std::vector<Method> result;
  for (const bool chosen : {false, true}) {
    if (which == (chosen ? "default" : "chosen")) continue;
    const std::string mark = chosen ? "+" : "";
    result.push_back({"one-hot, REML" + mark, {.method = ClassMethod::one_hot}, chosen});
    result.push_back(
        {"one-hot" + mark, {.method = ClassMethod::one_hot, .scale = ScaleRule::leave_one_out}, chosen});
    result.push_back({"laplace" + mark, {.method = ClassMethod::laplace, .map = true}, chosen});
  }
  if (!only.empty())
    std::erase_if(result, [&](const Method& method) { return to_string(method.options.method) != only; });
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = parse(argc, argv);
  Json all{{"floor", floor_probability}, {"bins", bins}};
  Json peers;
  if (arguments.peers) {
    peers = Json::parse(std::ifstream(*arguments.peers));
    for (const char* key : {"command", "python", "scikit-learn", "numpy"}) all["peers"][key] = peers[key];
  }
  std::vector<ClassSet> sets;
  for (const std::string& name : arguments.sets) {
    if (!study::available(name)) {
      fmt::print("{}: skipped, {} is absent\n", name, study::data_folder(name));
      continue;
    }
    ClassSet set = load_set(name);
    for (const Method& method : methods(arguments.kernels, arguments.method))
      for (std::size_t fold = 0; fold < set.labels.size(); ++fold) {
        const Fold rows = make_fold(set, fold);
        Answer answer;
        const double seconds = bench::seconds_of(
            [&] { answer = predict(rows, set.classes, method, all["fits"][name][method.name]); });
        const auto keep = [&](const std::string& label, Matrix P) {
          set.predictions[label].folds.push_back(std::move(P));
          set.predictions[label].seconds += seconds;
        };
        keep(method.name, std::move(answer.P));
        if (answer.unmapped.size() > 0) keep(method.name + ", no map", std::move(answer.unmapped));
        fmt::print(stderr, "{} {} fold {}: {:.1f} s\n", name, method.name, fold + 1, seconds);
      }
    if (arguments.peers) add_peers(set, peers);
    sets.push_back(std::move(set));
  }
  all["scores"] = report(sets);
  if (arguments.out) write_file_atomically(*arguments.out, all.dump(1) + "\n");
  return 0;
}
