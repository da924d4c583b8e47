#include "gradflow/inference/residual_check.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"

namespace gradflow {
namespace {

constexpr Index fewest = 8;
constexpr Index draws_per_stream = 64;
constexpr int normality_tests = 3;

struct Statistics {
  double anderson_darling, skewness, kurtosis, lag_one;
};

double lag_one(const Vector& x) {
  const Vector d = x.array() - x.mean();
  return d.head(d.size() - 1).dot(d.tail(d.size() - 1)) / d.squaredNorm();
}

// log Phi(z), without the underflow of the far tail.
double log_normal_cdf(double z) {
  if (z > -30.0) return std::log(0.5 * std::erfc(-z * M_SQRT1_2));
  return -0.5 * z * z - std::log(-z) - 0.5 * std::log(2.0 * M_PI);
}

// -n - 1/n sum (2i - 1) [log Phi(z_(i)) + log(1 - Phi(z_(n+1-i)))]
double anderson_darling(Vector z) {
  std::sort(z.begin(), z.end());
  const Index n = z.size();
  double sum = 0.0;
  for (Index i = 0; i < n; ++i)
    sum += static_cast<double>(2 * i + 1) * (log_normal_cdf(z(i)) + log_normal_cdf(-z(n - 1 - i)));
  return -static_cast<double>(n) - sum / static_cast<double>(n);
}

Statistics statistics(const Vector& x) {
  const auto n = static_cast<double>(x.size());
  const Eigen::ArrayXd d = x.array() - x.mean();
  const double m2 = d.square().mean();
  const double sd = std::sqrt(m2 * n / (n - 1.0));
  return {anderson_darling(d / sd), d.cube().mean() / std::pow(m2, 1.5),
          d.square().square().mean() / (m2 * m2), lag_one(x)};
}

Vector permuted(const Vector& x, RandomStream& random) { return x(random.permutation(x.size())); }

std::vector<Statistics> simulate(const Vector& x, const ResidualCheckOptions& options) {
  std::vector<Statistics> simulated(static_cast<std::size_t>(options.draws));
  const SerialBlas serial;  // draws under the model are products with a matrix
  // One stream for every 64 draws, whatever the number of threads.
  parallel_for(options.draws, draws_per_stream, [&](Index begin, Index end) {
    RandomStream random(options.seed, fmt::format("residual check {}", begin / draws_per_stream));
    Matrix draws;
    if (options.draw_under_model) {
      draws = options.draw_under_model(random, end - begin);
      require(draws.rows() == x.size() && draws.cols() == end - begin, "draw_under_model", draws.rows(),
              "must draw as many residuals");
    }
    for (Index r = begin; r < end; ++r) {
      Statistics& drawn = simulated[static_cast<std::size_t>(r)];
      if (draws.size() > 0) {
        drawn = statistics(draws.col(r - begin));
      } else {
        drawn = statistics(random.normals(x.size()));
        drawn.lag_one = lag_one(permuted(x, random));
      }
    }
  });
  return simulated;
}

// Share of draws at least as large and at least as small, the observed value among them.
struct Tails {
  double upper, lower;
  double two_sided() const { return std::min(1.0, 2.0 * std::min(upper, lower)); }
};
Tails tails(const std::vector<Statistics>& simulated, double Statistics::*member, double observed) {
  double above = 1.0, below = 1.0;
  for (const Statistics& drawn : simulated) {
    above += drawn.*member >= observed ? 1.0 : 0.0;
    below += drawn.*member <= observed ? 1.0 : 0.0;
  }
  const double count = static_cast<double>(simulated.size()) + 1.0;
  return {above / count, below / count};
}

std::string normality_sentence(const ResidualCheck& check, double threshold) {
  const double each = threshold / normality_tests;
  if (check.kurtosis_p_value < each && check.kurtosis > 3.0)
    return fmt::format(
        "The residuals have heavier tails than a normal distribution (kurtosis {:.1f}, p = {:.2g}): prefer "
        "Student t noise or conformal intervals.",
        check.kurtosis, check.kurtosis_p_value);
  if (check.skewness_p_value < each)
    return fmt::format(
        "The residuals are skewed to the {} (skewness {:.2f}, p = {:.2g}): prefer a transformed response or "
        "conformal intervals.",
        check.skewness > 0.0 ? "right" : "left", check.skewness, check.skewness_p_value);
  if (check.kurtosis_p_value < each)
    return fmt::format(
        "The residuals have lighter tails than a normal distribution (kurtosis {:.1f}, p = {:.2g}): normal "
        "intervals are wider than need be.",
        check.kurtosis, check.kurtosis_p_value);
  if (check.anderson_darling_p_value < each)
    return fmt::format(
        "The residuals are not normal (Anderson-Darling {:.2f}, p = {:.2g}): prefer conformal intervals.",
        check.anderson_darling, check.anderson_darling_p_value);
  return fmt::format(
      "The residuals agree with a normal distribution (Anderson-Darling {:.2f}, p = {:.2g}; kurtosis "
      "{:.1f}).",
      check.anderson_darling, check.anderson_darling_p_value, check.kurtosis);
}

std::string dependence_sentence(const ResidualCheck& check) {
  if (check.depends_on_order)
    return fmt::format(
        "Neighbouring rows have {} residuals (lag-one correlation {:.2f} in the order of the rows, p = "
        "{:.2g}): the rows are not independent in this order, and intervals and tests that take them to be "
        "so are too {}; if the order has a meaning, such as time, make it an input.",
        check.lag_one > 0.0 ? "similar" : "opposite", check.lag_one, check.lag_one_p_value,
        check.lag_one > 0.0 ? "sure" : "cautious");
  return fmt::format(
      "Nothing says that residuals depend on the order of the rows (lag-one correlation {:.2f}, p = {:.2g}); "
      "this sees neighbours in the table only.",
      check.lag_one, check.lag_one_p_value);
}

// Rows over the root of P_ii: unit variances.
Matrix unit_rows(Matrix factor) {
  for (Index i = 0; i < factor.rows(); ++i) {
    const double norm = factor.row(i).norm();
    if (norm > 0.0) factor.row(i) /= norm;
  }
  return factor;
}

}  // namespace

void ResidualCheckOptions::check() const {
  require(draws >= 99, "draws", draws, "must be >= 99");
  require(threshold > 0.0 && threshold < 1.0, "threshold", threshold, "must be between 0 and 1");
}

ResidualCheck residual_check(const Vector& residuals, const ResidualCheckOptions& options) {
  options.check();
  require(residuals.allFinite(), "residuals", "not finite", "every residual must be finite");
  ResidualCheck result;
  const auto without = [&](const std::string& sentence) {
    result.outcome = Outcome::unidentified;
    result.normality = result.dependence = sentence;
    return result;
  };
  if (residuals.size() < fewest)
    return without(
        fmt::format("{} residuals are too few to check; {} are needed.", residuals.size(), fewest));
  const double spread = residuals.maxCoeff() - residuals.minCoeff();
  if (!(spread > 1e-12 * residuals.cwiseAbs().maxCoeff()))
    return without("All residuals are equal: there is nothing to check.");
  const Statistics observed = statistics(residuals);
  const std::vector<Statistics> simulated = simulate(residuals, options);
  result.outcome = Outcome::converged;
  result.draws = options.draws;
  result.anderson_darling = observed.anderson_darling;
  result.skewness = observed.skewness;
  result.kurtosis = observed.kurtosis;
  result.lag_one = observed.lag_one;
  result.anderson_darling_p_value =
      tails(simulated, &Statistics::anderson_darling, observed.anderson_darling).upper;
  result.skewness_p_value = tails(simulated, &Statistics::skewness, observed.skewness).two_sided();
  result.kurtosis_p_value = tails(simulated, &Statistics::kurtosis, observed.kurtosis).two_sided();
  result.lag_one_p_value = tails(simulated, &Statistics::lag_one, observed.lag_one).two_sided();
  result.departs_from_normal = std::min({result.anderson_darling_p_value, result.skewness_p_value,
                                         result.kurtosis_p_value}) < options.threshold / normality_tests;
  result.depends_on_order = result.lag_one_p_value < options.threshold;
  result.normality = normality_sentence(result, options.threshold);
  result.dependence = dependence_sentence(result);
  return result;
}

ModelResiduals::ModelResiduals(const ProjectedSpectrum& spectrum, double tau) {
  require(tau >= 0.0 && std::isfinite(tau), "tau", tau, "must be finite and >= 0");
  half_ = (1.0 + tau * spectrum.values.array()).rsqrt();
  factor_ = std::make_shared<const Matrix>(unit_rows(spectrum.basis * half_.asDiagonal()));
}

Vector ModelResiduals::of(const Vector& z) const {
  require(z.size() >= half_.size(), "z.size()", z.size(), "must be at least the eigenvalues");
  return *factor_ * half_.cwiseProduct(z.head(half_.size()));
}

Matrix ModelResiduals::operator()(RandomStream& random, Index count) const {
  return multiply(*factor_, Transpose::no, random.normals(factor_->cols(), count), Transpose::no);
}

}  // namespace gradflow
