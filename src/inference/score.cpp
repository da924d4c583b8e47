#include "gradflow/inference/score.h"

#include <boost/math/special_functions/gamma.hpp>
#include <boost/math/tools/toms748_solve.hpp>
#include <cmath>
#include <numbers>
#include <vector>

#include "base/special_values.h"
#include "gradflow/base/error.h"

namespace gradflow {
namespace {

// sum m_i a_i chi2_1: weights and how often each occurs.
struct WeightedSum {
  Eigen::ArrayXd weight, count;

  double mean() const { return (weight * count).sum(); }
  WeightedSum negated() const { return {-weight, count}; }
  double cumulant(double s) const { return -0.5 * (count * (-2.0 * s * weight).log1p()).sum(); }
};

// K(c + iu)'s integrand relative to its value at u = 0, exp(K(c))/c:
//   Re exp(K(c+iu) - K(c)) / (1 + iu/c),  log(1 - 2(c+iu)a) = log(1 - 2ca) + log(1 - iub),  b = 2a/(1 - 2ca)
class Integrand {
 public:
  Integrand(const WeightedSum& sum, double c)
      : c_(c),
        b_(2.0 * sum.weight / (1.0 - 2.0 * c * sum.weight)),
        count_(sum.count),
        simple_((sum.count == 1.0).all()) {}

  struct Value {
    double real;     // of the integrand
    double modulus;  // decides where the sum may stop
  };

  Value operator()(double u) const {
    const auto [log_modulus, phase] = simple_ ? simple_exponent(u) : exponent(u);
    const double r = u / c_, modulus = std::exp(log_modulus);
    return {modulus * (std::cos(phase) + r * std::sin(phase)) / (1.0 + r * r),
            modulus / std::sqrt(1.0 + r * r)};
  }

  // sum m a^2 / (1 - 2ca)^2 = K''(c)/2
  double curvature() const { return 0.5 * (count_ * b_.square()).sum(); }

 private:
  struct Exponent {
    double log_modulus, phase;
  };

  Exponent exponent(double u) const {
    Exponent sum{0.0, 0.0};
    for (Index i = 0; i < b_.size(); ++i) {
      const double bu = b_(i) * u;
      sum.log_modulus -= 0.25 * count_(i) * std::log1p(bu * bu);
      sum.phase += 0.5 * count_(i) * std::atan(bu);
    }
    return sum;
  }

  // |1 - iub|^2 is multiplied up sixteen at a time: one logarithm for all of them.
  Exponent simple_exponent(double u) const {
    double log_modulus = 0.0, phase = 0.0, product = 1.0;
    for (Index i = 0; i < b_.size(); ++i) {
      const double bu = b_(i) * u;
      product *= 1.0 + bu * bu;
      if (i % 16 == 15 || product > 1e60) {
        log_modulus -= 0.25 * std::log(product);
        product = 1.0;
      }
      phase += 0.5 * std::atan(bu);
    }
    return {log_modulus - 0.25 * std::log(product), phase};
  }

