#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include "gradflow/inference/reml.h"
#include "gradflow/inference/resampled_p_value.h"
#include "gradflow/inference/score.h"
#include "gradflow/operators/training_operator.h"
#include "gradflow/spectrum/fixed_effects.h"

namespace gradflow {

struct ComponentTestOptions {
  Index draws = 1999;              ///< R of the parametric bootstrap; 0: none
  std::uint64_t seed = 1;          ///< streams "component test BLOCK"
  bool likelihood_ratio = false;   ///< the likelihood ratio too: ten more eigendecompositions
  double largest_shrinkage = 1e8;  ///< bound of the search for tau_1, as in RemlOptions
  void check() const;
};

/// Test of one operator given another: does H_2 (more features, another kernel) explain what H_1 does not?
///
///     Var(w) = s2 (I + tau_1 M_1 + tau_2 M_2),   H0: tau_2 = 0,   V = I + tau_1 M_1 at the REML tau_1 under
///     H0
///
///     T = N w'V^-1 M_2 V^-1 w / w'V^-1 w,   large T rejects
///
/// Two p-values. `given`: the exact one of T if tau_1 were known, Pr( sum_i (a_i - T/N) chi2_1 > 0 ), a the
/// eigenvalues of V^-1/2 M_2 V^-1/2; it reaches any tail, but ignores that tau_1 was fitted to the same
/// response, which takes variance from T: conservative, the more so the more H_2 resembles H_1. `bootstrap`:
/// responses from the fitted null, tau_1 estimated again for each, compared by the standardised score
///
///     S = (N T - tr A) / sqrt( 2 (tr A^2 - (tr A)^2 / N) ),   A = V^-1/2 M_2 V^-1/2 at the draw's own tau_1.
///
/// It accounts for the estimation up to the error of tau_1 itself, and cannot be below 1 / (R + 1). The
/// likelihood ratio maximises over tau_1 and tau_2 both, at ten fixed shares tau_2 s_2 / (tau_1 s_1 + tau_2
/// s_2), s_k = tr M_k, in the same way for the data and for every draw; its p-value is from the same
/// bootstrap.
///
/// The draws live in the eigenbasis of M_1: cost of the bootstrap 4 N^2 R flops, beside two
/// eigendecompositions; memory 4 n^2 doubles. The draws are the same for any number of threads. Sources: Lin
/// (1997); Davison and Hinkley (1997), ch. 4; Qu, Guennel and Marshall (2013) for the score given other
/// components.
struct ComponentTest {
  Outcome outcome = Outcome::not_run;
  std::string reason = "component_test() has not been called";
  double null_time = std::numeric_limits<double>::quiet_NaN();         ///< tau_1 under H0
  Outcome null_outcome = Outcome::not_run;                             ///< of its estimate
  double statistic = std::numeric_limits<double>::quiet_NaN();         ///< T, units of H_2's eigenvalues
  ScoreTest given{};                                                   ///< exact given tau_1
  double standardised = std::numeric_limits<double>::quiet_NaN();      ///< S
  ResampledPValue bootstrap{};                                         ///< of S; NaN: draws = 0
  double likelihood_ratio = std::numeric_limits<double>::quiet_NaN();  ///< >= 0; NaN: not asked for
  ResampledPValue likelihood_ratio_bootstrap{};
};

/// y (n): responses minus initial outputs. Where H_1 can explain nothing (zero, or all its eigenvalues equal)
/// tau_1 is 0, and the test is the score test of H_2. Unidentified where H_2 is a multiple of H_1, or of the
/// identity, after the fixed effects. Throws InputError when sizes disagree, y is not finite or an operator
/// is not positive semidefinite.
ComponentTest component_test(const TrainingOperator& H_1, const TrainingOperator& H_2,
                             const FixedEffects& fixed, ConstVector y,
                             const ComponentTestOptions& options = {});

}  // namespace gradflow
