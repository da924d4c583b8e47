#pragma once

#include <limits>
#include <string>

#include "gradflow/inference/classification_scores.h"
#include "gradflow/inference/outcome.h"

namespace gradflow {

/// softmax of every row of m x K logits, without overflow.
Matrix softmax(ConstBlock logits);

/// From scores to probabilities, by a slope and an offset of each class:
///
///     p_c(u) = softmax_c( offset_c + slope_c u_c )
///
/// Any u that orders the classes becomes probabilities; fitted on scores of rows that had no part in them
/// (leave-one-out) they are calibrated. Sources: Platt (1999); Guo et al. (2017), vector scaling.
struct ProbabilityMap {
  Vector slope{};   ///< K, >= 0
  Vector offset{};  ///< K
  Outcome outcome = Outcome::not_run;
  std::string reason = "not computed";

  Matrix apply(ConstBlock scores) const;  ///< m x K to m x K, rows sum to one
};

/// The map is the posterior mode under offset_c ~ N(base_c, offset_sd^2) and slopes that are alike,
///
///     slope_c = common + own_c,  common ~ N(slope_mean, slope_sd^2),  own_c ~ N(0, own_sd^2)
struct MapPrior {
  double slope_mean = 1.0;
  double slope_sd = 1.0;   ///< > 0
  double own_sd = 0.25;    ///< > 0
  Vector base{};           ///< K; empty: zeros
  double offset_sd = 1.0;  ///< > 0
  void check(Index classes) const;
};

/// Newton's method on the convex penalised multinomial likelihood. A slope that would be negative is held at
/// 0 (that score does not order the classes), with outcome on_boundary. Cost 20 m K^2. Throws InputError for
/// sizes that differ or scores that are not finite.
ProbabilityMap fit_probability_map(ConstBlock scores, const Labels& labels, const MapPrior& prior);

}  // namespace gradflow
