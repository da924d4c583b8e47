#include <fmt/format.h>
#include <algorithm>
#include <boost/math/distributions/chi_squared.hpp>
#include <boost/math/tools/minima.hpp>
#include <cmath>
#include <cstdint>

#include <map>

#include "inference/classification_laplace.h"
#include "inference/classification_methods.h"

namespace gradflow {
namespace {

constexpr double smallest_variance = 1e-2;  // of the search, tau h
constexpr double search_tolerance = 1e-5, final_tolerance = 1e-8;

// The criterion -2 log q as a function of x = log(tau h), each mode started from the nearest known one.
class VarianceProfile {
 public:
  VarianceProfile(const Matrix& H, const Matrix& response, double unit, double bias_variance)
      : H_(H), response_(response), unit_(unit), bias_variance_(bias_variance) {}

  double operator()(double x) {
    const double tau = std::exp(x) / unit_;
    laplace::Mode start;
    if (!modes_.empty()) {
      const auto nearest = std::min_element(modes_.begin(), modes_.end(), [&](const auto& a, const auto& b) {
        return std::abs(a.first - x) < std::abs(b.first - x);
      });
      // The same latents at another tau.
      start = nearest->second;
      start.dual *= std::exp(nearest->first - x);
    }
    laplace::Mode mode = laplace::find_mode(H_, response_, tau, bias_variance_, start, search_tolerance);
    converged_ = converged_ && mode.converged;
    const double value = -2.0 * mode.log_marginal;
    values_[x] = value;
    modes_[x] = std::move(mode);
    return value;
  }

  const std::map<double, double>& values() const { return values_; }
  const laplace::Mode& mode(double x) const { return modes_.at(x); }
  bool converged() const { return converged_; }

  std::map<double, double>::const_iterator best() const {
    return std::min_element(values_.begin(), values_.end(),
                            [](const auto& a, const auto& b) { return a.second < b.second; });
  }

 private:
  const Matrix& H_;
  const Matrix& response_;
  double unit_, bias_variance_;
  std::map<double, double> values_;
  std::map<double, laplace::Mode> modes_;
  bool converged_ = true;
};

// Where the drop from the best reaches `drop`, going one way from the best: the square root of a drop is
// nearly linear in log tau, and is interpolated linearly. NaN: not within what was evaluated.
template <typename Iterator>
double crossing(Iterator from, Iterator end, double best, double drop) {
  double x = from->first, root = 0.0;
  for (++from; from != end; ++from) {
    const double next = std::sqrt(std::max(from->second - best, 0.0));
    if (next >= std::sqrt(drop)) return x + (from->first - x) * (std::sqrt(drop) - root) / (next - root);
    x = from->first;
    root = next;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

Interval profile_of(const VarianceProfile& profile, double unit, double drop, const ClassOptions& options) {
  const auto best = profile.best();
  const double upper = crossing(best, profile.values().end(), best->second, drop);
  const double lower =
      crossing(std::make_reverse_iterator(std::next(best)), profile.values().rend(), best->second, drop);
  return {std::isnan(lower) ? 0.0 : std::exp(lower) / unit,
          std::isnan(upper) ? std::numeric_limits<double>::infinity() : std::exp(upper) / unit,
          options.level};
}

// A scan up by factors of ten until the criterion has clearly turned, then Brent's method in log tau.
void search(VarianceProfile& profile, double drop, double largest_variance) {
  const double last = std::log(largest_variance);
  for (double x = std::log(smallest_variance); x < last + 1e-9; x += std::log(10.0))
    if (profile(std::min(x, last)) > profile.best()->second + std::max(10.0, drop)) break;
  const auto best = profile.best();
  const auto next = std::next(best);
  if (next == profile.values().end()) return;
  const double low = best == profile.values().begin() ? best->first - std::log(10.0) : std::prev(best)->first;
  const double high = next->first;
  std::uintmax_t iterations = 8;
  boost::math::tools::brent_find_minima([&](double x) { return profile(x); }, low, high, 8, iterations);
}

}  // namespace

void fit_laplace(const TrainingOperator& H, const Matrix& response, const Labels& labels,
                 const ClassOptions& options, ClassFit& fit) {
  const Matrix entries = H.matrix();
  const auto n = static_cast<double>(H.size());
  const double unit = (entries.trace() - entries.sum() / n) / n;
  if (!(unit > 0.0)) {
    fit.outcome = Outcome::unidentified;
    fit.reason = "the training operator is zero or constant: it cannot tell rows apart";
    return;
  }
  const double v = options.bias_variance;
  const double drop = boost::math::quantile(boost::math::chi_squared(1.0), options.level);
  VarianceProfile profile(entries, response, unit, v);
  search(profile, drop, options.largest_variance);
  const laplace::Mode zero = laplace::find_mode(entries, response, 0.0, v, {}, final_tolerance);
  const auto best = profile.best();
  fit.criterion_at_zero = -2.0 * zero.log_marginal;
  fit.criterion = std::min(best->second, fit.criterion_at_zero);
  fit.evaluations = static_cast<Index>(profile.values().size()) + 1;
  fit.interval = profile_of(profile, unit, drop, options);
  if (fit.criterion_at_zero - fit.criterion <= drop) fit.interval.lower = 0.0;
  const bool at_zero = fit.criterion_at_zero <= best->second;
  fit.tau = at_zero ? 0.0 : std::exp(best->first) / unit;
  fit.latent_variance = fit.tau * unit;
  const laplace::Mode mode =
      at_zero ? zero
              : laplace::find_mode(entries, response, fit.tau, v, profile.mode(best->first), final_tolerance);
  if (!profile.converged() || !mode.converged) {
    fit.outcome = Outcome::iteration_limit;
    fit.reason = "Newton's method for the mode of the latents did not converge in 60 iterations";
    return;
  }
  const bool at_bound = !at_zero && fit.latent_variance >= 0.999 * options.largest_variance;
  fit.outcome = at_zero ? Outcome::at_zero : at_bound ? Outcome::on_boundary : Outcome::converged;
  fit.reason =
      at_zero ? "the marginal likelihood is largest at zero: the classes' frequencies"
      : at_bound
          ? fmt::format("the marginal likelihood still rises at the bound of the latent variance, {:g}",
                        options.largest_variance)
          : "maximum of the Laplace approximation of the marginal likelihood";
  fit.path = Path{.kind = PathKind::ridge, .time = fit.tau};
  fit.bias_variance = v;
  fit.dual = fit.tau * mode.dual;
  fit.bias = mode.bias;
  fit.site_probabilities = mode.p;
  const laplace::Cavities without = laplace::cavities(entries, response, fit.tau, v, mode);
  fit.leave_one_out = laplace::average_softmax(without.mean, without.covariance);
  if (!options.map) return;
  // log p about the log frequencies: slope 1 leaves p as it is, slope 0 gives the frequencies.
  const Vector base = smoothed_log_frequencies(response);
  const Matrix scores = fit.leave_one_out.array().log().matrix().rowwise() - base.transpose();
  fit.map = fit_probability_map(
      scores, labels, {.slope_mean = 1.0, .slope_sd = 1.0, .own_sd = 0.2, .base = base, .offset_sd = 0.5});
  fit.leave_one_out = fit.map.apply(scores);
  fit.map.offset -= fit.map.slope.cwiseProduct(base);
}

}  // namespace gradflow
