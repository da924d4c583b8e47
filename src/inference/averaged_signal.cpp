#include "gradflow/inference/averaged_signal.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/special_values.h"
#include "gradflow/base/error.h"
#include "inference/measures.h"

namespace gradflow {
namespace {

constexpr double flow_share = 1.0 / 3.0;  // prior probability
constexpr double largest_power = 6.0;
constexpr double least_mean = 1e-8;         // of p over the directions
constexpr double largest_exponent = 500.0;  // t lambda_1: exp(-500) squares of 1e-90 are still numbers
constexpr double depth = 13.0;              // log density below the maximum beyond which nothing counts
constexpr double negligible_weight = 1e-7;  // posterior, of one model

// How finely a density has to be followed: a normal one by nine points within `depth` is integrated to 2e-5.
struct Resolution {
  int coarse;          // points at first
  std::size_t enough;  // points that count
  double coarsest;     // step
  int fewest = 15;     // points afterwards
};
constexpr Resolution of_scales{.coarse = 24, .enough = 12, .coarsest = 0.5};
constexpr Resolution of_powers{.coarse = 9, .enough = 9, .coarsest = 0.25, .fewest = 13};
constexpr int most_narrowings = 12;

std::vector<double> grid_over(double low, double high, int points) {
  std::vector<double> grid(static_cast<std::size_t>(points));
  for (int i = 0; i < points; ++i)
    grid[static_cast<std::size_t>(i)] = low + (high - low) * i / (points - 1.0);
  grid.back() = high;
  return grid;
}

struct Span {
  double low, high;
};

// A grid and the log density on it.
struct Followed {
  std::vector<double> at, log_density;
  std::size_t first = 0, last = 0;  // within `depth` of the maximum

  void find_what_counts() {
    const double most = *std::max_element(log_density.begin(), log_density.end());
    first = 0;
    last = at.size() - 1;
    while (log_density[first] < most - depth) ++first;
    while (log_density[last] < most - depth) --last;
  }
  double step() const { return at[1] - at[0]; }
  // What counts and the neighbours.
  Span around() const { return {at[first > 0 ? first - 1 : 0], at[std::min(last + 1, at.size() - 1)]}; }
  bool cut_off(Span whole) const {
    return (first == 0 && at.front() > whole.low) || (last + 1 == at.size() && at.back() < whole.high);
  }
  // Gregory's weights: the trapezoidal rule, corrected where the density ends with the grid.
  double weight(std::size_t i) const {
    constexpr double ends[] = {3.0 / 8.0, 7.0 / 6.0, 23.0 / 24.0};
    const std::size_t from_end = std::min(i, at.size() - 1 - i);
    return step() * (from_end < 3 ? ends[from_end] : 1.0);
  }
};

// Grids within `whole`, from the coarse one or one over `guess`, narrowed until they follow the density.
// `density` is asked for a grid at a time.
template <typename Density>
Followed follow(const Density& density, Span whole, const Resolution& resolution,
                const Span* guess = nullptr) {
  const auto over = [&](Span span) {
    const double points = std::ceil((span.high - span.low) / (0.8 * resolution.coarsest)) + 1.0;
    return grid_over(span.low, span.high,
                     static_cast<int>(std::clamp(points, 1.0 * resolution.fewest, 60.0)));
  };
  Followed followed;
  if (guess != nullptr)
    followed.at = over({std::max(guess->low, whole.low), std::min(guess->high, whole.high)});
  else
    followed.at = grid_over(whole.low, whole.high, resolution.coarse);
  for (int narrowing = 0;; ++narrowing) {
    followed.log_density = density(followed.at);
    followed.find_what_counts();
    if (guess != nullptr && followed.cut_off(whole)) return follow(density, whole, resolution);
    const bool fine =
        followed.last - followed.first + 1 >= resolution.enough && followed.step() <= resolution.coarsest;
    if (fine || narrowing == most_narrowings) return followed;
    followed.at = over(followed.around());
  }
}

// Values over lambda_1.
struct Scaled {
  Eigen::ArrayXd spectrum, multiplicity, response, squares;

  Scaled(const SpectralData& data, double largest) {
    const Measures measures(data);
    spectrum = measures.values.array() / largest;
    multiplicity = measures.multiplicity;
    response = measures.seen.array() / largest;
    squares = measures.squares;
  }
};

struct Likelihood {
  double criterion, noise_variance;  // Q, s2
};

// Of a power: its values on the spectrum and the response.
Likelihood likelihood_of(const Scaled& on, double count, double scale, const Eigen::ArrayXd& powers,
                         const Eigen::ArrayXd& response_powers) {
  const double noise = (on.squares / (1.0 + scale * response_powers)).sum() / count;
  return {count * std::log(noise) + (on.multiplicity * (1.0 + scale * powers).log()).sum(), noise};
}

// Of the flow's own covariance; `trace` is tr M / lambda_1.
Likelihood flow_likelihood(const Scaled& on, double count, double scale, double trace) {
  const double noise = (on.squares * (-scale * on.response).exp()).sum() / count;
  return {count * std::log(noise) + scale * trace, noise};
}

// One family of models over its log scale, given by its log density (prior, likelihood and, for the flow, the
// Jacobian from log m) up to a constant common to all.
class Family {
 public:
  Family(const Scaled& on, double count, double trace_over_largest, double power, double shrinkage)
      : on_(on), count_(count), trace_(trace_over_largest), power_(power) {
    if (power_ > 0.0) {
      powers_ = on.spectrum.pow(power_);
      response_powers_ = on.response.pow(power_);
      mean_ = (on.multiplicity * powers_).sum() / count_;
      high_ = power_ * std::log(shrinkage);
    } else {
      mean_ = trace_ / count_;
      high_ = std::log(std::min(largest_exponent, shrinkage));
    }
    low_ = std::min(std::log(least_mean / mean_), high_ - 1.0);
  }

