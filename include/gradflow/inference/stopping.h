#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "gradflow/inference/averaged_signal.h"
#include "gradflow/inference/reml.h"
#include "gradflow/spectrum/projected_spectrum.h"

namespace gradflow {

/// When to stop along a training path.
///
///     expected-loo  minimiser of the leave-one-out error to be expected when models of the signal are
///     averaged
///                   by their likelihood (expected_loo.h); the default on path flow
///     reml-risk     minimiser of the expected squared error of the path under two REML components (reml.h)
///                   risk(t) = s2 sum_i [ phi_i^2 (tau lambda_i + kappa lambda_i^2) + (1 - phi_i)^2 ];
///                   on path `ridge` the REML time itself
///     reml-flow     REML of the path itself (the paper's rule for `flow`; on another path: reml-ridge, ...)
///     gcv           minimiser of N sum phi^2 z^2 / (sum phi)^2
///     loo           minimiser of the mean squared leave-one-out residual r_i / (1 - S_ii)
///                   (exact for ridge at a fixed operator, approximate on other paths)
///     validation    best error on a seeded 20 % of the rows, trained on the others
enum class RuleKind { expected_loo, reml_risk, reml_path, gcv, loo, validation };
/// In the order of the enumerators.
inline constexpr std::array<RuleKind, 6> all_rules{RuleKind::expected_loo, RuleKind::reml_risk,
                                                   RuleKind::reml_path,    RuleKind::gcv,
                                                   RuleKind::loo,          RuleKind::validation};

/// expected_loo on the flow; reml_risk on the other paths.
RuleKind default_rule(PathKind path);

/// "expected-loo", "reml-risk", "reml-flow" (with the path's name), "gcv", "loo", "validation".
std::string rule_name(RuleKind kind, PathKind path);
/// Whether the Krylov engine probes the spectrum for the rule; only the likelihood of the flow does without.
bool needs_traces(RuleKind kind, PathKind path);
/// Throws InputError listing the names.
RuleKind parse_rule(const std::string& text, PathKind path);

struct StoppingRule {
  RuleKind kind = RuleKind::expected_loo;
  std::string name;
  Outcome outcome = Outcome::not_run;
  std::string reason = "not computed";
  double time = std::numeric_limits<double>::quiet_NaN();
  Interval interval{std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::quiet_NaN(), 0.95};
  /// Of log(time), from random probes; 0: none were needed. NaN: not computed.
  double log_time_standard_error = 0.0;
  double steps =
      std::numeric_limits<double>::quiet_NaN();  ///< full-batch steps at the learning rate; NaN without one
  double effective_dof =
      std::numeric_limits<double>::quiet_NaN();  ///< sum (1 - phi), without the fixed effects
  double estimated_rmse =
      std::numeric_limits<double>::quiet_NaN();  ///< of a new response, by the rule's own criterion
  /// Leave-one-out error of the ridge fit with the same effective degrees of freedom, for which it is exact:
  /// the same yardstick for every rule. (The path's own formula, which rule loo uses, fails near
  /// interpolation.)
  double loo_rmse = std::numeric_limits<double>::quiet_NaN();
};

/// What the rules look at. All in units of y; H's eigenvalues in units of H. With weights everything is
/// whitened.
struct StoppingProblem {
  const TrainingOperator& H;
  const FixedEffects& fixed;
  const Vector& response;  ///< y - f0
  const SpectralData& data;
  Vector weights{};  ///< n, of the rows; empty: one each
};

struct StoppingOptions {
  Path path{};  ///< the family: kind, decay, learning_rate, iterations
  RemlOptions reml{};
  double validation_fraction = 0.2;  ///< in (0, 1)
  /// psi(0) lambda_1 up to which rule expected-loo looks for its time, at most reml.largest_shrinkage.
  double reach = std::numeric_limits<double>::infinity();
  std::uint64_t seed = 1;
};

/// Expected squared error of the fit in sample, summed over N directions, under a signal of variance s2
/// prior_i in direction i and noise s2, divided by s2:
///
///     sum_i multiplicity_i [ phi_i^2 prior_i + (1 - phi_i)^2 ]
double expected_risk(const SpectralData& data, const Path& path, const Vector& prior);

/// Global minimiser of expected_risk over the path's time. Direction i alone is best at log(1 + prior_i) /
/// lambda_i on the flow, so the minimum lies between the least and the largest of these. No prior variance
/// gives time 0.
double risk_minimiser(const SpectralData& data, const Path& family, const Vector& prior);

/// The same under the prior s2 tau M of `ridge`, on whose own path the minimiser is tau; tau infinite gives
/// infinity.
double expected_risk(const SpectralData& data, const Path& path, double tau);
double risk_minimiser(const SpectralData& data, const Path& family, double tau);

/// Bound of the search of a criterion that divides by residual degrees of freedom, tr phi: where a percent of
/// N is left of them, at most largest_time(). Below, it is 0/0, decided by the eigenvalues that are nearest
/// to rounding; known from probes, they have no small relative error there either.
double largest_time_for_ratios(const SpectralData& data, const StoppingOptions& options);

/// The time of rule expected-loo: the global minimiser of ExpectedLoo; 0 where the average's outcome is
/// at_zero, NaN where it is not usable.
double expected_loo_time(const SpectralData& data, const AveragedSignal& signal,
                         const StoppingOptions& options);
/// The same for data close to those of which `signal` is the average and `time` > 0 the time, by the same
/// models weighted anew and a search around that time.
double expected_loo_time(const SpectralData& data, const AveragedSignal& signal, double time,
                         const StoppingOptions& options);

/// The time of rule reml-risk, from its components or from `ridge`'s fit.
double risk_time(const SpectralData& data, const TwoComponentFit& fit, const StoppingOptions& options);
double risk_time(const SpectralData& data, const RemlFit& ridge, const StoppingOptions& options);

/// Leave-one-out residuals along paths:
///
///     e_i = (Q phi w)_i / (Q phi Q')_ii = r_i / (1 - S_ii)
///
/// Exact for `ridge` at a fixed operator, approximate elsewhere (path_leave_one_out.h is exact for flow and
/// decay, a path at a time).
class LeaveOneOut {
 public:
  virtual ~LeaveOneOut() = default;
  virtual Vector mean_squares(const std::vector<Path>& paths) const = 0;  ///< mean e_i^2, all paths at once
  virtual Vector residuals(const Path& path) const = 0;  ///< e, n; empty where not every row's is computed
  /// Standard error of log(time) at the minimiser of mean_squares, where rows were sampled; 0 where not.
  virtual double log_time_standard_error(const Path&) const { return 0.0; }
};

/// From an eigendecomposition: 4 n N flops a path.
class SpectralLeaveOneOut final : public LeaveOneOut {
 public:
  /// Both arguments outlive this.
  SpectralLeaveOneOut(const ProjectedSpectrum& spectrum, const SpectralData& data);
  Vector mean_squares(const std::vector<Path>& paths) const override;
  Vector residuals(const Path& path) const override;

