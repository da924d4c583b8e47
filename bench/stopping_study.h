#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "gradflow/base/random.h"
#include "gradflow/data/dataset.h"
#include "gradflow/inference/analysis.h"
#include "gradflow/operators/dense_operator.h"
#include "gradflow/operators/infinite_ntk.h"

/// How well each stopping rule does on real data, against the best time along the same flow (an oracle that
/// sees the test rows). Shared by `./x bench rules`, other studies and the test of one small part of it.
namespace gradflow::study {

/// What is done with rows equal to an earlier row in x and y.
enum class Copies { keep, drop_from_table, drop_from_training };

struct Case {
  std::string name;    ///< label in the table
  std::string folder;  ///< below shared/data
  int splits;
  Index training_rows = 0;  ///< 0: all of the split's; otherwise a seeded sample
  Copies copies = Copies::keep;
};

struct RealData {
  Matrix X;
  Vector y;
  nlohmann::json splits;
};

inline std::string data_folder(const std::string& name) {
  return fmt::format("{}/data/{}", GRADFLOW_SHARED_DIR, name);
}

inline bool available(const std::string& name) {
  return std::filesystem::exists(data_folder(name) + "/data.csv");
}

inline RealData load(const std::string& folder) {
  const Table table = read_table(data_folder(folder) + "/data.csv");
  DatasetOptions options;
  options.target = table.names.back();
  options.standardize = Standardize::none;
  options.copies = CopiesPolicy::all;  // the splits count every row
  Dataset data = make_dataset(table, options);
  return {std::move(data.X), std::move(data.y),
          nlohmann::json::parse(std::ifstream(data_folder(folder) + "/splits.json"))};
}

inline std::vector<double> row_key(const RealData& data, Index row) {
  std::vector<double> key(static_cast<std::size_t>(data.X.cols()) + 1);
  for (Index j = 0; j < data.X.cols(); ++j) key[static_cast<std::size_t>(j)] = data.X(row, j);
  key.back() = data.y(row);
  return key;
}

/// The rows that are no copy of an earlier one of `rows`.
inline std::vector<Index> first_of_each(const RealData& data, const std::vector<Index>& rows) {
  std::set<std::vector<double>> seen;
  std::vector<Index> kept;
  for (const Index row : rows)
    if (seen.insert(row_key(data, row)).second) kept.push_back(row);
  return kept;
}

struct Rows {
  std::vector<Index> train, test;
};

inline Rows rows_of_split(const RealData& data, const Case& study_case, int split) {
  const auto part = [&](const char* name) {
    return data.splits[name][static_cast<std::size_t>(split)].get<std::vector<Index>>();
  };
  Rows rows{part("train"), part("test")};
  if (study_case.copies == Copies::drop_from_table) {
    std::vector<Index> all(static_cast<std::size_t>(data.y.size()));
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<Index>(i);
    const std::vector<Index> kept = first_of_each(data, all);
    const auto dropped = [&](Index row) { return !std::binary_search(kept.begin(), kept.end(), row); };
    std::erase_if(rows.train, dropped);
    std::erase_if(rows.test, dropped);
  }
  if (study_case.copies == Copies::drop_from_training) rows.train = first_of_each(data, rows.train);
  if (study_case.training_rows > 0 && study_case.training_rows < static_cast<Index>(rows.train.size())) {
    const auto order = RandomStream(static_cast<std::uint64_t>(split), "training rows of the study")
                           .permutation(static_cast<Index>(rows.train.size()));
    std::vector<Index> sample;
    for (Index i = 0; i < study_case.training_rows; ++i)
      sample.push_back(rows.train[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])]);
    rows.train = std::move(sample);
  }
  return rows;
}

struct RuleScore {
  double rmse = 0.0;
  double ratio = 0.0;  ///< rmse / oracle's
  double dof = 0.0;
};

struct SplitScore {
  Index n = 0;
  double oracle_rmse = 0.0;
  std::map<std::string, RuleScore> rules;
};

/// Error at new points of the flow at any time: `truth` there (m values) against f(t) = x'beta(t) +
/// h_x'alpha(t) from the spectrum of H, an intercept being the only fixed effect.
class FlowAtNewPoints {
 public:
  /// H_cross: m x n, in H's units.
  FlowAtNewPoints(const ProjectedSpectrum& spectrum, const TrainingOperator& H, const Matrix& H_cross,
                  const Vector& response, Vector truth)
      : values_(spectrum.values),
        z_(spectrum.coordinates(response)),
        truth_(std::move(truth)),
        base_(response.mean()) {
    // mean(x) = b0 + (h_x - 1 a'H) Q U dual(lambda) z with b0 = mean y, a = 1/n: the intercept's share of H
    // alpha.
    Matrix mean_row(H.size(), 1);
    H.apply(Vector::Constant(H.size(), 1.0 / static_cast<double>(H.size())), mean_row);
    projected_ = (H_cross.rowwise() - mean_row.col(0).transpose()) * spectrum.basis;
  }

  double rmse(double t) const {
    const Path flow{.kind = PathKind::flow, .time = t};
    const Vector prediction = (projected_ * flow.dual(values_).cwiseProduct(z_)).array() + base_;
    return std::sqrt((truth_ - prediction).squaredNorm() / static_cast<double>(truth_.size()));
  }