  // Models whose weights sum to one, the log of their density's integral, and whether it still rises at the
  // largest scale. `guess`: where log m is looked for first.
  void integrate(const Span* guess) {
    const auto density = [&](const std::vector<double>& grid) {
      models_.clear();
      log_density_.clear();
      for (const double u : grid) add(u);
      return log_density_;
    };
    const Span whole{low_, high_};
    const double shift = std::log(mean_);  // log m less u of a power
    const Span shifted = guess != nullptr ? Span{guess->low - shift, guess->high - shift} : whole;
    const bool usable_guess = guess != nullptr && shifted.high > low_ + 1.0 && shifted.low < high_ - 1.0;
    const Followed followed = follow(density, whole, of_scales, usable_guess ? &shifted : nullptr);
    at_bound_ = followed.at.back() == high_ && followed.last + 1 == followed.at.size() &&
                log_density_[followed.last] >= log_density_[followed.last - 1];
    const Span around = followed.around();
    const double margin = 0.25 * (around.high - around.low);
    log_mean_ = {around.low - margin + shift, around.high + margin + shift};
    const double most = *std::max_element(log_density_.begin(), log_density_.end());
    double total = 0.0;
    for (std::size_t i = 0; i < models_.size(); ++i) {
      models_[i].weight = followed.weight(i) * std::exp(log_density_[i] - most);
      total += models_[i].weight;
    }
    for (SignalModel& model : models_) model.weight /= total;
    log_total_ = most + std::log(total);
  }

  const std::vector<SignalModel>& models() const { return models_; }
  double log_total() const { return log_total_; }
  bool at_bound() const { return at_bound_; }
  Span log_mean() const { return log_mean_; }  // of a power, where the next may look

 private:
  void add(double u) {
    double log_mean = 0.0, log_jacobian = 0.0;
    Likelihood likelihood{};
    const double scale = std::exp(u);
    if (power_ > 0.0) {
      log_mean = u + std::log(mean_);
      likelihood = likelihood_of(on_, count_, scale, powers_, response_powers_);
    } else {
      // m = mean of exp(t lambda) - 1; d log m / d log t
      const Eigen::ArrayXd exponent = scale * on_.spectrum;
      const double m = (on_.multiplicity * exponent.expm1()).sum() / count_;
      const double slope = (on_.multiplicity * exponent * exponent.exp()).sum() / count_;
      log_mean = std::log(m);
      log_jacobian = std::log(slope / m);
      likelihood = flow_likelihood(on_, count_, scale, trace_);
    }
    const double log_noise_share = log_mean > 0.0 ? -log_mean - std::log1p(std::exp(-log_mean))
                                                  : -std::log1p(std::exp(log_mean));  // log(1 - h)
    const double log_prior = log_mean + 1.5 * log_noise_share;
    log_density_.push_back(log_prior + log_jacobian - 0.5 * likelihood.criterion);
    models_.push_back({power_, u, 0.0, likelihood.noise_variance, likelihood.criterion});
  }

