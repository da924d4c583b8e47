#pragma once

#include "gradflow/network/activation.h"

namespace gradflow {

/// Hermite coefficients of an odd, smooth, bounded activation at scaled arguments: with the orthonormal
/// Hermite polynomials p_k of the standard normal distribution and x ~ N(0, 1),
///
///     value(i, m) = E[phi(sqrt(a_i) x) p_{2m+1}(x)],     derivative(i, m) = E[phi'(sqrt(a_i) x) p_{2m}(x)],
///
/// m < terms (the other parity vanishes). One more column holds the square root of what the squares of the
/// others lack to E[phi^2] and E[phi'^2], so that the truncated series is exact at a = b, rho = 1 and stays
/// semidefinite. Expectations by the trapezoidal rule, which converges geometrically for functions analytic
/// in a strip; its step follows from tanh's poles at +-i pi / (2 sqrt(a)) (Trefethen and Weideman 2014) and
/// the rule has at most 4096 nodes, enough for variances up to about 5000. Cost n nodes (terms + 1)
/// multiply-adds by BLAS.
struct HermiteCoefficients {
  Matrix value, derivative;            ///< n x (terms + 1)
  Vector value_mean, derivative_mean;  ///< E[phi(u)^2], E[phi'(u)^2], n
};
HermiteCoefficients hermite_coefficients(const Activation& activation, ConstVector variance, Index terms);

/// The smallest number of terms beyond which the squares of the coefficients at this variance sum to at most
/// 1e-13; at most 1024.
Index hermite_terms(const Activation& activation, double largest_variance);

}  // namespace gradflow
