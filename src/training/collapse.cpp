#include "gradflow/training/collapse.h"

#include <algorithm>
#include <cmath>

#include "base/special_values.h"
#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"

namespace gradflow {
namespace {

constexpr double one_point = 1e-12;        // of the features' length
constexpr double zero_eigenvalue = 1e-12;  // of the largest

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

void check(ConstBlock scores, const Labels& labels) {
  require(scores.cols() >= 2, "columns of the scores", scores.cols(), "must be at least 2, one a class");
  require(static_cast<Index>(labels.size()) == scores.rows(), "number of labels", labels.size(),
          "must equal the number of rows of the scores");
  for (const Index label : labels)
    require(label >= 0 && label < scores.cols(), "label", label, "must be 0, ..., number of classes - 1");
}

/// The classes that have rows, in their order, and what they are the means of.
struct ClassMeans {
  std::vector<Index> classes;  // labels that occur
  std::vector<Index> place;    // of a label among them; -1: does not occur
  Vector count;                // rows
  Matrix means;                // one row a class that occurs
};

ClassMeans means_of(ConstBlock features, const Labels& labels, Index K) {
  ClassMeans result;
  result.place.assign(at(K), -1);
  for (const Index label : labels) result.place[at(label)] = 0;
  for (Index c = 0; c < K; ++c) {
    if (result.place[at(c)] < 0) continue;
    result.place[at(c)] = static_cast<Index>(result.classes.size());
    result.classes.push_back(c);
  }
  const auto present = static_cast<Index>(result.classes.size());
  result.count = Vector::Zero(present);
  result.means = Matrix::Zero(present, features.cols());
  for (Index i = 0; i < features.rows(); ++i) {
    const Index c = result.place[at(labels[at(i)])];
    result.count(c) += 1.0;
    result.means.row(c) += features.row(i);
  }
  result.means.array().colwise() /= result.count.array();
  return result;
}

// With M / sqrt(K) = U S V': tr(S_W S_B^+) = sum_j v_j'S_W v_j / s_j^2.
double spread_of(ConstBlock features, const Labels& labels, const ClassMeans& groups, const Matrix& M) {
  const auto K = static_cast<double>(M.rows());
  const SymmetricEigen gram = symmetric_eigen(M * M.transpose() / K);
  const Vector& squares = gram.values;
  double trace = 0.0;
  for (Index j = 0; j < squares.size(); ++j) {
    if (squares(j) <= zero_eigenvalue * squares.maxCoeff()) continue;
    const Vector v = M.transpose() * gram.vectors.col(j) / std::sqrt(K * squares(j));
    const Vector along = features * v, centre = groups.means * v;
    double variance = 0.0;
    for (Index i = 0; i < along.size(); ++i) {
      const Index c = groups.place[at(labels[at(i)])];
      variance += std::pow(along(i) - centre(c), 2) / groups.count(c);
    }
    trace += variance / K / squares(j);
  }
  return trace / K;
}

double angles_of(const Matrix& M, const Vector& norms, double smallest) {
  const Index K = M.rows();
  if (norms.minCoeff() <= smallest) return not_a_number;
  double sum = 0.0;
  for (Index c = 0; c < K; ++c)
    for (Index d = 0; d < c; ++d)
      sum += std::abs(M.row(c).dot(M.row(d)) / (norms(c) * norms(d)) + 1.0 / static_cast<double>(K - 1));
  return 2.0 * sum / static_cast<double>(K * (K - 1));
}

double duality_of(ConstBlock weights, const ClassMeans& groups, const Matrix& M) {
  Matrix W = weights(groups.classes, Eigen::all);
  const double length = W.norm();
  W.rowwise() -= W.colwise().mean().eval();
  if (W.norm() <= one_point * length) return not_a_number;
  return (W / W.norm() - M / M.norm()).norm();
}

// |h - mu_c|^2 = |h - mu|^2 - 2 (h - mu)'m_c + |m_c|^2
double disagreement_of(ConstBlock features, ConstBlock scores, const ClassMeans& groups, const Matrix& M) {
  const Labels largest = most_probable(scores);
  const Vector squares = M.rowwise().squaredNorm();
  const Matrix products = (features.rowwise() - groups.means.colwise().mean()) * M.transpose();
  Index apart = 0;
  for (Index i = 0; i < features.rows(); ++i) {
    Index nearest = 0;
    (squares.transpose() - 2.0 * products.row(i)).minCoeff(&nearest);
    apart += groups.classes[at(nearest)] != largest[at(i)];
  }
  return static_cast<double>(apart) / static_cast<double>(features.rows());
}

// The smallest value that at least this part of the values do not exceed; `sorted` ascends.
double quantile(const std::vector<double>& sorted, double part) {
  const auto rank = static_cast<Index>(std::ceil(part * static_cast<double>(sorted.size())));
  return sorted[at(std::max<Index>(rank, 1) - 1)];
}

}  // namespace

Collapse neural_collapse(ConstBlock features, const Labels& labels, ConstBlock weights, ConstBlock scores) {
  check(scores, labels);
  require(features.rows() == scores.rows(), "rows of the features", features.rows(),
          "must be those of the scores");
  require(weights.rows() == scores.cols() && weights.cols() == features.cols(), "shape of the last weights",
          fmt::format("{} x {}", weights.rows(), weights.cols()),
          fmt::format("must be {} x {}, classes by features", scores.cols(), features.cols()));
  const ClassMeans groups = means_of(features, labels, scores.cols());
  Collapse result;
  if (groups.classes.size() < 2) return result;
  const Matrix M = groups.means.rowwise() - groups.means.colwise().mean().eval();
  const Vector norms = M.rowwise().norm();
  const double smallest = one_point * features.rowwise().norm().maxCoeff();
  result.nearest = disagreement_of(features, scores, groups, M);
  if (norms.maxCoeff() <= smallest) return result;
  result.spread = spread_of(features, labels, groups, M);
  result.norms = std::sqrt((norms.array() - norms.mean()).square().mean()) / norms.mean();
  result.angles = angles_of(M, norms, smallest);
  result.duality = duality_of(weights, groups, M);
  return result;
}

Margins margins(ConstBlock scores, const Labels& labels) {
  check(scores, labels);
  if (scores.rows() == 0) return {};
  std::vector<double> all;
  for (Index i = 0; i < scores.rows(); ++i) {
    double other = -std::numeric_limits<double>::infinity();
    for (Index c = 0; c < scores.cols(); ++c)
      if (c != labels[at(i)]) other = std::max(other, scores(i, c));
    all.push_back(scores(i, labels[at(i)]) - other);
  }
  std::ranges::sort(all);
  const Matrix centred = scores.colwise() - scores.rowwise().mean().eval();
  return {.least = all.front(),
          .low = quantile(all, 0.05),
          .median = quantile(all, 0.5),
          .scale = std::sqrt(centred.array().square().mean())};
}

Labels labels_of_indicators(ConstBlock Y) {
  Labels labels;
  if (Y.cols() < 2) return labels;
  for (Index i = 0; i < Y.rows(); ++i) {
    Index label = 0;
    const bool one = Y.row(i).maxCoeff(&label) == 1.0 && Y.row(i).minCoeff() == 0.0 && Y.row(i).sum() == 1.0;
    if (!one) return {};
    labels.push_back(label);
  }
  return labels;
}

Matrix indicators(const Labels& labels, Index classes) {
  Matrix Y = Matrix::Zero(static_cast<Index>(labels.size()), classes);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    require(labels[i] >= 0 && labels[i] < classes, "label", labels[i],
            "must be 0, ..., number of classes - 1");
    Y(static_cast<Index>(i), labels[i]) = 1.0;
  }
  return Y;
}

}  // namespace gradflow
