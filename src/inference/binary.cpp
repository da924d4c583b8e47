#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "gradflow/inference/binary_test.h"
#include "gradflow/inference/permutation_test.h"
#include "gradflow/inference/score.h"

namespace gradflow {
namespace {

constexpr double largest_logit = 30.0;

Vector probabilities_at(const Vector& logit) { return (1.0 + (-logit.array()).exp()).inverse(); }

// sum y eta - log(1 + exp(eta)), without overflow.
double log_likelihood(ConstVector y, const Vector& logit) {
  const auto eta = logit.array();
  return (y.array() * eta - eta.max(0.0) - (-eta.abs()).exp().log1p()).sum();
}

BinaryTest unidentified(BinaryTest test, std::string reason) {
  test.outcome = Outcome::unidentified;
  test.reason = std::move(reason);
  return test;
}

bool intercept_alone(const FixedEffects& fixed) {
  return fixed.count() == 1 && (fixed.design().array() == fixed.design()(0, 0)).all();
}

// Eigenvalues of S^1/2 H S^1/2: those of W^1/2 H W^1/2 off the columns of W^1/2 X.
Vector null_eigenvalues(const TrainingOperator& H, const Matrix& X, const Vector& mu) {
  const Vector root = (mu.array() * (1.0 - mu.array())).sqrt();
  std::vector<std::string> names(static_cast<std::size_t>(X.cols()), "covariate");
  const FixedEffects weighted(root.asDiagonal() * X, std::move(names));
  const Vector values =
      symmetric_eigenvalues(weighted.project(root.asDiagonal() * H.matrix() * root.asDiagonal()));
  const double rounding = static_cast<double>(values.size()) * 1e-15 * std::max(values.maxCoeff(), 0.0);
  return (values.array() <= rounding).select(0.0, values);
}

// Q of every column of E.
Vector forms(const TrainingOperator& H, const Matrix& E) {
  Matrix HE(E.rows(), E.cols());
  H.apply(E, HE);
  return E.cwiseProduct(HE).colwise().sum().transpose();
}

struct Bootstrap {
  Index reached = 0, separated = 0;
};

// Responses from the fitted null, each with its own fit.
Bootstrap bootstrap(const TrainingOperator& H, const Matrix& X, const LogisticFit& null, double observed,
                    const BinaryTestOptions& options) {
  Bootstrap tally;
  const Index n = X.rows();
  for (Index first = 0; first < options.draws; first += options.block) {
    const Index columns = std::min(options.block, options.draws - first);
    Matrix E = Matrix::Zero(n, columns);
    Vector separated = Vector::Zero(columns);
    parallel_for(columns, 8, [&](Index begin, Index end) {
      for (Index j = begin; j < end; ++j) {
        RandomStream random(options.seed, fmt::format("binary test {}", first + j));
        Vector y(n);
        for (Index i = 0; i < n; ++i) y(i) = random.uniform() < null.probabilities(i) ? 1.0 : 0.0;
        const LogisticFit fit = fit_logistic(X, y, null.coefficients);
        separated(j) = fit.separated ? 1.0 : 0.0;
        if (!fit.separated) E.col(j) = y - fit.probabilities;
      }
    });
    const Vector Q = forms(H, E);
    tally.separated += static_cast<Index>(separated.sum());
    tally.reached += (separated.array() > 0.0 || Q.array() >= observed * (1.0 - 1e-10)).count();
  }
  return tally;
}

void add_asymptotic(const Vector& values, BinaryTest& test) {
  const double log_p = log_weighted_chi_square_above(values, test.statistic);
  test.log10_p_value_asymptotic = log_p / std::numbers::ln10;
  test.p_value_asymptotic = std::exp(log_p);
}

void recommend(const BinaryTestOptions& options, BinaryTest& test) {
  const Index smaller = std::min(test.zeros, test.ones);
  const bool asymptotic = smaller >= options.asymptotic_from;
  test.outcome = Outcome::converged;
  test.recommended = asymptotic ? BinaryNull::asymptotic : test.resampling;
  test.p_value = asymptotic ? test.p_value_asymptotic : test.resampled.p_value;
  test.log10_p_value = asymptotic ? test.log10_p_value_asymptotic : test.resampled.log10_p_value;
  test.standard_error = asymptotic ? 0.0 : test.resampled.standard_error;
  test.reason =
      fmt::format("{} null: {} responses in the smaller class", to_string(test.recommended), smaller);
  if (!asymptotic && test.resampled.upper_bound)
    test.reason += "; no draw reached the statistic, so the p-value is an upper bound";
}

void check(const TrainingOperator& H, const FixedEffects& fixed, ConstVector y) {
  require(H.size() == fixed.rows(), "training operator size", H.size(), "must equal the number of rows");
  require(y.size() == fixed.rows(), "number of responses", y.size(), "must equal the number of rows");
  for (const double value : y) require(value == 0.0 || value == 1.0, "response", value, "must be 0 or 1");
}

}  // namespace

std::string_view to_string(BinaryNull null) {
  switch (null) {
    case BinaryNull::asymptotic: return "asymptotic";
    case BinaryNull::permutation: return "permutation";
    case BinaryNull::bootstrap: return "bootstrap";
  }
  throw InternalError("unnamed null distribution");
}

void BinaryTestOptions::check() const {
  require(draws >= 1, "binary test draws", draws, "must be >= 1");
  require(block >= 1, "binary test block", block, "must be >= 1");
  require(smallest_class >= 1, "binary test smallest_class", smallest_class, "must be >= 1");
}

double log_weighted_chi_square_above(const Vector& weights, double threshold) {
  require(threshold > 0.0, "threshold", threshold, "must be > 0");
  constexpr double many = 1e10;
  Vector all(weights.size() + 1), multiplicity = Vector::Ones(weights.size() + 1);
  all << weights, -threshold / many;
  multiplicity(weights.size()) = many;
  return weighted_chi_square_tail(all, multiplicity).log_p;
}

LogisticFit fit_logistic(ConstBlock X, ConstVector y, const Vector& start) {
  const Index q = X.cols();
  LogisticFit fit{.coefficients = start.size() > 0 ? start : Vector(Vector::Zero(q))};
  Vector logit = X * fit.coefficients;
  double likelihood = log_likelihood(y, logit);
  for (fit.iterations = 0; fit.iterations < 100; ++fit.iterations) {
    fit.probabilities = probabilities_at(logit);
    if (q == 0) return fit;
    const Vector weight = fit.probabilities.array() * (1.0 - fit.probabilities.array());
    const Eigen::LLT<Matrix> information(X.transpose() * weight.asDiagonal() * X);
    if (information.info() != Eigen::Success || logit.cwiseAbs().maxCoeff() > largest_logit) break;
    Vector step = information.solve(X.transpose() * (y - fit.probabilities));
    Vector moved = X * step;
    if (moved.cwiseAbs().maxCoeff() <= 1e-9) return fit;
    // The likelihood is concave: some part of Newton's step raises it.
    double next = log_likelihood(y, logit + moved);
    for (int halving = 0; halving < 40 && !(next >= likelihood - 1e-12 * std::abs(likelihood)); ++halving) {
      step *= 0.5;
      moved *= 0.5;
      next = log_likelihood(y, logit + moved);
    }
    fit.coefficients += step;
    logit += moved;
    likelihood = next;
  }
  fit.separated = true;
  return fit;
}

BinaryTest binary_test(const TrainingOperator& H, const FixedEffects& fixed, ConstVector y,
                       const BinaryTestOptions& options) {
  options.check();
  check(H, fixed, y);
  BinaryTest test;
  test.ones = static_cast<Index>(y.sum());
  test.zeros = y.size() - test.ones;
  if (std::min(test.ones, test.zeros) < options.smallest_class)
    return unidentified(test, fmt::format("only {} of {} responses are in the smaller class: at least {} are "
                                          "needed",
                                          std::min(test.ones, test.zeros), y.size(), options.smallest_class));
  // The same column space with columns of size 1: the fit does not depend on the covariates' scales.
  const Matrix X = std::sqrt(static_cast<double>(y.size())) * fixed.orthonormal_design();
  const LogisticFit null = fit_logistic(X, y);
  test.iterations = null.iterations;
  if (null.separated)
    return unidentified(test,
                        "the fixed effects separate the two classes: the logistic null model has no finite "
                        "fit; leave out the covariate that predicts the response without error");
  test.statistic = forms(H, y - null.probabilities)(0);
  const Vector values = null_eigenvalues(H, X, null.probabilities);
  if (!(values.maxCoeff() > 0.0) || !(test.statistic > 0.0))
    return unidentified(test, "the training operator is zero after the fixed effects");
  add_asymptotic(values, test);
  if (intercept_alone(fixed)) {
    const PermutationTest permuted =
        permutation_test(H, fixed, y, {.draws = options.draws, .seed = options.seed, .block = options.block});
    if (!usable(permuted.outcome)) return unidentified(test, permuted.reason);
    test.resampling = BinaryNull::permutation;
    test.resampled = permuted.resampled;
  } else {
    const Bootstrap tally = bootstrap(H, X, null, test.statistic, options);
    test.resampling = BinaryNull::bootstrap;
    test.separated_draws = tally.separated;
    test.resampled = resampled_p_value(tally.reached, options.draws, options.seed);
  }
  recommend(options, test);
  return test;
}

}  // namespace gradflow
