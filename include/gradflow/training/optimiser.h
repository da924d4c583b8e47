#pragma once

#include <string>
#include <string_view>

#include "gradflow/base/types.h"

namespace gradflow {

/// One step on the gradient g of the loss, with learning rate eta; as in PyTorch:
///
///     gd         theta -= eta g
///     momentum   v <- beta v + g,   theta -= eta v
///     nesterov   v <- beta v + g,   theta -= eta (g + beta v)
///     adam       m <- beta1 m + (1 - beta1) g,   s <- beta2 s + (1 - beta2) g^2,
///                theta -= eta (m / (1 - beta1^k)) / (sqrt(s / (1 - beta2^k)) + epsilon)
///     adamw      adam, with the decay taken from theta itself: theta -= eta d (theta - anchor) first
///
/// Weight decay d draws theta to its anchor: zero, or the initial weights, which leaves the linearised
/// network a ridge regression with tau = 1/d (path `decay`). All but adamw add d (theta - anchor) to g.
enum class OptimiserKind { gd, momentum, nesterov, adam, adamw };
std::string_view to_string(OptimiserKind kind);
OptimiserKind parse_optimiser(const std::string& text);  ///< throws InputError listing the names

enum class DecayAnchor { zero, initial };

struct OptimiserOptions {
  OptimiserKind kind = OptimiserKind::gd;
  double learning_rate = 0.01;        ///< eta at full rate, > 0
  double momentum = 0.9;              ///< beta, momentum and nesterov, in [0, 1)
  double beta1 = 0.9, beta2 = 0.999;  ///< adam and adamw, in [0, 1)
  double epsilon = 1e-8;              ///< adam and adamw, > 0
  double weight_decay = 0.0;          ///< d >= 0
  DecayAnchor anchor = DecayAnchor::zero;
  void check() const;
};

/// The factor of the learning rate at step k = 0, 1, ...:
///
///     constant  1
///     step      factor^floor(k / period)
///     cosine    floor + (1 - floor) (1 + cos(pi min(k / period, 1))) / 2
///
/// times min((k + 1) / warm_up, 1) where warm_up > 0.
enum class ScheduleKind { constant, step, cosine };
struct Schedule {
  ScheduleKind kind = ScheduleKind::constant;
  Index period = 1000;  ///< steps, >= 1
  double factor = 0.1;  ///< of `step`, in (0, 1]
  double floor = 0.0;   ///< of `cosine`, in [0, 1]
  Index warm_up = 0;    ///< steps, >= 0
  double at(Index step) const;
  void check() const;
};
std::string_view to_string(ScheduleKind kind);
ScheduleKind parse_schedule(const std::string& text);

/// Whether flow time is known step by step: gd, momentum and nesterov.
bool has_flow_time(OptimiserKind kind);

/// An optimiser and what it remembers. With momentum, the flow time of a step is what a gradient that stays
/// the same moves theta by, from the same recursion on g = 1:
///
///     mu <- beta mu + 1,     dt = eta (gd),   eta mu (momentum),   eta (1 + beta mu) (nesterov)
///
/// which tends to eta / (1 - beta): exact for directions with eta lambda << (1 - beta)^2.
class TrainingOptimiser {
 public:
  struct Memory {
    Vector first{}, second{};  ///< v, or m and s; empty where there are none
    double mass = 0.0;         ///< mu
    Index steps = 0;
  };

  /// `initial`: theta at the start, the anchor of decay towards it.
  TrainingOptimiser(OptimiserOptions options, Vector initial);

  const OptimiserOptions& options() const noexcept { return options_; }
  /// theta after the step with this learning rate.
  void step(Vector& theta, const Vector& gradient, double learning_rate);
  /// dt / eta of the step to come (of a loss with 1/2); NaN for adam and adamw.
  double time_per_rate() const;

  const Memory& memory() const noexcept { return memory_; }
  void restore(Memory memory) { memory_ = std::move(memory); }

 private:
  OptimiserOptions options_;
  Vector anchor_;  // empty: zero
  Memory memory_;
};

/// Largest learning rate at which full-batch steps on the half mean square are stable when lambda_1 is the
/// operator's largest eigenvalue: 2 / lambda_1 (gd), 2 (1 + beta) / lambda_1 (momentum),
/// 2 (1 + beta) / ((1 + 2 beta) lambda_1) (nesterov); infinite for adam and adamw.
double largest_stable_rate(const OptimiserOptions& options, double largest_eigenvalue);

}  // namespace gradflow
