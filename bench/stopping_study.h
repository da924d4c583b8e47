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
/// sees the test rows). Shared by `./x bench stopping` and by the test of one small part of it.
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

/// Test error of the flow at any time: test response against f(t) = x'beta(t) + h_x'alpha(t) from the
/// spectrum.
class FlowOnTestRows {
 public:
  FlowOnTestRows(const Analysis& analysis, const TrainingOperator& H, Matrix H_cross, const Vector& response,
                 Vector truth)
      : values_(analysis.data.values), z_(analysis.data.z), truth_(std::move(truth)) {
    // mean(x) = b0 + (h_x - 1 a'H) Q U dual(lambda) z with b0 = mean y, a = 1/n: the intercept's share of H
    // alpha.
    Matrix mean_row(H.size(), 1);
    H.apply(Vector::Constant(H.size(), 1.0 / static_cast<double>(H.size())), mean_row);
    base_ = response.mean();
    projected_ = (H_cross.rowwise() - mean_row.col(0).transpose()) * analysis.spectrum.basis;
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

inline SplitScore score_split(const RealData& data, const Case& study_case, int split) {
  const Rows rows = rows_of_split(data, study_case, split);
  DatasetOptions encoding;
  encoding.copies = CopiesPolicy::all;  // what is done with them is the study's own
  const Dataset train =
      make_dataset(Matrix(data.X(rows.train, Eigen::all)), Vector(data.y(rows.train)), encoding, "X", "y");
  const NewRows test = encode(train.recipe, Matrix(data.X(rows.test, Eigen::all)), "X");
  const InfiniteArchitecture architecture;
  const double n = static_cast<double>(train.X.rows());
  const DenseOperator H(kernel_gram(architecture, train.X) / n);
  const Vector y = data.y(rows.train);
  const Analysis analysis = analyse(H, {y, Vector::Zero(y.size()), Matrix(y.size(), 0), {}, {}},
                                    {.seed = static_cast<std::uint64_t>(split + 1)});
  const FlowOnTestRows flow(analysis, H, kernel_cross(architecture, test.X, train.X) / n, y,
                            data.y(rows.test));

  SplitScore score{.n = train.X.rows(), .oracle_rmse = flow.rmse(0.0), .rules = {}};
  // The oracle: 400 log-spaced times, t lambda_1 from 1e-2 to 1e12, and each rule's own.
  for (int i = 0; i < 400; ++i)
    score.oracle_rmse = std::min(
        score.oracle_rmse, flow.rmse(std::pow(10.0, -2.0 + 14.0 * i / 399.0) / analysis.data.values(0)));
  for (const StoppingRule& rule : analysis.rules) {
    score.rules[rule.name] = {flow.rmse(rule.time), 0.0, rule.effective_dof};
    score.oracle_rmse = std::min(score.oracle_rmse, score.rules[rule.name].rmse);
  }
  for (auto& [name, rule] : score.rules) rule.ratio = rule.rmse / score.oracle_rmse;
  return score;
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
