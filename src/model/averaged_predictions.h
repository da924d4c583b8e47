#pragma once

#include <vector>

#include "gradflow/model/fitted_model.h"

namespace gradflow {

/// The mean of members' predictions of the same rows, `members` of `model` and its `others` in order; see
/// predict(). Ends of intervals, where `interval` is not `none`:
///
///     cross_validated  mean_k g_k^-1( location_k -+ q scale_k / widening_k ), q the left-out errors'
///     quantile,
///                      which knows what choosing costs; g_k member k's transform
///     otherwise        y with U(y) = sum_k F_k(y) / K = mixture_share((1 -+ level)/2), F_k member k's
///                      distribution, by mixture_calibration for all but `model`
Predictions averaged(const FittedModel& model, std::vector<Predictions> members, IntervalKind interval);

/// log( sum_k p_k(y) / K ) + log_density_ratio(Phi^-1(U(y))), m. `member_densities`: m x K, log p_k(y).
Vector averaged_log_densities(const FittedModel& model, const Predictions& predictions, const Vector& y,
                              const Matrix& member_densities);

}  // namespace gradflow
