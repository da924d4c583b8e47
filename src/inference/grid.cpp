#include <algorithm>
#include <boost/math/tools/toms748_solve.hpp>
#include <cmath>
#include <functional>
#include <numbers>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "gradflow/inference/grid_test.h"
#include "gradflow/spectrum/projected_spectrum.h"

namespace gradflow {
namespace {

constexpr Index draws_per_round = 32;  // from one random stream, all from one operator's Gaussian
constexpr double plain_from = 0.05;

// One operator's event E = { w'(M - q I)w >= 0 } and the Gaussian tilted towards it.
struct Event {
  ProjectedSpectrum spectrum{};
  double ratio = 0.0;     // q
  double log_p = 0.0;     // log Pr(E)
  double tilt = 0.0;      // c
  double cumulant = 0.0;  // K(c)
};

double root_in_unit_interval(const std::function<double(double)>& f, double low, double high) {
  const double at_low = f(low), at_high = f(high);
  if ((at_low > 0.0) == (at_high > 0.0)) return std::abs(at_low) < std::abs(at_high) ? low : high;
  std::uintmax_t iterations = 200;
  const auto root = boost::math::tools::toms748_solve(
      f, low, high, at_low, at_high, boost::math::tools::eps_tolerance<double>(44), iterations);
  return 0.5 * (root.first + root.second);
}

// q with Pr( sum (lambda_i - q) chi2_1 > 0 ) = exp(log_p): the probability falls from 1 at lambda_N to 0 at
// lambda_1.
double ratio_at(const Vector& values, double log_p) {
  const double low = values.minCoeff(), spread = values.maxCoeff() - low;
  const auto excess = [&](double share) {
    return std::max(weighted_chi_square_tail(values.array() - (low + share * spread)).log_p, -1e6) - log_p;
  };
  return low + spread * root_in_unit_interval(excess, 1e-13, 1.0 - 1e-13);
}

// c with K'(c) = sum a_i / (1 - 2 c a_i) = 0 on [0, 1/(2 max a)): under the tilt w'(M - qI)w has mean 0.
void tilt_towards(Event& event) {
  const Eigen::ArrayXd a = event.spectrum.values.array() - event.ratio;
  if (a.sum() >= 0.0 || a.maxCoeff() <= 0.0) return;
  const double limit = 0.5 / a.maxCoeff();
  const auto slope = [&](double share) { return (a / (1.0 - 2.0 * share * limit * a)).sum(); };
  event.tilt = limit * root_in_unit_interval(slope, 0.0, 1.0 - 1e-12);
  event.cumulant = -0.5 * (-2.0 * event.tilt * a).log1p().sum();
}

// What the draws have in common.
class Union {
 public:
  Union(const std::vector<Event>& events, std::uint64_t seed) : events_(events), seed_(seed) {}

  // Draws of block b, from the Gaussian of operator b mod K: log W and the number of events that occur.
  void draw(Index b, Eigen::Ref<Vector> log_weight, Eigen::Ref<Vector> occurred) const {
    const Index K = std::ssize(events_);
    const Event& source = events_[static_cast<std::size_t>(b % K)];
    RandomStream random(seed_, fmt::format("grid test {}", b));
    // U diag(d) U'e: the symmetric root of the covariance, which no choice of eigenvectors changes.
    Matrix g = source.spectrum.coordinates(random.normals(source.spectrum.basis.rows(), draws_per_round));
    const Eigen::ArrayXd precision =
        1.0 - 2.0 * source.tilt * (source.spectrum.values.array() - source.ratio);
    g.array().colwise() *= precision.rsqrt();
    const Matrix w = multiply(source.spectrum.basis, Transpose::no, g, Transpose::no);
    Matrix log_density(K, draws_per_round);  // of each operator's Gaussian relative to N(0, I)
    occurred.setZero();
    for (Index k = 0; k < K; ++k) {
      const Event& event = events_[static_cast<std::size_t>(k)];
      const Matrix z = k == b % K ? g : event.spectrum.coordinates(w);
      const Vector x = z.cwiseAbs2().transpose() * (event.spectrum.values.array() - event.ratio).matrix();
      occurred += (x.array() >= 0.0).cast<double>().matrix();
      log_density.row(k) = (event.tilt * x.array() - event.cumulant).transpose();
    }
    for (Index r = 0; r < draws_per_round; ++r) {
      const double shift = log_density.col(r).maxCoeff();
      log_weight(r) = -shift - std::log((log_density.col(r).array() - shift).exp().mean());
    }
  }

