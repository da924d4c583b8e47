#include "gradflow/model/kernel_refinement.h"

#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <utility>

#include "gradflow/operators/scaled_family.h"

namespace gradflow {
namespace {

Vector scale_of(const ChoiceRows& rows) {
  return rows.scale.size() > 0 ? rows.scale : Vector(Vector::Ones(rows.X.rows()));
}

// The family with the rows' weights.
std::shared_ptr<const OperatorFamily> weighted(std::shared_ptr<const OperatorFamily> family,
                                               const ChoiceRows& rows) {
  if (rows.scale.size() == 0) return family;
  return std::make_shared<ScaledFamily>(std::move(family), rows.scale);
}

// The optimum on `few` as a point on `many`: box and priors are those of select() there.
RefinementStart start_of(const CandidateFit& fit, const OperatorFamily& small, const ChoiceRows& few,
                         const OperatorFamily& large) {
  const Index m = small.parameters();
  const auto rows = static_cast<double>(small.size());
  const SelectionOptions box;
  Vector x(m + 1);
  x << fit.parameters, std::log(fit.tau);
  const RestrictedLikelihood likelihood(
      small, {.y = fit.transform.forward(few.response.y), .scale = scale_of(few)}, few.fixed);
  RefinementStart start;
  start.curvature = curvature_of(likelihood, x);
  start.rows = small.size();
  x(m) += std::log(static_cast<double>(large.size()) / rows);  // H is Theta/n
  start.x = x;
  const double unit = -std::log(large.at(large.start())->H().diagonal().mean());
  start.lower.resize(m + 1);
  start.upper.resize(m + 1);
  start.lower << large.lower(), unit + std::log(box.lowest_signal);
  start.upper << large.upper(), unit + std::log(box.highest_signal);
  start.priors = default_priors(large);
  start.priors.add(ParameterPrior::normal(unit, signal_prior_sd));
  return start;
}

}  // namespace

KernelRefinement refine_kernel(const CandidateFit& fit, std::shared_ptr<const KernelFamily> small,
                               const ChoiceRows& few, std::shared_ptr<const KernelFamily> large,
                               const ChoiceRows& many, std::uint64_t seed, Progress* progress) {
  KernelRefinement refinement;
  refinement.rows = large->size();
  refinement.names = large->names();
  refinement.names.emplace_back("log tau");
  if (large->size() <= small->size()) {
    refinement.result.reason = "there are no more rows than the choice looked at";
    return refinement;
  }
  if (fit.outcome == Outcome::at_zero) {
    refinement.result.reason = "no training is warranted by the likelihood";
    return refinement;
  }
  const std::shared_ptr<const OperatorFamily> small_rows = weighted(std::move(small), few),
                                              large_rows = weighted(std::move(large), many);
  const RefinementStart start = start_of(fit, *small_rows, few, *large_rows);
  if (!start.curvature.allFinite()) {
    refinement.result.reason = "the likelihood is not finite beside the parameters chosen";
    return refinement;
  }
  const Vector w = scale_of(many).cwiseProduct(fit.transform.forward(many.response.y));
  const Index m = start.x.size() - 1;
  ProbeOptions probes;
  probes.seed = seed;
  const StochasticLikelihood likelihood(*large_rows, w, many.fixed, start.x.head(m), probes);
  RefinementOptions options;
  options.progress = progress;
  refinement.result = refine(likelihood, start, options);
  const Refinement& result = refinement.result;
  refinement.used =
      result.after.outcome == Outcome::converged && result.lowered > -2.0 * result.lowered_error;
  return refinement;
}

std::string KernelRefinement::sentence() const {
  if (!used && result.evaluations == 0) return fmt::format("Parameters are not refined: {}.", result.reason);
  Index most = 0;
  if (result.moved.size() > 0) result.moved.cwiseAbs().maxCoeff(&most);
  if (!used)
    return fmt::format("Parameters stay as they were chosen: refining on {} rows ended with {} ({}).", rows,
                       to_string(result.outcome), result.reason);
  return fmt::format(
      "Parameters refined on {} rows ({}): -2 log L with penalties fell by {:.3g} (s.e. {:.2g}); most moved "
      "{}, by {:.2g} of its posterior standard deviation before; error by {} probes at most {:.2g} of one; "
      "{} "
      "evaluations of {} to {} iterations.",
      rows, to_string(result.outcome), result.lowered, result.lowered_error,
      names[static_cast<std::size_t>(most)], result.moved(most), result.before.probe_criteria.size(),
      result.probe_error.maxCoeff(), result.evaluations,
      std::min(result.before.iterations, result.after.iterations),
      std::max(result.before.iterations, result.after.iterations));
}

}  // namespace gradflow
