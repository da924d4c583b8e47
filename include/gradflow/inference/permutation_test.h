#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include "gradflow/inference/outcome.h"
#include "gradflow/inference/resampled_p_value.h"
#include "gradflow/operators/training_operator.h"
#include "gradflow/spectrum/fixed_effects.h"

namespace gradflow {

struct PermutationOptions {
  Index draws = 9999;      ///< R, >= 1
  std::uint64_t seed = 1;  ///< streams "permutation BLOCK"
  Index block = 64;        ///< permutations per product with H, >= 1
  /// Stop at this many permutations at or above the observed statistic (Besag and Clifford 1991); 0: never.
  Index stop_after = 0;
  void check() const;
};

/// Score test of time 0 by permutation, without assuming Gaussian errors:
///
///     e = P y,     T(e) = N e'He / e'e,     p = share of permutations pi with T(P e_pi) >= T(e)
///
/// P = I - X(X'X)^-1X' takes the fixed effects out, of the residual and again of the permuted residual, as
/// a refit of fitted + e_pi would (Freedman and Lane 1983). With an intercept alone, or without fixed
/// effects, the level is exact for exchangeable errors; with covariates it is approximate. Where all n!
/// permutations are no more than `draws`, all are counted and p is their share, without random error.
/// Values within 1e-10 (relative) of the observed one are ties, and count.
///
/// y (n): responses minus initial outputs. Cost one product of H with R columns; memory 3 n x block.
struct PermutationTest {
  Outcome outcome = Outcome::not_run;
  std::string reason = "permutation_test() has not been called";
  double statistic = std::numeric_limits<double>::quiet_NaN();  ///< T, as in ScoreTest
  ResampledPValue resampled{};                                  ///< the p-value
  bool enumerated = false;                                      ///< all n! permutations were counted
  bool exact_level = false;                                     ///< no covariates beside an intercept
  bool stopped_early = false;                                   ///< by stop_after
};

/// Throws InputError when sizes disagree or y is not finite.
PermutationTest permutation_test(const TrainingOperator& H, const FixedEffects& fixed, ConstVector y,
                                 const PermutationOptions& options = {});

}  // namespace gradflow
