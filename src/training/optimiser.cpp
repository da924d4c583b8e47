#include "gradflow/training/optimiser.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "gradflow/base/error.h"

namespace gradflow {
namespace {

constexpr std::array optimisers{OptimiserKind::gd, OptimiserKind::momentum, OptimiserKind::nesterov,
                                OptimiserKind::adam, OptimiserKind::adamw};
constexpr std::array schedules{ScheduleKind::constant, ScheduleKind::step, ScheduleKind::cosine};

bool is_adam(OptimiserKind kind) { return kind == OptimiserKind::adam || kind == OptimiserKind::adamw; }

}  // namespace

std::string_view to_string(OptimiserKind kind) {
  switch (kind) {
    case OptimiserKind::gd: return "gd";
    case OptimiserKind::momentum: return "momentum";
    case OptimiserKind::nesterov: return "nesterov";
    case OptimiserKind::adam: return "adam";
    case OptimiserKind::adamw: return "adamw";
  }
  throw InternalError("unnamed optimiser");
}

OptimiserKind parse_optimiser(const std::string& text) {
  for (const OptimiserKind kind : optimisers)
    if (text == to_string(kind)) return kind;
  throw InputError(fmt::format("optimizer '{}': must be gd, momentum, nesterov, adam or adamw", text));
}

std::string_view to_string(ScheduleKind kind) {
  switch (kind) {
    case ScheduleKind::constant: return "constant";
    case ScheduleKind::step: return "step";
    case ScheduleKind::cosine: return "cosine";
  }
  throw InternalError("unnamed schedule");
}

ScheduleKind parse_schedule(const std::string& text) {
  for (const ScheduleKind kind : schedules)
    if (text == to_string(kind)) return kind;
  throw InputError(fmt::format("schedule '{}': must be constant, step or cosine", text));
}

void OptimiserOptions::check() const {
  require(learning_rate > 0.0 && std::isfinite(learning_rate), "learning rate", learning_rate, "must be > 0");
  require(momentum >= 0.0 && momentum < 1.0, "momentum", momentum, "must be in [0, 1)");
  require(beta1 >= 0.0 && beta1 < 1.0, "beta1", beta1, "must be in [0, 1)");
  require(beta2 >= 0.0 && beta2 < 1.0, "beta2", beta2, "must be in [0, 1)");
  require(epsilon > 0.0, "epsilon", epsilon, "must be > 0");
  require(weight_decay >= 0.0 && std::isfinite(weight_decay), "weight decay", weight_decay, "must be >= 0");
}

void Schedule::check() const {
  require(period >= 1, "schedule period", period, "must be >= 1");
  require(factor > 0.0 && factor <= 1.0, "schedule factor", factor, "must be in (0, 1]");
  require(floor >= 0.0 && floor <= 1.0, "schedule floor", floor, "must be in [0, 1]");
  require(warm_up >= 0, "schedule warm-up", warm_up, "must be >= 0");
}

double Schedule::at(Index step) const {
  const auto k = static_cast<double>(step), p = static_cast<double>(period);
  const double warm = warm_up > 0 ? std::min((k + 1.0) / static_cast<double>(warm_up), 1.0) : 1.0;
  switch (kind) {
    case ScheduleKind::constant: return warm;
    case ScheduleKind::step: return warm * std::pow(factor, std::floor(k / p));
    case ScheduleKind::cosine:
      return warm *
             (floor + (1.0 - floor) * 0.5 * (1.0 + std::cos(3.141592653589793 * std::min(k / p, 1.0))));
  }
  throw InternalError("unnamed schedule");
}

bool has_flow_time(OptimiserKind kind) { return !is_adam(kind); }

TrainingOptimiser::TrainingOptimiser(OptimiserOptions options, Vector initial) : options_(options) {
  options_.check();
  const Index count = initial.size();
  if (options_.weight_decay > 0.0 && options_.anchor == DecayAnchor::initial) anchor_ = std::move(initial);
  if (options_.kind != OptimiserKind::gd) memory_.first = Vector::Zero(count);
  if (is_adam(options_.kind)) memory_.second = Vector::Zero(count);
}

double TrainingOptimiser::time_per_rate() const {
  const double beta = options_.momentum, mass = beta * memory_.mass + 1.0;
  switch (options_.kind) {
    case OptimiserKind::gd: return 1.0;
    case OptimiserKind::momentum: return mass;
    case OptimiserKind::nesterov: return 1.0 + beta * mass;
    default: return std::numeric_limits<double>::quiet_NaN();
  }
}

void TrainingOptimiser::step(Vector& theta, const Vector& gradient, double learning_rate) {
  const double decay = options_.weight_decay, beta = options_.momentum;
  ++memory_.steps;
  memory_.mass = beta * memory_.mass + 1.0;
  Vector g = gradient;
  if (decay > 0.0) {
    const Vector pull = anchor_.size() > 0 ? Vector(theta - anchor_) : theta;
    if (options_.kind == OptimiserKind::adamw)
      theta -= learning_rate * decay * pull;
    else
      g += decay * pull;
  }
  if (options_.kind == OptimiserKind::gd) {
    theta -= learning_rate * g;
    return;
  }
  if (!is_adam(options_.kind)) {
    memory_.first = beta * memory_.first + g;
    if (options_.kind == OptimiserKind::nesterov)
      theta -= learning_rate * (g + beta * memory_.first);
    else
      theta -= learning_rate * memory_.first;
    return;
  }
  const auto k = static_cast<double>(memory_.steps);
  memory_.first = options_.beta1 * memory_.first + (1.0 - options_.beta1) * g;
  memory_.second = options_.beta2 * memory_.second + (1.0 - options_.beta2) * g.cwiseAbs2();
  const double first = 1.0 - std::pow(options_.beta1, k), second = 1.0 - std::pow(options_.beta2, k);
  theta.array() -= learning_rate * (memory_.first.array() / first) /
                   ((memory_.second.array() / second).sqrt() + options_.epsilon);
}

double largest_stable_rate(const OptimiserOptions& options, double largest_eigenvalue) {
  const double beta = options.momentum;
  switch (options.kind) {
    case OptimiserKind::gd: return 2.0 / largest_eigenvalue;
    case OptimiserKind::momentum: return 2.0 * (1.0 + beta) / largest_eigenvalue;
    case OptimiserKind::nesterov: return 2.0 * (1.0 + beta) / ((1.0 + 2.0 * beta) * largest_eigenvalue);
    default: return std::numeric_limits<double>::infinity();
  }
}

}  // namespace gradflow
