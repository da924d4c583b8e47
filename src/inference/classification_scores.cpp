#include "gradflow/inference/classification_scores.h"

#include <algorithm>
#include <boost/math/distributions/binomial.hpp>
#include <cmath>
#include <numeric>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"

namespace gradflow {
namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

void check_labels(ConstBlock P, const Labels& labels) {
  require(P.rows() > 0 && P.cols() > 0, "rows of class probabilities", P.rows(), "must be at least 1");
  require(static_cast<Index>(labels.size()) == P.rows(), "number of labels", labels.size(),
          "must equal the number of rows of the probabilities");
  for (const Index label : labels)
    require(label >= 0 && label < P.cols(), "label", label, "must be 0, ..., number of classes - 1");
}

std::vector<Index> ascending(const Vector& probability) {
  std::vector<Index> order(at(probability.size()));
  std::iota(order.begin(), order.end(), Index{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](Index a, Index b) { return probability(a) < probability(b); });
  return order;
}

// First rank of bin b of m rows in `bins` bins.
Index first_rank(Index b, Index bins, Index m) { return b * m / bins; }

Interval clopper_pearson(Index successes, Index count, double level) {
  using Binomial = boost::math::binomial_distribution<double>;
  const double tail = 0.5 * (1.0 - level);
  const auto n = static_cast<double>(count), k = static_cast<double>(successes);
  return {successes == 0 ? 0.0 : Binomial::find_lower_bound_on_p(n, k, tail),
          successes == count ? 1.0 : Binomial::find_upper_bound_on_p(n, k, tail), level};
}

// Whether each row's most probable class is its own.
std::vector<char> guessed_right(ConstBlock P, const Labels& labels) {
  const Labels guess = most_probable(P);
  std::vector<char> right(labels.size());
  for (std::size_t i = 0; i < labels.size(); ++i) right[i] = guess[i] == labels[i];
  return right;
}

// Bins without their intervals; `order` sorts the probabilities.
Reliability binned(const Vector& probability, const std::vector<Index>& order,
                   const std::vector<char>& came_true, Index bins) {
  const Index m = probability.size();
  bins = std::min(bins, m);
  Reliability result;
  for (Index b = 0; b < bins; ++b) {
    ReliabilityBin bin;
    for (Index r = first_rank(b, bins, m); r < first_rank(b + 1, bins, m); ++r) {
      bin.predicted += probability(order[at(r)]);
      bin.observed += came_true[at(order[at(r)])];
      ++bin.count;
    }
    result.calibration_error += std::abs(bin.observed - bin.predicted) / static_cast<double>(m);
    bin.predicted /= static_cast<double>(bin.count);
    bin.observed /= static_cast<double>(bin.count);
    result.bins.push_back(bin);
  }
  return result;
}

Reliability reliability_of(const Vector& probability, const std::vector<char>& came_true, Index bins,
                           double level) {
  require(bins >= 1, "bins", bins, "must be at least 1");
  require(level > 0.0 && level < 1.0, "level", level, "must be between 0 and 1");
  Reliability result = binned(probability, ascending(probability), came_true, bins);
  for (ReliabilityBin& bin : result.bins) {
    const auto successes = std::lround(bin.observed * static_cast<double>(bin.count));
    bin.interval = clopper_pearson(successes, bin.count, level);
  }
  return result;
}

// Class c with P(c - 1) <= u < P(c), P cumulative.
Index class_at(ConstBlock P, Index row, double u) {
  double cumulative = 0.0;
  for (Index c = 0; c + 1 < P.cols(); ++c)
    if (u < (cumulative += P(row, c))) return c;
  return P.cols() - 1;
}

}  // namespace

double log_loss(ConstBlock P, const Labels& labels, double floor) {
  check_labels(P, labels);
  require(floor >= 0.0 && floor < 1.0, "floor", floor, "must be in [0, 1)");
  double sum = 0.0;
  for (Index i = 0; i < P.rows(); ++i) sum -= std::log(std::max(P(i, labels[at(i)]), floor));
  return sum / static_cast<double>(P.rows());
}