 private:
  Vector values_, z_, truth_;
  double base_ = 0.0;
  Matrix projected_;
};

/// One problem: n training rows, and m new points with what is to be predicted there.
struct Problem {
  Matrix X;
  Vector y;
  Matrix X_new;
  Vector truth;  ///< the response, or the mean function where it is known
  std::uint64_t seed = 1;
};

/// The flow on the rows that rule validation trained on, stopped at its time: without refit to all rows.
inline double rmse_without_refit(const Problem& problem, const Matrix& H, const Matrix& H_cross,
                                 double time) {
  // The rule's own split: src/inference/validation.cpp.
  const Index n = H.rows(), held = std::clamp<Index>(std::lround(0.2 * static_cast<double>(n)), 1, n - 1);
  const std::vector<Index> order = RandomStream(problem.seed, "validation split").permutation(n);
  const std::vector<Index> train(order.begin() + held, order.end());
  const double rescale = static_cast<double>(n) / static_cast<double>(n - held);
  const DenseOperator H_train(rescale * H(train, train));
  const FixedEffects intercept(Matrix::Ones(n - held, 1), {"(intercept)"});
  return FlowAtNewPoints(project(H_train, intercept), H_train, rescale * H_cross(Eigen::all, train),
                         problem.y(train), problem.truth)
      .rmse(time);
}

/// Every rule, validation without refit, and reml-risk with one component ("ridge risk"), on the
/// infinite-width ReLU NTK of depth 2 with an intercept; features are standardised on the training part.
inline SplitScore score(const Problem& problem) {
  DatasetOptions encoding;
  encoding.copies = CopiesPolicy::all;  // what is done with them is the study's own
  const Dataset train = make_dataset(problem.X, problem.y, encoding, "X", "y");
  const NewRows points = encode(train.recipe, problem.X_new, "X");
  const InfiniteArchitecture architecture;
  const double n = static_cast<double>(train.X.rows());
  const DenseOperator H(kernel_gram(architecture, train.X) / n);
  const Matrix H_cross = kernel_cross(architecture, points.X, train.X) / n;
  const Vector& y = problem.y;
  const Analysis analysis =
      analyse(H, {y, Vector::Zero(y.size()), Matrix(y.size(), 0), {}, {}}, {.seed = problem.seed});
  const FlowAtNewPoints flow(analysis.spectrum, H, H_cross, y, problem.truth);

  SplitScore score{.n = train.X.rows(), .oracle_rmse = flow.rmse(0.0), .rules = {}};
  // The oracle: 400 log-spaced times, t lambda_1 from 1e-2 to 1e12, and each rule's own.
  for (int i = 0; i < 400; ++i)
    score.oracle_rmse = std::min(
        score.oracle_rmse, flow.rmse(std::pow(10.0, -2.0 + 14.0 * i / 399.0) / analysis.data.values(0)));
  for (const StoppingRule& rule : analysis.rules) {
    score.rules[rule.name] = {flow.rmse(rule.time), 0.0, rule.effective_dof};
    score.oracle_rmse = std::min(score.oracle_rmse, score.rules[rule.name].rmse);
    if (rule.kind == RuleKind::validation)
      score.rules["no refit"] = {rmse_without_refit(problem, H.entries(), H_cross, rule.time), 0.0,
                                 rule.effective_dof};
  }
  // What reml-risk would do with the one component of ridge.
  const Path path{.kind = PathKind::flow};
  const double one = risk_minimiser(analysis.data, path, analysis.ridge.path.time);
  score.rules["ridge risk"] = {flow.rmse(one), 0.0, analysis.data.effective_dof(path.at(one))};
  score.oracle_rmse = std::min(score.oracle_rmse, score.rules["ridge risk"].rmse);
  for (auto& [name, rule] : score.rules) rule.ratio = rule.rmse / score.oracle_rmse;
  return score;
}

inline SplitScore score_split(const RealData& data, const Case& study_case, int split) {
  const Rows rows = rows_of_split(data, study_case, split);
  return score({data.X(rows.train, Eigen::all), data.y(rows.train), data.X(rows.test, Eigen::all),
                data.y(rows.test), static_cast<std::uint64_t>(split + 1)});
}

struct Summary {
  double mean = 0.0, standard_error = 0.0, worst = 0.0;
};

/// Of get(score) over the splits or replicates, at least two.
template <typename Get>
Summary summarise(const std::vector<SplitScore>& scores, Get get) {
  Summary s;
  const auto n = static_cast<double>(scores.size());
  for (const auto& score : scores) {
    s.mean += get(score) / n;
    s.worst = std::max(s.worst, get(score));
  }
  double square = 0.0;
  for (const auto& score : scores) square += (get(score) - s.mean) * (get(score) - s.mean);
  s.standard_error = std::sqrt(square / (n - 1.0) / n);
  return s;
}

inline std::vector<Case> all_cases() {
  return {{"yacht", "yacht", 20},
          {"boston", "boston", 20},
          {"wine-red, as it is", "wine-red", 20},
          {"wine-red, copies kept once", "wine-red", 20, 0, Copies::drop_from_table},
          {"wine-red, copies kept once in training only", "wine-red", 20, 0, Copies::drop_from_training},
          {"kin8nm, 2,000 rows", "kin8nm", 5, 2000}};
}

}  // namespace gradflow::study
