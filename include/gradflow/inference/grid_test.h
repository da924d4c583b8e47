#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "gradflow/inference/score.h"
#include "gradflow/operators/training_operator.h"
#include "gradflow/spectrum/fixed_effects.h"

namespace gradflow {

/// How the joint null of several tests is drawn: `automatic` is plain from a smallest p of 0.05 on.
enum class GridSampling { automatic, plain, importance };

struct GridTestOptions {
  Index draws = 4000;      ///< R, >= 1; rounded up to whole blocks of 32, as many for every operator
  std::uint64_t seed = 1;  ///< streams "grid test BLOCK"
  GridSampling sampling = GridSampling::automatic;
  void check() const;
};

/// Score test of time 0 for the best of K training operators, corrected for having looked at all of them:
///
///     p_k = exact p of the score test with H_k,     p_min = min_k p_k,
///     p = Pr( min_k p_k(w) <= p_min ),   w ~ N(0, I)
///       = Pr( union of E_k ),   E_k = { w'(M_k - q_k I)w >= 0 },   Pr(E_k) = p_min for every k
///
/// The joint null is used, not Bonferroni's bound: similar operators cost little. It lies between p_min
/// and K p_min, and the estimate never leaves that range, which is given with it. Draws come from the mixture
/// of the K tilted Gaussians
///
///     w ~ N(0, (I - 2 c_k (M_k - q_k I))^-1),   K_k'(c_k) = 0,
///     K_k(c) = -1/2 sum_i log(1 - 2c (lambda_ki - q_k)),
///
/// as many from each, weighted by W = K / sum_k exp(c_k x_k - K_k(c_k)), x_k = w'(M_k - q_k I)w; or plainly
/// from N(0, I) where p is large. As the sum of the Pr(E_k) is known,
///
///     p = sum_k Pr(E_k) * sum_r W_r 1[some E_k] / sum_r W_r #{k : E_k}
///
/// has no error at all for equal operators and none for disjoint events, and a relative error that does not
/// grow as p falls: 1e-10 and far below cost no more than 0.01.
///
/// Operators whose test is unidentified (zero, or all eigenvalues equal) are left out. Cost K
/// eigendecompositions and 2 n N K R flops; memory K n N doubles. Same bits for any number of threads.
/// Sources: Owen, Maximov and Chertkov (2019) for unions of rare events; Veach and Guibas (1995).
struct GridTest {
  Outcome outcome = Outcome::not_run;
  std::string reason = "grid_test() has not been called";
  std::vector<ScoreTest> tests{};  ///< of each operator alone, uncorrected
  Index best = -1;                 ///< the operator with the smallest p, 0-based
  Index compared = 0;              ///< K, those with an identified test
  double log10_smallest_p_value =
      std::numeric_limits<double>::quiet_NaN();                        ///< the statistic, and lower bound
  double log10_bonferroni = std::numeric_limits<double>::quiet_NaN();  ///< min(1, K p_min): the upper bound
  double p_value = std::numeric_limits<double>::quiet_NaN();           ///< underflows below about 1e-308
  double log10_p_value = std::numeric_limits<double>::quiet_NaN();
  double relative_standard_error = std::numeric_limits<double>::quiet_NaN();  ///< of p
  GridSampling sampling = GridSampling::automatic;                            ///< the one that was used
  Index draws = 0;
  std::uint64_t seed = 0;
};

/// y (n): responses minus initial outputs. The operators (at least one, none null) all have the size of
/// `fixed`; InputError otherwise.
GridTest grid_test(const std::vector<const TrainingOperator*>& operators, const FixedEffects& fixed,
                   ConstVector y, const GridTestOptions& options = {});

}  // namespace gradflow