  const Scaled& on_;
  double count_, trace_, power_;
  Eigen::ArrayXd powers_, response_powers_;
  double mean_ = 0.0, low_ = 0.0, high_ = 0.0, log_total_ = 0.0;
  Span log_mean_{0.0, 0.0};
  bool at_bound_ = false;
  std::vector<SignalModel> models_;
  std::vector<double> log_density_;
};

// The powers, on a grid in log a; each with its log weight.
struct WeightedFamily {
  Family family;
  double log_weight;
};
template <typename Make>
std::vector<WeightedFamily> over_powers(const Make& make) {
  const double all = std::log(largest_power);
  std::vector<WeightedFamily> families;
  const auto density = [&](const std::vector<double>& grid) {
    std::vector<double> log_density;
    std::optional<Span> guess;
    if (!families.empty()) guess = families[families.size() / 2].family.log_mean();
    families.clear();
    for (const double log_power : grid) {
      families.push_back({make(std::exp(log_power), guess ? &*guess : nullptr), 0.0});
      log_density.push_back(families.back().family.log_total());
      guess = families.back().family.log_mean();
    }
    return log_density;
  };
  const Followed followed = follow(density, {0.0, all}, of_powers);
  for (std::size_t i = 0; i < families.size(); ++i)
    families[i].log_weight =
        followed.log_density[i] + std::log(followed.weight(i) / all * (1.0 - flow_share));
  return families;
}

// Weights to sum to one, and the means over them.
void summarise(AveragedSignal& signal) {
  double total = 0.0;
  for (const SignalModel& model : signal.models) total += model.weight;
  signal.noise_variance = signal.power = signal.flow_probability = 0.0;
  for (SignalModel& model : signal.models) {
    model.weight /= total;
    signal.noise_variance += model.weight * model.noise_variance;
    signal.power += model.weight * model.power;
    if (model.power == 0.0) signal.flow_probability += model.weight;
  }
  signal.power /= 1.0 - signal.flow_probability;
}

// exp(log_scale) (lambda / lambda_1)^a, without overflow.
Vector power_prior(double power, double log_scale, const Vector& lambda, double largest) {
  return (lambda.array() > 0.0)
      .select((log_scale + power * (lambda.array() / largest).max(1e-300).log()).exp(), 0.0);
}

}  // namespace

Vector SignalModel::prior(const Vector& lambda, double largest) const {
  if (power > 0.0) return power_prior(power, log_scale, lambda, largest);
  return (std::exp(log_scale) / largest * lambda.array()).expm1();
}

Vector AveragedSignal::prior(const Vector& lambda) const {
  Vector sum = Vector::Zero(lambda.size());
  for (std::size_t i = 0; i < models.size();) {
    const SignalModel& model = models[i];
    if (model.power == 0.0) {
      sum += model.weight * model.noise_variance * model.prior(lambda, largest);
      ++i;
      continue;
    }
    // Models of one power differ by a factor.
    double factor = 0.0;
    for (; i < models.size() && models[i].power == model.power; ++i)
      factor += models[i].weight * models[i].noise_variance * std::exp(models[i].log_scale - model.log_scale);
    sum += factor * model.prior(lambda, largest);
  }
  return sum / noise_variance;
}

AveragedSignal AveragedSignal::weighted_by(const SpectralData& data) const {
  AveragedSignal signal = *this;
  const Scaled on(data, largest);
  const double N = data.count(), trace = data.trace_of_M() / largest;
  Eigen::ArrayXd powers, response_powers;
  double present = 0.0, most = -infinity;
  std::vector<double> gains;
  for (SignalModel& model : signal.models) {
    const double scale = std::exp(model.log_scale);
    Likelihood likelihood{};
    if (model.power > 0.0) {
      if (model.power != present) {
        present = model.power;
        powers = on.spectrum.pow(present);
        response_powers = on.response.pow(present);
      }
      likelihood = likelihood_of(on, N, scale, powers, response_powers);
    } else {
      likelihood = flow_likelihood(on, N, scale, trace);
    }
    gains.push_back(0.5 * (model.criterion - likelihood.criterion));
    most = std::max(most, gains.back());
    model.noise_variance = likelihood.noise_variance;
    model.criterion = likelihood.criterion;
  }
  for (std::size_t i = 0; i < gains.size(); ++i) signal.models[i].weight *= std::exp(gains[i] - most);
  summarise(signal);
  return signal;
}

AveragedSignal average_signal(const SpectralData& data, const RemlFit& ridge, const RemlOptions& options) {
  AveragedSignal signal;
  signal.outcome = ridge.outcome;
  signal.reason = ridge.reason;
  if (!usable(ridge.outcome)) return signal;
  signal.largest = data.values.maxCoeff();
  const Scaled on(data, signal.largest);
  const auto family = [&](double power, const Span* guess) {
    Family made(on, data.count(), data.trace_of_M() / signal.largest, power, options.largest_shrinkage);
    made.integrate(guess);
    return made;
  };
  std::vector<WeightedFamily> families = over_powers(family);
  families.push_back({family(0.0, nullptr), 0.0});
  families.back().log_weight = families.back().family.log_total() + std::log(flow_share);
  const auto heaviest = std::max_element(families.begin(), families.end(), [](const auto& a, const auto& b) {
    return a.log_weight < b.log_weight;
  });
  double total = 0.0;
  for (const WeightedFamily& each : families) total += std::exp(each.log_weight - heaviest->log_weight);
  for (const WeightedFamily& each : families) {
    const double weight = std::exp(each.log_weight - heaviest->log_weight) / total;
    for (SignalModel model : each.family.models()) {
      model.weight *= weight;
      if (model.weight > negligible_weight) signal.models.push_back(model);
    }
  }
  summarise(signal);
  if (signal.outcome == Outcome::at_zero) {
    signal.reason = "REML finds no signal along M: " + ridge.reason;
    return signal;
  }
  signal.outcome = heaviest->family.at_bound() ? Outcome::on_boundary : Outcome::converged;
  signal.reason = fmt::format(
      "averaged over models of the signal (powers of M: {:.2f} on average; probability of the flow's own "
      "covariance: {:.2f})",
      signal.power, signal.flow_probability);
  if (signal.outcome == Outcome::on_boundary) signal.reason += ", their likelihood still rising at its bound";
  return signal;
}

}  // namespace gradflow
