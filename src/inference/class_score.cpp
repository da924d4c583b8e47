#include "gradflow/inference/class_test.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>
#include <vector>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/random.h"
#include "gradflow/spectrum/projected_spectrum.h"
#include "inference/quadratic_forms.h"
#include "inference/rounding.h"

namespace gradflow {
namespace {

Matrix centred_indicators(const Labels& labels, const Vector& frequencies) {
  Matrix E = -frequencies.transpose().replicate(static_cast<Index>(labels.size()), 1);
  for (std::size_t i = 0; i < labels.size(); ++i) E(static_cast<Index>(i), labels[i]) += 1.0;
  return E;
}

// Whether anything but rounding is left of H when the intercept is projected out: tr PHP beside tr H.
bool distinguishes(const TrainingOperator& H) {
  const Matrix one = Matrix::Ones(H.size(), 1);
  const double trace = H.trace(), of_mean = quadratic_forms(H, one)(0) / static_cast<double>(H.size());
  return trace - of_mean > 1e-12 * trace;
}

// log Pr( sum_ik v_k lambda_i chi2_1 > Q ); eigenvalues within rounding of zero play no part.
double log_tail(const Vector& v, const Vector& lambda, double Q) {
  std::vector<double> weights;
  for (const double vk : v)
    for (const double value : lambda)
      if (vk > 1e-12 && value > 0.0) weights.push_back(vk * value);
  if (!(Q > 0.0)) return 0.0;
  return log_weighted_chi_square_above(
      Eigen::Map<const Vector>(weights.data(), static_cast<Index>(weights.size())), Q);
}

void add_asymptotic(const Vector& lambda, const Vector& frequencies, ClassTest& test) {
  const Matrix covariance = Matrix(frequencies.asDiagonal()) - frequencies * frequencies.transpose();
  const Vector v = symmetric_eigenvalues(covariance);
  test.log10_p_value_asymptotic = log_tail(v, lambda, test.statistic) / std::numbers::ln10;
  for (Index c = 0; c < frequencies.size(); ++c) {
    const double variance = frequencies(c) * (1.0 - frequencies(c));
    if (variance > 0.0)
      test.class_p_value(c) =
          std::exp(log_tail(Vector::Constant(1, variance), lambda, test.class_statistic(c)));
  }
}

// Permutations of the rows at which each class's form, and last their sum, reached the observed one.
std::vector<Index> exceedances(const TrainingOperator& H, const Matrix& E, const ClassTest& test,
                               const ClassTestOptions& options) {
  const Index K = E.cols();
  Vector observed(K + 1);
  observed << test.class_statistic, test.statistic;
  std::vector<Index> reached(static_cast<std::size_t>(K + 1), 0);
  Index block = 0;
  for (Index first = 0; first < options.draws; first += options.block) {
    const Index columns = std::min(options.block, options.draws - first);
    RandomStream random(options.seed, fmt::format("class permutation {}", block++));
    Matrix permuted(E.rows(), columns * K);
    for (Index j = 0; j < columns; ++j)
      permuted.middleCols(j * K, K) = E(random.permutation(E.rows()), Eigen::all);
    const Vector Q = quadratic_forms(H, permuted);
    for (Index j = 0; j < columns; ++j) {
      Vector drawn(K + 1);
      drawn << Q.segment(j * K, K), Q.segment(j * K, K).sum();
      for (Index c = 0; c <= K; ++c)
        if (drawn(c) >= observed(c) * (1.0 - tie)) ++reached[static_cast<std::size_t>(c)];
    }
  }
  return reached;
}

void add_permutations(const TrainingOperator& H, const Matrix& E, const Vector& frequencies,
                      const ClassTestOptions& options, ClassTest& test) {
  const std::vector<Index> reached = exceedances(H, E, test, options);
  test.method = BinaryNull::permutation;
  test.resampled = resampled_p_value(reached.back(), options.draws, options.seed);
  test.p_value = test.resampled.p_value;
  test.log10_p_value = test.resampled.log10_p_value;
  test.standard_error = test.resampled.standard_error;
  for (Index c = 0; c < E.cols(); ++c)
    if (frequencies(c) > 0.0)
      test.class_p_value(c) =
          resampled_p_value(reached[static_cast<std::size_t>(c)], options.draws, options.seed).p_value;
}

ClassTest unidentified(ClassTest test, std::string reason) {
  test.outcome = Outcome::unidentified;
  test.reason = std::move(reason);
  return test;
}

}  // namespace

void ClassTestOptions::check() const {
  require(draws >= 1, "draws", draws, "must be >= 1");
  require(block >= 1, "block", block, "must be >= 1");
  require(asymptotic_from >= 1, "asymptotic_from", asymptotic_from, "must be >= 1");
}

ClassTest class_test(const TrainingOperator& H, const Labels& labels, Index classes,
                     const ClassTestOptions& options) {
  options.check();
  require(static_cast<Index>(labels.size()) == H.size(), "number of labels", labels.size(),
          "must equal the size of the training operator");
  Vector count = Vector::Zero(classes);
  for (const Index label : labels) {
    require(label >= 0 && label < classes, "label", label, "must be 0, ..., number of classes - 1");
    count(label) += 1.0;
  }
  const Vector frequencies = count / static_cast<double>(H.size());
  ClassTest test;
  test.class_p_value = Vector::Constant(classes, std::numeric_limits<double>::quiet_NaN());
  if (frequencies.maxCoeff() >= 1.0) return unidentified(std::move(test), "all rows have the same class");
  if (!distinguishes(H)) return unidentified(std::move(test), "the training operator cannot tell rows apart");
  const Vector lambda = projected_eigenvalues(H, FixedEffects::intercept(H.size()));

  const Matrix E = centred_indicators(labels, frequencies);
  test.class_statistic = quadratic_forms(H, E);
  test.statistic = test.class_statistic.sum();
  add_asymptotic(lambda, frequencies, test);
  const auto smallest = static_cast<Index>((count.array() > 0.0).select(count, H.size()).minCoeff());
  if (smallest < options.asymptotic_from) {
    add_permutations(H, E, frequencies, options, test);
  } else {
    test.log10_p_value = test.log10_p_value_asymptotic;
    test.p_value = std::exp(test.log10_p_value * std::numbers::ln10);
    test.standard_error = 0.0;
  }
  test.outcome = Outcome::converged;
  test.reason = fmt::format("{} null: {} rows in the smallest class", to_string(test.method), smallest);
  if (test.resampled.upper_bound)
    test.reason += "; no permutation reached the statistic, so the p-value is an upper bound";
  return test;
}

}  // namespace gradflow
