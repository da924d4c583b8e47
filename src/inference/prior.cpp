#include "gradflow/inference/prior.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "base/special_values.h"
#include "gradflow/base/error.h"

namespace gradflow {
namespace {

constexpr double t_dof = 3.0;
constexpr std::size_t most_starts = 32;

// -2 log of the t density at u, relative to its mode, by u, and the slope over u.
double t_penalty(double u, double scale) {
  return (t_dof + 1.0) * std::log1p(u * u / (t_dof * scale * scale));
}
double t_weight(double u, double scale) { return 2.0 * (t_dof + 1.0) / (t_dof * scale * scale + u * u); }

// 2 log(1 + exp(2 m)), its slope, and a bound of its curvature.
double common_penalty(double m) {
  return 4.0 * std::max(m, 0.0) + 2.0 * std::log1p(std::exp(-2.0 * std::abs(m)));
}
double common_slope(double m) { return 4.0 / (1.0 + std::exp(-2.0 * m)); }
constexpr double common_curvature = 2.0;

}  // namespace

Prior::Prior(const std::vector<ParameterPrior>& parameters) {
  for (const ParameterPrior& prior : parameters) add(prior);
}

void Prior::add(const ParameterPrior& prior) {
  if (prior.kind == ParameterPrior::Kind::exchangeable) groups_[prior.group].push_back(size());
  parameters_.push_back(prior);
}

// Reweighting, with a parabola above the common penalty, descends from any start; there may be several
// minima.
double Prior::common_shift(const Vector& p, const std::vector<Index>& group) const {
  const auto deviation = [&](Index k) { return p(k) - of(k).location; };
  const auto penalty_at = [&](double m) {
    double sum = common_penalty(m);
    for (const Index k : group) sum += t_penalty(deviation(k) - m, of(k).scale);
    return sum;
  };
  std::vector<double> starts;
  for (const Index k : group) starts.push_back(deviation(k));
  std::sort(starts.begin(), starts.end());
  const std::size_t step = (starts.size() + most_starts - 1) / most_starts;
  double best = 0.0, least = infinity;
  for (std::size_t i = step / 2; i < starts.size(); i += step) {
    double m = starts[i];
    for (int iteration = 0; iteration < 200; ++iteration) {
      double weights = common_curvature, sum = common_curvature * m - common_slope(m);
      for (const Index k : group) {
        const double weight = t_weight(deviation(k) - m, of(k).scale);
        weights += weight;
        sum += weight * deviation(k);
      }
      const double moved = std::abs(sum / weights - m);
      m = sum / weights;
      if (moved <= 1e-12 * (1.0 + std::abs(m))) break;
    }
    const double value = penalty_at(m);
    if (value < least) {
      least = value;
      best = m;
    }
  }
  return best;
}

Prior::Value Prior::at(const Vector& p) const {
  require(p.size() == size(), "number of parameters with a prior", p.size(),
          fmt::format("must be {}", size()));
  Value value{.slope = Vector::Zero(size())};
  for (Index k = 0; k < size(); ++k) {
    if (of(k).kind != ParameterPrior::Kind::normal) continue;
    const double u = (p(k) - of(k).location) / of(k).scale;
    value.penalty += u * u;
    value.slope(k) = 2.0 * u / of(k).scale;
  }
  // m is at its best: its own change adds nothing to first order.
  for (const auto& [name, group] : groups_) {
    const double m = common_shift(p, group);
    value.penalty += common_penalty(m);
    for (const Index k : group) {
      const double u = p(k) - of(k).location - m;
      value.penalty += t_penalty(u, of(k).scale);
      value.slope(k) = t_weight(u, of(k).scale) * u;
    }
  }
  return value;
}

Prior default_priors(const OperatorFamily& family) {
  Prior priors;
  const Vector start = family.start();
  std::map<std::string, int> groups;  // by what stands before "relevance": the term
  for (const std::string& name : family.names()) {
    const double centre = start(priors.size());
    const std::size_t word = name.find("relevance");
    if (word == std::string::npos) {
      priors.add(ParameterPrior::normal(centre, 2.0));
      continue;
    }
    const int next = static_cast<int>(groups.size());
    const int group = groups.emplace(name.substr(0, word), next).first->second;
    priors.add(ParameterPrior::exchangeable(centre, relevance_scale, group));
  }
  return priors;
}

}  // namespace gradflow
