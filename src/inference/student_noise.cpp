#include <algorithm>
#include <boost/math/special_functions/digamma.hpp>
#include <cmath>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/inference/noise_models.h"

namespace gradflow {
namespace {

void check_complete(const WeightedFit& fit, Index n) {
  require(fit.residuals.size() == n, "residuals of the refit", fit.residuals.size(), "must be one per row");
  require(fit.variances.size() == n, "variances of the refit", fit.variances.size(), "must be one per row");
  require(fit.noise_variance > 0.0 && std::isfinite(fit.noise_variance), "noise variance of the refit",
          fit.noise_variance, "must be positive and finite");
}

// V_i = var_i - s_i: of f_i given the other rows.
Vector latent_variances(const WeightedFit& fit, const Vector& weights) {
  return (fit.variances.array() - fit.noise_variance * weights.array().inverse()).max(0.0);
}

Vector log_scores(const WeightedFit& fit, const Vector& weights, double dof) {
  const Vector latent = latent_variances(fit, weights);
  Vector scores(weights.size());
  for (Index i = 0; i < weights.size(); ++i)
    scores(i) = log_student_convolution(fit.residuals(i), latent(i), fit.noise_variance, dof);
  return scores;
}

struct Attempt {
  StudentCandidate candidate;
  std::string reason;
  Vector weights, scores;
  WeightedFit fit;
};

Attempt attempt(const WeightedRefit& refit, const Vector& start, double dof,
                const StudentNoiseOptions& options) {
  Attempt result;
  result.candidate.dof = dof;
  result.weights = std::isinf(dof) ? Vector::Ones(start.size()) : start;
  result.candidate.outcome = Outcome::iteration_limit;
  result.reason = fmt::format("the weights did not settle in {} refits", options.max_iterations);
  for (int iteration = 0; iteration < options.max_iterations; ++iteration) {
    result.fit = refit(result.weights);
    ++result.candidate.iterations;
    if (!usable(result.fit.outcome)) {
      result.candidate.outcome = result.fit.outcome;
      result.reason = result.fit.reason;
      return result;
    }
    const Vector next = student_t_weights(result.fit, result.weights, dof);
    result.candidate.last_change = (next - result.weights).cwiseAbs().maxCoeff();
    if (result.candidate.last_change <= options.tolerance) {
      // The fit belongs to the weights that it was given, which are settled.
      result.candidate.outcome = Outcome::converged;
      break;
    }
    if (iteration + 1 < options.max_iterations) result.weights = next;
  }
  result.candidate.bound = student_bound(result.fit, result.weights, dof);
  result.scores = log_scores(result.fit, result.weights, dof);
  result.candidate.log_score = result.scores.sum();
  return result;
}

std::string describe(const StudentNoise& noise, bool given) {
  if (given)
    return fmt::format(
        "Student t noise with {:g} degrees of freedom, as given: log likelihood {:.1f} above that of normal "
        "noise (a lower bound)",
        noise.dof, noise.bound_gain);
  if (std::isinf(noise.dof))
    return "normal noise explains the data at least as well as every Student t tried";
  return fmt::format(
      "Student t noise with {:g} degrees of freedom explains the data better than normal noise: log "
      "likelihood {:.1f} higher (a lower bound), leave-one-out log score {:.1f} higher (standard error "
      "{:.1f}); {} of {} rows have a weight below 1/4",
      noise.dof, noise.bound_gain, noise.score_gain, noise.score_gain_standard_error,
      (noise.weights.array() < 0.25).count(), noise.weights.size());
}

}  // namespace

void StudentNoiseOptions::check() const {
  for (const double nu : dof) require(nu > 2.0, "dof", nu, "must be > 2");
  require(!given || dof.size() == 1, "dof.size()", dof.size(), "must be 1 where dof is given");
  require(max_iterations >= 1, "max_iterations", max_iterations, "must be >= 1");
  require(tolerance > 0.0, "tolerance", tolerance, "must be positive");
}

std::pair<double, double> score_gain(const Vector& scores, const Vector& reference) {
  const Vector difference = scores - reference;
  const auto n = static_cast<double>(difference.size());
  const double variance = (difference.array() - difference.mean()).square().sum() / (n - 1.0);
  return {difference.sum(), std::sqrt(n * variance)};
}

double student_bound(const WeightedFit& fit, const Vector& weights, double dof) {
  if (std::isinf(dof)) return fit.log_likelihood;
  const double a = 0.5 * (dof + 1.0), prior = 0.5 * dof, psi = boost::math::digamma(a);
  // KL(Gamma(a, b) | Gamma(p, p)), b = a/w: (a - p) psi(a) - lgamma(a) + lgamma(p) + p log(b/p) + a (p - b)/b
  const Eigen::ArrayXd b = a / weights.array();
  const Eigen::ArrayXd divergence = (a - prior) * psi - std::lgamma(a) + std::lgamma(prior) +
                                    prior * (b / prior).log() + a * (prior - b) / b;
  return fit.log_likelihood + (0.5 * (psi - std::log(a)) - divergence).sum();
}

double log_student_convolution(double e, double V, double s2, double dof) {
  const double log_two_pi = std::log(2.0 * M_PI);
  if (std::isinf(dof)) return -0.5 * (log_two_pi + std::log(V + s2) + e * e / (V + s2));
  // In x = log q: at d below its leftmost possible peak the integrand is down by exp(-(nu + 1)/2 (d - 1 +
  // exp(-d))), above 0 by exp(-nu/2 (exp(x) - 1 - x)): cut where exp(-32) is left.
  const double leftmost_peak = std::log((dof + 1.0) / (dof + e * e / s2));
  const double low = std::min(0.0, leftmost_peak) - 64.0 / (dof + 1.0) - 1.0;
  const double high = std::log1p(64.0 / dof + 12.0 * std::sqrt(2.0 / dof));
  // A step of 0.4 standard deviations of log q: the trapezoidal rule's error is far below rounding.
  const double width = 0.4 * std::sqrt(2.0 / (dof + 1.0));
  const auto intervals = static_cast<Index>(std::clamp((high - low) / width, 100.0, 4000.0));
  const double step = (high - low) / static_cast<double>(intervals);
  const Eigen::ArrayXd x = Eigen::ArrayXd::LinSpaced(intervals + 1, low, high);
  const Eigen::ArrayXd variance = V + s2 * (-x).exp();
  const Eigen::ArrayXd terms =
      0.5 * dof * (x - x.exp()) - 0.5 * (log_two_pi + variance.log() + e * e / variance);
  const double largest = terms.maxCoeff();
  return 0.5 * dof * std::log(0.5 * dof) - std::lgamma(0.5 * dof) + largest +
         std::log(step * (terms - largest).exp().sum());
}

Vector student_t_weights(const WeightedFit& fit, const Vector& weights, double dof) {
  require(dof > 0.0, "dof", dof, "must be positive");
  check_complete(fit, weights.size());
  if (std::isinf(dof)) return Vector::Ones(weights.size());
  const double s2 = fit.noise_variance;
  const Eigen::ArrayXd k = s2 / (weights.array() * fit.variances.array());
  const Eigen::ArrayXd d = (k * fit.residuals.array()).square() + k * latent_variances(fit, weights).array();
  return (dof + 1.0) / (dof + d / s2);
}

StudentNoise student_noise(const WeightedRefit& refit, Index n, const StudentNoiseOptions& options) {
  options.check();
  require(n >= 2, "n", n, "must be >= 2");
  std::vector<double> grid = options.dof;
  grid.push_back(std::numeric_limits<double>::infinity());
  std::sort(grid.begin(), grid.end(), std::greater<>());
  grid.erase(std::unique(grid.begin(), grid.end()), grid.end());
  StudentNoise result;
  Vector start = Vector::Ones(n), normal_scores, best_scores;
  double normal_bound = 0.0, best = -std::numeric_limits<double>::infinity();
  for (const double dof : grid) {
    Attempt tried = attempt(refit, start, dof, options);
    result.candidates.push_back(tried.candidate);
    if (std::isinf(dof)) {
      // Without a normal fit there is nothing to start from or to compare with.
      result.outcome = tried.candidate.outcome;
      result.reason = tried.reason;
      result.fit = tried.fit;
      if (!usable(result.outcome)) return result;
      normal_scores = tried.scores;
      normal_bound = tried.candidate.bound;
    }
    if (!usable(tried.candidate.outcome)) {
      if (!options.given) continue;
      result.outcome = tried.candidate.outcome;
      result.reason = fmt::format("{:g} degrees of freedom as given: {}", dof, tried.reason);
      return result;
    }
    start = tried.weights;
    const double criterion = std::isnan(normal_bound) ? tried.candidate.log_score : tried.candidate.bound;
    const bool taken = options.given && !std::isinf(dof);
    if (!taken && !(criterion > best)) continue;
    best = criterion;
    result.bound_gain = tried.candidate.bound - normal_bound;
    best_scores = tried.scores;
    result.dof = dof;
    result.weights = std::move(tried.weights);
    result.fit = std::move(tried.fit);
  }
  std::tie(result.score_gain, result.score_gain_standard_error) = score_gain(best_scores, normal_scores);
  result.noise_variance =
      result.fit.noise_variance * (std::isinf(result.dof) ? 1.0 : result.dof / (result.dof - 2.0));
  result.reason = describe(result, options.given && !std::isinf(result.dof));
  return result;
}

}  // namespace gradflow
