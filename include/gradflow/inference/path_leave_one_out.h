#pragma once

#include "gradflow/inference/path.h"
#include "gradflow/inference/reml.h"
#include "gradflow/spectrum/projected_spectrum.h"

namespace gradflow {

/// Whether path_leave_one_out() knows the path: flow, decay and ridge.
bool has_leave_one_out(PathKind kind);

/// Exact leave-one-out errors of the predictor at a point on a training path: e_i = y_i - f_-i(x_i), f_-i
/// trained without row i to the same time by the same operator (H keeps its scale). For `ridge`
///
///     e_i(tau) = (P w)_i / P_ii,     P = Q (I + tau M)^-1 Q',
///
/// and as the flow of any rows is the inverse Laplace transform of their `ridge` (exp(-tA) that of (p+A)^-1)
///
///     decay, flow (d = 0):   e_i(t) = L^-1[ e_i(tau = 1/(p + d)) / p ](t)
///
/// where r_i/(1 - S_ii), S the smoother, is off as soon as the data are nearly interpolated. The integral is
/// over 24 points of a cotangent contour, in conjugate pairs, whose error is of the order of 3.9^-24 of the
/// responses whatever t and M. n values, NaN for a row that alone determines a fixed effect. Throws
/// InputError for other paths. Cost 100 n N flops. Source of the contour: Trefethen, Weideman and Schmelzer,
/// BIT 46 (2006).
Vector path_leave_one_out(const ProjectedSpectrum& spectrum, const SpectralData& data, const Path& path);

}  // namespace gradflow
