#include "gradflow/inference/flow_bracket.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/special_values.h"
#include "gradflow/inference/reml.h"

namespace gradflow {
namespace {

constexpr double allowance_units = 64.0;

// log sum_j w_j exp(-t x_j)
double log_laplace(const Quadrature& rule, double t) {
  if (rule.nodes.size() == 0) return -infinity;
  const Eigen::ArrayXd exponent =
      (rule.weights.array() > 0.0).select(rule.weights.array().log() - t * rule.nodes.array(), -infinity);
  const double shift = exponent.maxCoeff();
  return std::isfinite(shift) ? shift + std::log((exponent - shift).exp().sum()) : -infinity;
}

// The rule of a measure and of a mass at 0 beside it.
Quadrature beside_zero(Quadrature rule, double null_squares) {
  if (!(null_squares > 0.0)) return rule;
  rule.nodes.conservativeResize(rule.nodes.size() + 1);
  rule.weights.conservativeResize(rule.nodes.size());
  rule.nodes(rule.nodes.size() - 1) = 0.0;
  rule.weights(rule.nodes.size() - 1) = null_squares;
  return rule;
}

class SlopeBounds {
 public:
  SlopeBounds(const Tridiagonal& T, double mass, double trace, double dimension, double null_squares)
      : trace_(trace),
        dimension_(dimension),
        log_mass_(std::log(mass + null_squares)),
        A_lower_(beside_zero(gauss_rule(T, mass), null_squares)),
        A_upper_(beside_zero(radau_rule(T, mass), null_squares)) {
    largest_ = A_lower_.nodes.cwiseMax(0.0).maxCoeff();
    A_lower_.nodes = A_lower_.nodes.cwiseMax(0.0);
    if (T.next == 0.0) {  // an invariant space: the Gauss rule is exact

      B_lower_ = B_upper_ = {A_lower_.nodes, A_lower_.weights.cwiseProduct(A_lower_.nodes)};
      return;
    }
    const Tridiagonal moment = first_moment(T);
    if (moment.size() == 0) {
      // lambda dmu by the Radau rule of mu: a lower bound still; none from above.
      B_lower_ = {A_upper_.nodes, A_upper_.weights.cwiseProduct(A_upper_.nodes)};
      return;
    }
    const double mean = mass * T.diagonal(0);
    B_lower_ = gauss_rule(moment, mean);
    if (moment.size() > 1) B_upper_ = radau_rule(moment.leading(moment.size() - 1), mean);
    B_lower_.nodes = B_lower_.nodes.cwiseMax(0.0);
  }

  // Q' is surely >= this.
  double at_least(double t) const {
    if (B_upper_.nodes.size() == 0) return -infinity;
    const double pull = dimension_ * std::exp(log_laplace(B_upper_, t) - log_laplace(A_lower_, t));
    return trace_ - pull - allowance(t, pull);
  }
  // Q' is surely <= this.
  double at_most(double t) const {
    const double pull = dimension_ * std::exp(log_laplace(B_lower_, t) - log_laplace(A_upper_, t));
    return trace_ - pull + allowance(t, pull);
  }

  double allowance(double t, double pull) const {
    const double log_lost = 0.5 * (log_mass_ - t * A_lower_.nodes(0) - log_laplace(A_lower_, t));  // >= 0
    return allowance_units * std::numeric_limits<double>::epsilon() *
           (1.0 + t * largest_ / (1.0 + std::max(0.0, log_lost))) * std::exp(log_lost) * (trace_ + pull);
  }

 private:
  double trace_, dimension_, log_mass_, largest_ = 0.0;
  Quadrature A_lower_, A_upper_, B_lower_, B_upper_;
};

// Outwards from t by growing factors until certain(t); then halfway back as long as it stays certain.
template <typename Certain>
double certain_end(double t, double direction, double none, Certain&& certain) {
  constexpr double smallest = 1e-15, largest = 100.0;
  double step = smallest;
  while (step < largest && !certain(t * std::exp(direction * step))) step *= 4.0;
  if (step >= largest) return none;
  double outside = step, inside = 0.25 * step;
  for (int halving = 0; halving < 4; ++halving) {
    const double middle = 0.5 * (outside + inside);
    (certain(t * std::exp(direction * middle)) ? outside : inside) = middle;
  }
  return t * std::exp(direction * outside);
}

}  // namespace

double FlowBracket::relative_width() const {
  if (upper == 0.0) return 0.0;
  return lower > 0.0 ? upper / lower - 1.0 : infinity;
}

FlowBracket bracket_flow_time(const Tridiagonal& T, double mass, double trace, double dimension,
                              double null_squares) {
  FlowBracket bracket{0.0, infinity, 0.0};
  if (T.size() == 0 || !(mass > 0.0) || !(trace > 0.0)) return bracket;
  const SlopeBounds slope(T, mass, trace, dimension, null_squares);
  SpectralData data;
  const Quadrature gauss = beside_zero(gauss_rule(T, mass), null_squares);
  data.values = gauss.nodes.cwiseMax(0.0);
  data.z = gauss.weights.cwiseSqrt();
  data.multiplicity =
      Vector::Constant(data.values.size(), dimension / static_cast<double>(data.values.size()));
  data.trace = trace;
  bracket.estimate = flow_time(data);
  if (slope.at_least(0.0) > 0.0) bracket.upper = 0.0;
  if (bracket.upper == 0.0 || std::isinf(bracket.estimate)) return bracket;
  if (bracket.estimate > 0.0) {
    const double t = bracket.estimate, step = 1e-4 * t;
    const double curvature = (flow_slope(data, t + step) - flow_slope(data, t - step)) / (2.0 * step);
    bracket.rounding = 2.0 * slope.allowance(t, trace) / (t * curvature);
  }
  // Where the estimate is 0 or near it, the ends are sought from the time scale of one eigenvalue.
  const double from = std::max(bracket.estimate, 1e-12 * dimension / trace);
  bracket.upper = certain_end(from, 1.0, infinity, [&](double t) { return slope.at_least(t) > 0.0; });
  if (bracket.estimate > 0.0)
    bracket.lower = certain_end(from, -1.0, 0.0, [&](double t) { return slope.at_most(t) < 0.0; });
  return bracket;
}

double flow_fit_error(const Tridiagonal& T, double time) {
  const Index k = T.size();
  if (k == 0 || T.next == 0.0 || time == 0.0) return 0.0;
  if (!std::isfinite(time)) return infinity;
  const Ritz pairs = ritz(T);
  const Vector dual = Path{.kind = PathKind::flow, .time = time}.dual(pairs.values.cwiseMax(0.0));
  return T.next *
         std::abs((pairs.vectors.row(0).array() * pairs.vectors.row(k - 1).array() * dual.transpose().array())
                      .sum());
}

}  // namespace gradflow
