#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <complex>
#include <numbers>
#include <utility>
#include <vector>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "gradflow/inference/binary_test.h"
#include "gradflow/inference/permutation_test.h"
#include "inference/quadratic_forms.h"

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
    const Vector Q = quadratic_forms(H, E);
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

// p = 1/(2 pi i) Int exp(f(s)) ds,  f(s) = K(s) - s x - log s,  K(s) = -1/2 sum log(1 - 2 s a),
// over a parabola that leaves the saddlepoint c of f along the path of steepest descent and bends around the
// cut from 1/(2 max a) to infinity: s = c + i y + (f'''(c) / (6 f''(c))) y^2. The threshold makes exp(f)
// oscillate on a straight line, and fall on this one.
class Exceedance {
 public:
  Exceedance(const Vector& a, double x) : a_(a.array()), x_(x) {
    const double limit = 0.5 / a_.maxCoeff();
    const auto slope = [&](double s) { return (a_ / (1.0 - 2.0 * s * a_)).sum() - x_ - 1.0 / s; };
    double low = 0.0, high = limit;  // f' rises from -infinity to infinity
    for (int i = 0; i < 60; ++i) (slope(0.5 * (low + high)) < 0.0 ? low : high) = 0.5 * (low + high);
    c_ = 0.5 * (low + high);
    const Eigen::ArrayXd b = a_ / (1.0 - 2.0 * c_ * a_);
    const double second = 2.0 * b.square().sum() + 1.0 / (c_ * c_);
    const double third = 8.0 * b.cube().sum() - 2.0 / (c_ * c_ * c_);
    width_ = 1.0 / std::sqrt(second);
    bend_ = std::max(third / (6.0 * second), 0.25 * b.maxCoeff());  // always around the cut
  }

  double log_p() const {
    const double at_saddle = exponent(c_).real();
    // 1/pi Re Int_0^inf exp(f(s)) ds/(i dy) dy by the trapezoidal rule, halved until it stops moving.
    const auto term = [&](double y) {
      const std::complex<double> s(c_ + bend_ * y * y, y), slope(1.0, -2.0 * bend_ * y);
      return std::exp(exponent(s) - at_saddle) * slope;
    };
    const auto part = [&](double first, double step) {
      double sum = 0.0;
      for (double y = first; y < 1e4 * width_; y += step) {
        const std::complex<double> value = term(y);
        sum += value.real();
        if (std::abs(value) < 1e-17) break;
      }
      return sum;
    };
    double step = 0.5 * width_, sum = 0.5 + part(step, step), integral = step * sum, change = 1.0;
    for (int halving = 0; halving < 6 && change > 1e-12; ++halving) {
      sum += part(0.5 * step, step);
      step *= 0.5;
      change = std::abs(step * sum / integral - 1.0);
      integral = step * sum;
    }
    return std::min(at_saddle + std::log(integral / std::numbers::pi), 0.0);
  }

 private:
  std::complex<double> exponent(std::complex<double> s) const {
    std::complex<double> K = 0.0;
    for (const double a : a_) K -= 0.5 * std::log(1.0 - 2.0 * s * a);
    return K - s * x_ - std::log(s);
  }

  Eigen::ArrayXd a_;
  double x_, c_ = 0.0, width_ = 0.0, bend_ = 0.0;
};

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
  require(weights.size() > 0 && weights.maxCoeff() > 0.0 && weights.minCoeff() >= 0.0, "weights",
          weights.size(), "must be >= 0, and one of them > 0");
  // In units of the largest weight; zeros add nothing.
  const double largest = weights.maxCoeff();
  std::vector<double> present;
  for (const double weight : weights)
    if (weight > 0.0) present.push_back(weight / largest);
  return Exceedance(Eigen::Map<const Vector>(present.data(), std::ssize(present)), threshold / largest)
      .log_p();
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
  test.statistic = quadratic_forms(H, y - null.probabilities)(0);
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
