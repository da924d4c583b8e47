#pragma once

#include <vector>

#include "gradflow/base/types.h"
#include "gradflow/spectrum/fixed_effects.h"

namespace gradflow {

/// Rows that are predicted from all the others.
struct HeldOut {
  Vector error{};     ///< e, observed less predicted, in units of w
  Vector variance{};  ///< of a new observation of each row, in units of the noise variance
};

/// Predictions of the rows I from the others, K, at a fixed V = I + tau H: universal kriging,
///
///     b = (X_K' V_KK^-1 X_K)^-1 X_K' V_KK^-1 w_K,   A = V_IK V_KK^-1,   R = X_I - A X_K
///     e = w_I - X_I b - A (w_K - X_K b)
///     variance = diag( V_II - A V_KI + R (X_K' V_KK^-1 X_K)^-1 R' )
///
/// H, w and X as in likelihood.h, where one row left out gives the same: e_i = (Pw)_i/P_ii, variance 1/P_ii.
/// With tau, the operator's parameters and the noise variance estimated from the rows K alone, these are
/// predictions of rows that had no part in them.
///
/// Throws InputError where sizes disagree, a row is out of range, none or all are held, or the fixed effects
/// of the rows kept are not independent. NaN where V_KK is not positive definite.
/// Cost: n_K^3/3 flops, n_K^2 n_I. Source: Cressie (1993), Statistics for Spatial Data, section 3.4.
HeldOut predict_held_out(const Matrix& H, double tau, const Vector& w, const FixedEffects& fixed,
                         const std::vector<Index>& held);

}  // namespace gradflow
