#pragma once

#include "gradflow/spectrum/quadrature.h"

namespace gradflow {

/// Bounds for the root t of the flow likelihood's derivative,
///
///     Q'(t) = tr M - N B(t) / A(t),   A = w'exp(-tM)w,   B = w'M exp(-tM)w,
///
/// from k Lanczos steps. A and B are integrals of a completely monotone function over mu and over lambda dmu,
/// so the Gauss rules of the two measures bound them from below and the Radau rules with a node at 0 from
/// above: Q' lies between tr M - N B_upper/A_lower and tr M - N B_lower/A_upper, and Q' increases. Every end
/// is moved outwards until the sign of Q' is certain beyond the rounding allowance
///
///     64 eps (1 + t lambda_1) (tr M + N B/A),
///
/// what a relative perturbation of some units of rounding in M does to Q'. M must have no negative
/// eigenvalue.
struct FlowBracket {
  double lower = 0.0;
  double upper = 0.0;     ///< infinite: no upper bound yet
  double estimate = 0.0;  ///< root with the Gauss rule alone; inside
  double rounding = 0.0;  ///< relative width that the allowance alone leaves
  /// upper / lower - 1; infinite when one is missing; 0 for the bracket [0, 0].
  double relative_width() const;
};

/// mass = w'w. Cost: three Gauss rules, about 100 k^2 flops, and some hundred evaluations of k exponentials.
FlowBracket bracket_flow_time(const Tridiagonal& T, double mass, double trace, double dimension);

}  // namespace gradflow
