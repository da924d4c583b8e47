#pragma once

#include <limits>
#include <string>

#include "gradflow/inference/reml.h"

namespace gradflow {

/// An estimate with its profile-likelihood interval, and what to know before reading it.
struct ProfileInterval {
  Outcome outcome = Outcome::not_run;
  std::string reason = "profile_intervals() has not been called";  ///< a sentence; names the boundary, if any
  double estimate = std::numeric_limits<double>::quiet_NaN();
  Interval interval{std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::quiet_NaN(), 0.95};
};

/// Profile-likelihood intervals of everything that REML along a path estimates.
///
///     time            S = { t : Q(t) - Q_min <= c },  c the chi2_1 quantile of the level; its outermost ends
///     effective dof   tr(I - phi_t(M)),  t in S;      signal share  1 - w'phi_t(M)w / w'w,  t in S
///     noise variance  { s2 : min_t N log s2 + w'phi_t(M)w / s2 + sum v_t - its minimum <= c }
///
/// The dof and the signal share are functions of the time, so theirs are images of S: of its ends where the
/// function increases (checked on the grid; phi decreases in time on every path), otherwise the range over S.
/// The signal share is that of the observed w: its interval says how far the time is uncertain, not how far
/// another sample's share would differ.
///
/// Noise variance: for t in S with slack r = c - (Q(t) - Q_min) and x = N s2 / w'phi_t(M)w the set is
/// log x + 1/x - 1 <= r/N, whose ends are -1/W(-exp(-1 - r/N)) on the two branches of Lambert's W; the
/// interval is their outermost over t in S. Nothing is searched over s2.
///
/// Boundaries. Estimate 0: the lower end is 0 and, by the 50:50 mixture of chi2_0 and chi2_1, the interval
/// covers more than its level. Time on the bound of the search: its upper end is infinite, the dof and the
/// share have their limits there, and the noise variance's lower end is 0 (not identified from below). Flow
/// with an infinite time: no interval exists, NaN.
struct ProfileIntervals {
  RemlFit fit;
  ProfileInterval time;             ///< units of 1/lambda (descent: steps)
  ProfileInterval signal_share;     ///< in [0, 1]
  ProfileInterval effective_dof;    ///< without the fixed effects
  ProfileInterval noise_variance;   ///< s2, squared units of w
  bool images_are_monotone = true;  ///< of share and dof over S
};

/// Cost: about 700 evaluations of Q, N elementary functions each. Throws as fit_reml does.
ProfileIntervals profile_intervals(const SpectralData& data, const Path& family,
                                   const RemlOptions& options = {});

/// The same around a fit that exists already: `fit` must be fit_reml's of these data and options.
ProfileIntervals profile_intervals(const SpectralData& data, const RemlFit& fit,
                                   const RemlOptions& options = {});

}  // namespace gradflow
