#pragma once

#include <vector>

#include "gradflow/operators/operator_family.h"

namespace gradflow {

/// A weakly informative prior on one parameter p of a search, as a penalty on minus twice the log-likelihood:
///
///     flat         0
///     normal       (p - location)^2 / scale^2
///     half_cauchy  2 log(1 + exp(2 p)/scale^2): a half-Cauchy density on r = exp(p) >= 0, taken in r
///
/// Each is 0 at its least. half_cauchy is for relevances: switching a feature off (r -> 0) costs nothing, one
/// that is switched on to r >> scale costs about 4 log(r/scale), nearly the same however strong it is.
struct ParameterPrior {
  enum class Kind { flat, normal, half_cauchy };

  Kind kind = Kind::flat;
  double location = 0.0;
  double scale = 1.0;

  static ParameterPrior normal(double mean, double sd) { return {Kind::normal, mean, sd}; }
  static ParameterPrior relevance(double scale = 0.3) { return {Kind::half_cauchy, 0.0, scale}; }

  double penalty(double p) const;
  double slope(double p) const;  ///< d penalty/dp
};

/// One prior for each parameter: for those whose name holds the word "relevance" relevance(scale) with the
/// family's own start as the scale; for the others a normal around that start with sd 2, a factor of 7 either
/// way.
std::vector<ParameterPrior> default_priors(const OperatorFamily& family);

}  // namespace gradflow
