#include "operators/hermite_series.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "gradflow/base/linear_algebra.h"

namespace gradflow {
namespace {

constexpr Index max_terms = 1024;
constexpr double tail_tolerance = 1e-13;
constexpr double half_range = 12.5;  // exp(-x^2/4) < 2e-17 beyond
constexpr Index max_nodes = 4096;
constexpr Index block_rows = 1024;

struct Rule {
  Vector nodes;      // x_q >= 0
  Vector weights;    // of E[f(x)] for even f
  Matrix odd, even;  // weights times p_{2m+1}(x_q), p_{2m}(x_q): nodes x terms
};

Rule make_rule(double largest_variance, Index terms) {
  // Wave numbers up to sqrt(degree) from p_k, 9 from the weight and 36/strip from phi must not alias: 36 is
  // the logarithm of the rounding unit.
  const double wave_numbers = std::sqrt(2.0 * static_cast<double>(terms)) + 9.0 +
                              36.0 * std::sqrt(largest_variance) / (std::numbers::pi / 2.0);
  const double step = std::max(2.0 * std::numbers::pi / wave_numbers, half_range / (max_nodes - 1));
  const Index count = static_cast<Index>(half_range / step) + 1;
  Rule rule{Vector::LinSpaced(count, 0.0, step * static_cast<double>(count - 1)), Vector(count),
            Matrix(count, terms), Matrix(count, terms)};
  const auto& x = rule.nodes.array();
  Eigen::ArrayXd now = (-0.25 * x.square()).exp(), before = Eigen::ArrayXd::Zero(count), next(count);
  Eigen::ArrayXd mass = 2.0 * step / std::sqrt(2.0 * std::numbers::pi) * now;
  mass[0] *= 0.5;
  rule.weights = mass * now;
  // sqrt(k+1) g_{k+1} = x g_k - sqrt(k) g_{k-1} for g_k = p_k exp(-x^2/4), which stays bounded.
  for (Index k = 0; k < 2 * terms; ++k) {
    (k % 2 == 0 ? rule.even : rule.odd).col(k / 2) = mass * now;
    const double degree = static_cast<double>(k);
    next = (x * now - std::sqrt(degree) * before) / std::sqrt(degree + 1.0);
    before.swap(now);
    now.swap(next);
  }
  return rule;
}

void set_remainder(Matrix& coefficients, const Vector& mean) {
  const Index terms = coefficients.cols() - 1;
  coefficients.col(terms) =
      (mean - coefficients.leftCols(terms).rowwise().squaredNorm()).cwiseMax(0.0).cwiseSqrt();
}

Index terms_needed(const Eigen::Ref<const Eigen::RowVectorXd>& coefficients) {
  double tail = 0.0;
  Index terms = coefficients.size();
  while (terms > 1 && tail + coefficients[terms - 1] * coefficients[terms - 1] <= tail_tolerance) {
    --terms;
    tail += coefficients[terms] * coefficients[terms];
  }
  return terms;
}

}  // namespace

HermiteCoefficients hermite_coefficients(const Activation& activation, ConstVector variance, Index terms) {
  const Index n = variance.size();
  const Rule rule = make_rule(n == 0 ? 0.0 : variance.maxCoeff(), terms);
  HermiteCoefficients result{Matrix(n, terms + 1), Matrix(n, terms + 1), Vector(n), Vector(n)};
  for (Index begin = 0; begin < n; begin += block_rows) {
    const Index rows = std::min(block_rows, n - begin);
    Matrix values = variance.segment(begin, rows).cwiseSqrt() * rule.nodes.transpose();
    Matrix derivatives(rows, rule.nodes.size());
    activate(activation, values, derivatives);
    multiply(values, Transpose::no, rule.odd, Transpose::no, result.value.block(begin, 0, rows, terms));
    multiply(derivatives, Transpose::no, rule.even, Transpose::no,
             result.derivative.block(begin, 0, rows, terms));
    result.value_mean.segment(begin, rows) = values.cwiseAbs2() * rule.weights;
    result.derivative_mean.segment(begin, rows) = derivatives.cwiseAbs2() * rule.weights;
  }
  set_remainder(result.value, result.value_mean);
  set_remainder(result.derivative, result.derivative_mean);
  return result;
}

Index hermite_terms(const Activation& activation, double largest_variance) {
  const auto at_largest = hermite_coefficients(activation, Vector::Constant(1, largest_variance), max_terms);
  return std::max(terms_needed(at_largest.value.row(0).head(max_terms)),
                  terms_needed(at_largest.derivative.row(0).head(max_terms)));
}

}  // namespace gradflow