 private:
  const std::vector<Event>& events_;
  std::uint64_t seed_;
};

void estimate(const std::vector<Event>& events, const GridTestOptions& options, GridTest& test) {
  const Index K = std::ssize(events),
              rounds = (options.draws + K * draws_per_round - 1) / (K * draws_per_round);
  test.draws = rounds * K * draws_per_round;
  Vector log_weight(test.draws), occurred(test.draws);
  const Union draws(events, options.seed);
  const SerialBlas serial;
  parallel_for(rounds * K, 1, [&](Index b, Index) {
    draws.draw(b, log_weight.segment(b * draws_per_round, draws_per_round),
               occurred.segment(b * draws_per_round, draws_per_round));
  });
  // share = Pr(union) / sum Pr(E_k)
  const Eigen::ArrayXd any = (occurred.array() > 0.0).cast<double>();
  const Eigen::ArrayXd weight =
      any * (log_weight.array() - (any > 0.0).select(log_weight.array(), -1e300).maxCoeff()).exp();
  const double counted = (weight * occurred.array()).sum();
  double log_total = -std::numeric_limits<double>::infinity();
  for (const Event& event : events)
    log_total = std::max(log_total, event.log_p) + std::log1p(std::exp(-std::abs(log_total - event.log_p)));
  const double share = counted > 0.0 ? weight.sum() / counted : 1.0;
  const double log_p = std::min(log_total + std::log(share), 0.0);
  test.relative_standard_error =
      counted > 0.0 ? (weight * (1.0 - share * occurred.array())).matrix().norm() / (share * counted)
                    : std::numeric_limits<double>::quiet_NaN();
  test.log10_p_value = std::clamp(log_p / std::numbers::ln10, test.log10_smallest_p_value,
                                  std::max(test.log10_bonferroni, test.log10_smallest_p_value));
  test.p_value = std::pow(10.0, test.log10_p_value);
}

// Thresholds and tilts at which every operator's event has the probability of the smallest p.
void set_events(std::vector<Event>& events, double log_smallest, bool plain) {
  parallel_for(std::ssize(events), 1, [&](Index index, Index) {
    Event& event = events[static_cast<std::size_t>(index)];
    if (event.log_p > log_smallest) {
      event.ratio = ratio_at(event.spectrum.values, log_smallest);
      event.log_p = weighted_chi_square_tail(event.spectrum.values.array() - event.ratio).log_p;
    }
    if (!plain) tilt_towards(event);
  });
}

// Every operator's own test, and the events of those that have one. Operators go side by side, each on one
// thread: LAPACK's bits would depend on their number.
std::vector<Event> test_each(const std::vector<const TrainingOperator*>& operators, const FixedEffects& fixed,
                             ConstVector y, GridTest& test) {
  const Vector w = fixed.reduce(y);
  const double squared_norm = w.norm() > 1e-12 * y.norm() ? w.squaredNorm() : 0.0;
  std::vector<Event> events(operators.size()), identified;
  test.tests.resize(operators.size());
  const SerialBlas serial;
  parallel_for(std::ssize(operators), 1, [&](Index index, Index) {
    const auto k = static_cast<std::size_t>(index);
    events[k].spectrum = project(*operators[k], fixed);
    const Vector& values = events[k].spectrum.values;
    const double quadratic = values.dot(events[k].spectrum.coordinates(y).col(0).cwiseAbs2());
    test.tests[k] = score_test(values, {}, quadratic, squared_norm);
    events[k].ratio = quadratic / squared_norm;
    events[k].log_p = test.tests[k].log10_p_value * std::numbers::ln10;
  });
  for (std::size_t k = 0; k < events.size(); ++k) {
    if (test.tests[k].outcome != Outcome::converged) continue;
    if (test.best < 0 ||
        test.tests[k].log10_p_value < test.tests[static_cast<std::size_t>(test.best)].log10_p_value)
      test.best = static_cast<Index>(k);
    identified.push_back(std::move(events[k]));
  }
  return identified;
}

void check(const std::vector<const TrainingOperator*>& operators, const FixedEffects& fixed, ConstVector y) {
  require(!operators.empty(), "number of operators", operators.size(), "must be >= 1");
  for (const TrainingOperator* H : operators) {
    require(H != nullptr, "operator", "null", "every operator must be given");
    require(H->size() == fixed.rows(), "training operator size", H->size(), "must equal the number of rows");
  }
  require(y.size() == fixed.rows(), "number of responses", y.size(), "must equal the number of rows");
  require(y.allFinite(), "response", "not finite", "every response must be finite");
}

}  // namespace

void GridTestOptions::check() const { require(draws >= 1, "grid test draws", draws, "must be >= 1"); }

GridTest grid_test(const std::vector<const TrainingOperator*>& operators, const FixedEffects& fixed,
                   ConstVector y, const GridTestOptions& options) {
  options.check();
  check(operators, fixed, y);
  GridTest test;
  test.seed = options.seed;
  std::vector<Event> events = test_each(operators, fixed, y, test);
  test.compared = std::ssize(events);
  if (events.empty()) {
    test.outcome = Outcome::unidentified;
    test.reason = "no operator has a test: " + test.tests.front().reason;
    return test;
  }
  test.log10_smallest_p_value = test.tests[static_cast<std::size_t>(test.best)].log10_p_value;
  test.log10_bonferroni =
      std::min(0.0, test.log10_smallest_p_value + std::log10(static_cast<double>(events.size())));
  const double log_smallest = test.log10_smallest_p_value * std::numbers::ln10;
  const bool plain = options.sampling == GridSampling::plain ||
                     (options.sampling == GridSampling::automatic && log_smallest > std::log(plain_from));
  test.sampling = plain ? GridSampling::plain : GridSampling::importance;
  set_events(events, log_smallest, plain);
  estimate(events, options, test);
  const bool counted = std::isfinite(test.relative_standard_error);
  test.outcome = Outcome::converged;
  test.reason = counted ? fmt::format("joint null of {} operators, {} draws", events.size(), test.draws)
                        : "no draw reached the smallest p-value: p is Bonferroni's upper bound";
  return test;
}

}  // namespace gradflow
