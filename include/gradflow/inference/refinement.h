#pragma once

#include <limits>
#include <string>
#include <vector>

#include "gradflow/base/progress.h"
#include "gradflow/inference/likelihood.h"
#include "gradflow/inference/prior.h"
#include "gradflow/inference/stochastic_likelihood.h"

namespace gradflow {

struct RefinementOptions {
  int max_evaluations = 8;  ///< of likelihood and gradient, >= 2
  double tolerance = 0.1;   ///< a step that promises to lower Q + penalties by less is not made, > 0
  Progress* progress = nullptr;
  void check() const;
};

/// Where a refinement begins: x = (p, log tau).
struct RefinementStart {
  Vector x{}, lower{}, upper{};  ///< m + 1, and the box
  Prior priors{};                ///< m + 1
  Matrix curvature{};            ///< of Q without penalties on `rows` rows, (m + 1) x (m + 1)
  Index rows = 0;                ///< >= 1
};

struct Refinement {
  Outcome outcome = Outcome::not_run;
  std::string reason = "not refined";
  Vector start{}, parameters{};  ///< m + 1
  Vector scale{};                ///< posterior standard deviation of each parameter on the rows of the start
  Vector moved{};                ///< (parameters - start)/scale
  Vector probe_error{};          ///< of the estimate, by the probes at the start, in units of `scale`
  ProbedLikelihood before{}, after{};
  double lowered = std::numeric_limits<double>::quiet_NaN();        ///< Q + penalties, before minus after
  double lowered_error = std::numeric_limits<double>::quiet_NaN();  ///< the same probes on both sides
  int evaluations = 0;
};

/// Q's second derivatives by differences of its gradient over +-1e-3 (symmetrised): 2(m + 1) evaluations of
/// the likelihood by Cholesky. NaN where Q is not finite there.
Matrix curvature_of(const RestrictedLikelihood& likelihood, const Vector& parameters);

/// A few quasi-Newton steps on Q + penalties from an optimum on fewer rows, by gradients that are estimates:
///
///     s = -B^-1 g on the parameters not held at a bound, |s_k| <= 1;   B = curvature n/rows + penalties' at
///     first, eigenvalues >= 1/2, then BFGS (damped, Powell 1978).
///
/// A step whose far end slopes up as steeply as its near end slopes down is not made; B has learnt from it.
/// No value of Q decides, as its error is that of log|V|. What remains is the probes' error: about R^-1/2
/// posterior standard deviations on the n rows or less (stochastic_likelihood.h), beside which `tolerance`
/// leaves sqrt(tolerance) of them over all.
///
/// Outcomes: converged; iteration_limit: max_evaluations were made, or conjugate gradients stopped at their
/// limit; unidentified: no gradient at the start. Throws InputError on sizes that differ and unusable
/// options.
Refinement refine(const StochasticLikelihood& likelihood, const RefinementStart& start,
                  const RefinementOptions& options = {});

}  // namespace gradflow