  double c_;
  Eigen::ArrayXd b_, count_;
  bool simple_;
};

// K'(c) = 1/c on (0, 1/(2 max a)): K' - 1/s increases from -inf to +inf.
double saddlepoint(const WeightedSum& sum) {
  const double limit = 0.5 / sum.weight.maxCoeff();
  const auto slope = [&](double share) {
    const double s = share * limit;
    return (sum.count * sum.weight / (1.0 - 2.0 * s * sum.weight)).sum() - 1.0 / s;
  };
  const double low = 1e-14, high = 1.0 - 1e-14;
  if (slope(low) >= 0.0) return low * limit;
  if (slope(high) <= 0.0) return high * limit;
  std::uintmax_t iterations = 200;
  const auto root = boost::math::tools::toms748_solve(
      slope, low, high, boost::math::tools::eps_tolerance<double>(30), iterations);
  return 0.5 * (root.first + root.second) * limit;
}

// Sum over the odd (or, first time, all) multiples of h of f(sigma sinh v) cosh v, truncated where it has
// died out.
double trapezoid_part(const Integrand& f, double sigma, double first, double step, Index& nodes) {
  double sum = 0.0;
  for (double v = first; v < 60.0; v += step) {
    const double u = sigma * std::sinh(v);
    const Integrand::Value value = f(u);
    sum += value.real * std::cosh(v);
    ++nodes;
    if (value.modulus * std::cosh(v) < 1e-18) break;
  }
  return sum;
}

TailProbability upper_tail(const WeightedSum& weighted) {
  const double c = saddlepoint(weighted);
  const Integrand f(weighted, c);
  const double sigma = 1.0 / std::sqrt(2.0 * f.curvature() + 1.0 / (c * c));
  Index nodes = 1;
  double step = 0.5;
  double sum = 0.5 + trapezoid_part(f, sigma, step, step, nodes);
  double integral = step * sum, error = infinity;
  for (int halving = 0; halving < 9 && error > 1e-13; ++halving) {
    sum += trapezoid_part(f, sigma, 0.5 * step, step, nodes);
    step *= 0.5;
    error = std::abs(step * sum / integral - 1.0);
    integral = step * sum;
  }
  return {weighted.cumulant(c) + std::log(sigma * integral / (std::numbers::pi * c)), error, nodes};
}

// log Pr(chi2_nu > x), by the continued fraction's leading terms where the tail underflows.
double log_chi_square_tail(double x, double nu) {
  const double p = boost::math::gamma_q(0.5 * nu, 0.5 * x);
  if (p > 1e-290) return std::log(p);
  const double a = 0.5 * nu, y = 0.5 * x;
  double fraction = 0.0;  // Gamma(a, y) = y^a e^-y / (y + (1-a)/(1 + 1/(y + (2-a)/(1 + ...))))
  for (int k = 200; k >= 1; --k) fraction = (k - a) / (1.0 + k / (y + fraction));
  return a * std::log(y) - y - std::log(y + fraction) - std::lgamma(a);
}

void satterthwaite(const Vector& values, const Vector& count, double statistic, ScoreTest& test) {
  const double trace = values.dot(count), trace_of_square = values.cwiseAbs2().dot(count);
  test.satterthwaite_scale = trace_of_square / (2.0 * trace);
  test.satterthwaite_dof = trace * trace / trace_of_square;
  const double log_p =
      log_chi_square_tail(0.5 * statistic / test.satterthwaite_scale, test.satterthwaite_dof);
  test.p_value_satterthwaite = std::exp(log_p);
  test.log10_p_value_satterthwaite = log_p / std::numbers::ln10;
}

ScoreTest unidentified_score(std::string reason) {
  ScoreTest test;
  test.outcome = Outcome::unidentified;
  test.reason = std::move(reason);
  return test;
}

}  // namespace

TailProbability weighted_chi_square_tail(const Vector& weights, const Vector& multiplicity) {
  require(weights.size() > 0, "weights", weights.size(), "must have at least one entry");
  WeightedSum sum{weights, Eigen::ArrayXd::Ones(weights.size())};
  if (multiplicity.size() > 0) {
    require(multiplicity.size() == weights.size(), "multiplicities", multiplicity.size(),
            "must be as many as the weights");
    std::vector<Index> present;
    for (Index i = 0; i < weights.size(); ++i)
      if (multiplicity(i) > 0.0) present.push_back(i);
    sum = {weights(present), multiplicity(present)};
  }
  if (sum.weight.size() == 0 || sum.weight.maxCoeff() <= 0.0) return {-infinity, 0.0, 0};
  if (sum.weight.minCoeff() >= 0.0) return {0.0, 0.0, 0};
  if (sum.mean() <= 0.0) return upper_tail(sum);
  const TailProbability lower = upper_tail(sum.negated());
  const double q = std::exp(lower.log_p);
  return {std::log1p(-q), lower.relative_error * q / (1.0 - q), lower.nodes};
}

ScoreTest score_test(const Vector& values, const Vector& multiplicity, double quadratic, double squared_norm,
                     PValueMethod method) {
  const Vector count = multiplicity.size() > 0 ? multiplicity : Vector(Vector::Ones(values.size()));
  const double N = count.sum();
  if (!(squared_norm > 0.0))
    return unidentified_score("the fixed effects explain the response exactly: nothing is left to test");
  const double largest = values.maxCoeff(), spread = largest - values.minCoeff();
  if (!(largest > 0.0)) return unidentified_score("the training operator is zero after the fixed effects");
  if (spread <= 1e-12 * N * largest)
    return unidentified_score(
        "all eigenvalues of the training operator are equal: the statistic is constant under any signal");
  ScoreTest test;
  test.method = method;
  test.statistic = N * quadratic / squared_norm;
  // A ratio that rounding put outside [lambda_N, lambda_1] is at the end of that range.
  Vector weights = values.array() - test.statistic / N;
  weights = (weights.array().abs() < 1e-14 * largest).select(0.0, weights);
  const TailProbability tail = weighted_chi_square_tail(weights, multiplicity);
  test.log10_p_value_exact = tail.log_p / std::numbers::ln10;
  test.p_value_exact = std::exp(tail.log_p);
  test.relative_error = tail.relative_error;
  test.quadrature_nodes = tail.nodes;
  satterthwaite(values, count, test.statistic, test);
  const bool exact = method == PValueMethod::exact;
  test.p_value = exact ? test.p_value_exact : test.p_value_satterthwaite;
  test.log10_p_value = exact ? test.log10_p_value_exact : test.log10_p_value_satterthwaite;
  test.outcome = tail.relative_error <= 1e-8 || !exact ? Outcome::converged : Outcome::iteration_limit;
  test.reason = exact ? fmt::format("contour integral of the exact null distribution, {} nodes", tail.nodes)
                      : "two-moment approximation with a plug-in variance";
  return test;
}

}  // namespace gradflow
