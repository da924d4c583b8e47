#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "gradflow/base/progress.h"
#include "gradflow/inference/likelihood.h"
#include "gradflow/inference/outcome.h"
#include "gradflow/inference/prior.h"

namespace gradflow {

/// NLopt's local optimisers with gradients and bounds.
enum class Optimiser { lbfgs, slsqp, variable_metric };

/// Of the prior on log r, r the prior variance of the function over that of the noise; see select().
constexpr double signal_prior_sd = 3.0;

struct SelectionOptions {
  int starts = 2;              ///< local searches per candidate, >= 1
  std::uint64_t seed = 1;      ///< of the starts after the first
  double spread = 1.0;         ///< standard deviation of their parameters around the family's start, > 0
  int max_evaluations = 40;    ///< of likelihood and gradient, per start, >= 2
  double tolerance = 1e-3;     ///< a step that lowers the penalised criterion by less ends a search, > 0
  double prune_margin = 20.0;  ///< see select()
  TransformKind transform = TransformKind::none;
  double lowest_lambda = -3.0, highest_lambda = 4.0;  ///< lowest < 1 < highest
  double lowest_signal = 1e-6, highest_signal = 1e8;  ///< bounds of tau tr H(start)/n, positive
  Optimiser optimiser = Optimiser::lbfgs;
  Progress* progress = nullptr;
  void check() const;
};

/// A family of operators to choose from. `priors`: one for each parameter; empty: default_priors(). `start`:
/// where the first search begins; empty: the family's.
struct Candidate {
  std::string name{};
  std::shared_ptr<const OperatorFamily> family{};
  Prior priors{};
  Vector start{};
};

/// One local search.
struct SearchRecord {
  Vector start{};  ///< (p, log tau[, lambda])
  double penalised_criterion = std::numeric_limits<double>::infinity();
  int evaluations = 0;  ///< of likelihood and gradient; 7 factorisations for the first tau are not counted
  bool converged = false;
  std::string reason{};  ///< why the optimiser stopped
};

struct CandidateFit {
  std::string name{};
  Outcome outcome = Outcome::not_run;
  std::string reason = "not fitted";
  std::vector<std::string> parameter_names{};
  Vector parameters{};  ///< p, of the family
  double tau = std::numeric_limits<double>::quiet_NaN();
  ResponseTransform transform{};                               ///< with the estimated lambda
  double criterion = std::numeric_limits<double>::infinity();  ///< Q, no penalty
  double penalised_criterion =
      std::numeric_limits<double>::infinity();                          ///< Q + penalties: what was minimised
  double criterion_at_zero = std::numeric_limits<double>::quiet_NaN();  ///< Q at tau = 0, the same lambda
  Index parameter_count = 0;             ///< chosen by the likelihood: m + 1 (tau) + 1 (lambda, if any)
  LikelihoodValue value{};               ///< at the estimate: s2, degrees of freedom, leave-one-out
  std::vector<std::string> at_bound{};   ///< "NAME = its lower bound VALUE"
  std::vector<SearchRecord> searches{};  ///< in the order of their starts
  bool pruned = false;                   ///< no further starts were made
  int evaluations = 0;                   ///< of all searches
};

struct Selection {
  std::vector<CandidateFit> candidates{};  ///< in the order given
  Index best = -1;                         ///< lowest penalised criterion; -1: none has a finite one
  std::vector<std::string> warnings{};
};

/// Chooses an operator, and its parameters, by the restricted likelihood of the response.
///
///     minimise  Q(p, log tau, lambda) + penalty(p) (prior.h) + log(r)^2/9 + (lambda - 1)^2,
///     r = tau tr H(start)/n, prior variance of the function over that of the noise
///
/// over each family's bounds; the candidate with the lowest minimum is best. All are given the same response,
/// fixed effects and transform, so that their criteria compare. Q is not convex: the least of `starts` local
/// searches is taken. The first begins at the candidate's start, the others around it, each at the best of 7
/// values of tau (and of lambda) there. A candidate whose first search was more than prune_margin above the
/// best of all first searches after a third of max_evaluations, and still is at its end, is given no further
/// starts.
///
/// Outcomes of a candidate: converged; on_boundary: a parameter is at a bound (a relevance at its lower bound
/// is a feature switched off, which is an answer); at_zero: tau at its lower bound, no training is warranted;
/// iteration_limit: the best search ended at max_evaluations (its parameters are a valid operator, near but
/// not at the optimum); unidentified: no finite likelihood at any start, or fixed effects that explain the
/// response.
///
/// Parameters chosen from the data are treated as known by what follows (s2, intervals, posterior): with m
/// not small against n they overstate the fit. The penalties limit this, leave-one-out at fixed parameters
/// does not see it.
///
/// Throws InputError on unusable options, no candidates, or sizes that differ; what a family or `progress`
/// throws is passed on. The same seed gives the same searches
/// (the same bits for the same number of BLAS threads). Cost: starts x evaluations of RestrictedLikelihood.
Selection select(const std::vector<Candidate>& candidates, const Response& response,
                 const FixedEffects& fixed, const SelectionOptions& options = {});

}  // namespace gradflow