double brier_score(ConstBlock P, const Labels& labels) {
  check_labels(P, labels);
  double sum = P.squaredNorm();
  for (Index i = 0; i < P.rows(); ++i) sum += 1.0 - 2.0 * P(i, labels[at(i)]);
  return sum / static_cast<double>(P.rows());
}

Labels most_probable(ConstBlock P) {
  Labels result(at(P.rows()));
  for (Index i = 0; i < P.rows(); ++i) P.row(i).maxCoeff(&result[at(i)]);
  return result;
}

double accuracy(ConstBlock P, const Labels& labels) {
  check_labels(P, labels);
  const Labels guess = most_probable(P);
  Index right = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) right += guess[i] == labels[i];
  return static_cast<double>(right) / static_cast<double>(labels.size());
}

Reliability reliability(ConstBlock P, const Labels& labels, Index bins, double level) {
  check_labels(P, labels);
  return reliability_of(P.rowwise().maxCoeff(), guessed_right(P, labels), bins, level);
}

Reliability reliability_of_class(ConstBlock P, const Labels& labels, Index which, Index bins, double level) {
  check_labels(P, labels);
  require(which >= 0 && which < P.cols(), "class", which, "must be 0, ..., number of classes - 1");
  std::vector<char> came_true(labels.size());
  for (std::size_t i = 0; i < labels.size(); ++i) came_true[i] = labels[i] == which;
  return reliability_of(P.col(which), came_true, bins, level);
}

double expected_calibration_error(ConstBlock P, const Labels& labels, Index bins) {
  check_labels(P, labels);
  require(bins >= 1, "bins", bins, "must be at least 1");
  const Vector confidence = P.rowwise().maxCoeff();
  return binned(confidence, ascending(confidence), guessed_right(P, labels), bins).calibration_error;
}

CalibrationNull calibration_error_if_calibrated(ConstBlock P, Index bins, double level, Index draws,
                                                std::uint64_t seed, const std::vector<Index>& rows) {
  require(P.rows() > 0, "rows of class probabilities", P.rows(), "must be at least 1");
  require(bins >= 1, "bins", bins, "must be at least 1");
  require(level > 0.0 && level < 1.0, "level", level, "must be between 0 and 1");
  require(draws >= 2, "draws", draws, "must be at least 2");
  require(rows.empty() || static_cast<Index>(rows.size()) == P.rows(), "number of row names", rows.size(),
          "must be 0 or the number of rows of the probabilities");
  std::vector<Index> names(at(P.rows()));
  std::iota(names.begin(), names.end(), Index{0});
  if (!rows.empty()) names = rows;
  require(*std::min_element(names.begin(), names.end()) >= 0, "row name",
          *std::min_element(names.begin(), names.end()), "must be 0 or more");
  const Index distinct = *std::max_element(names.begin(), names.end()) + 1;
  const Vector confidence = P.rowwise().maxCoeff();
  const std::vector<Index> order = ascending(confidence);
  RandomStream random(seed, "labels of a calibrated classifier");
  std::vector<double> errors, uniform(at(distinct));
  Labels labels(names.size());
  for (Index draw = 0; draw < draws; ++draw) {
    for (double& u : uniform) u = random.uniform();
    for (std::size_t i = 0; i < names.size(); ++i)
      labels[i] = class_at(P, static_cast<Index>(i), uniform[at(names[i])]);
    errors.push_back(binned(confidence, order, guessed_right(P, labels), bins).calibration_error);
  }
  std::sort(errors.begin(), errors.end());
  const auto count = static_cast<double>(draws);
  const double mean = std::accumulate(errors.begin(), errors.end(), 0.0) / count;
  double square = 0.0;
  for (const double e : errors) square += (e - mean) * (e - mean);
  const auto rank = std::min(errors.size() - 1, static_cast<std::size_t>(std::ceil(level * count)) - 1);
  return {mean, errors[rank], std::sqrt(square / (count - 1.0) / count), level};
}

}  // namespace gradflow