 private:
  Matrix residuals_along(const std::vector<Path>& paths) const;  // n x paths

  const ProjectedSpectrum& spectrum_;
  const SpectralData& data_;
};

/// The ridge path's point with the given effective degrees of freedom; its bound (options.largest_shrinkage)
/// where they are more than the bound has.
Path ridge_with_dof(const SpectralData& data, double effective_dof, const RemlOptions& options);

/// Its interval: quantiles of the posterior distribution of the time that is best under the model.
StoppingRule stop_by_expected_loo(const StoppingProblem& problem, const AveragedSignal& signal,
                                  const StoppingOptions& options);
StoppingRule stop_by_risk(const StoppingProblem& problem, const RemlFit& ridge,
                          const StoppingOptions& options);
StoppingRule stop_by_reml(const StoppingProblem& problem, const RemlFit& fit, const StoppingOptions& options);
double gcv_minimiser(const SpectralData& data, const StoppingOptions& options);
StoppingRule stop_by_gcv(const StoppingProblem& problem, const StoppingOptions& options);
StoppingRule stop_by_loo(const StoppingProblem& problem, const LeaveOneOut& loo,
                         const StoppingOptions& options);

/// Held-out error along the whole path from one Krylov space of the training rows' operator, grown until the
/// best time and its error stop moving; cost one product with H a step, without an eigendecomposition.
StoppingRule stop_by_validation(const StoppingProblem& problem, const StoppingOptions& options);

}  // namespace gradflow
