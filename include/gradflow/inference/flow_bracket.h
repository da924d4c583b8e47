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
///     64 eps (1 + t lambda_1 / (1 + log c)) c (tr M + N B/A),     c = exp(-t theta/2) |w| / A^1/2 >= 1,
///
/// theta the smallest Ritz value: what a relative perturbation of some units of rounding in M and w does to
/// Q'. Of w's own rounding the share exp(-t theta/2) is left at time t, when exp(-tM/2) w has the length
/// A^1/2; a perturbation E of M moves the latter by at most |E| Int_0^(t/2) exp(-(t/2 - s) theta) |exp(-sM)
/// w| ds, which is at most |E| t A^1/2 c / (1 + log c) as the logarithm of the norm is convex in s. M must
/// have no negative eigenvalue.
struct FlowBracket {
  double lower = 0.0;
  double upper = 0.0;     ///< infinite: no upper bound yet
  double estimate = 0.0;  ///< root with the Gauss rule alone; inside
  double rounding = 0.0;  ///< relative width that the allowance alone leaves
  /// upper / lower - 1; infinite when one is missing; 0 for the bracket [0, 0].
  double relative_width() const;
};

/// mass = w'w; dimension = N. `null_squares` is the part of w'w in directions outside the space where M is
/// zero (replicates, PureError; their number is counted in N). Cost: three Gauss rules, about 100 k^2 flops,
/// and some hundred evaluations of k exponentials.
FlowBracket bracket_flow_time(const Tridiagonal& T, double mass, double trace, double dimension,
                              double null_squares = 0.0);

/// Bound, relative to |w|, of the error of the residual |w| V_k exp(-tT_k) e_1 that k Lanczos steps leave at
/// time t:
///
///     |exp(-tM)w - |w| V_k exp(-tT_k) e_1|  <=  |w| beta_k | e_k' T_k^-1 (I - exp(-tT_k)) e_1 |
///
/// The approximation obeys dx/dt = -M x but for beta_k (e_k' exp(-sT_k) e_1) v_{k+1}, which the flow itself
/// does not enlarge (M >= 0) and which keeps its sign in s, as T_k has positive off-diagonals. Exact up to
/// rounding, some units of t lambda_1 eps. A prediction h_x'alpha at any new point is off by at most 0.64 (t
/// lambda_1)^1/2 (h_xx / lambda_1)^1/2 |w| times the bound: |M^1/2 (alpha - alpha_k)| follows in the same way
/// from (1 - exp(-u lambda)) / lambda^1/2 <= 0.64 u^1/2. 0 where the space is invariant. Cost: the
/// eigenvectors of T_k. Source: the defect of a Krylov approximation, Saad (1992), SIAM J. Numer. Anal.
/// 29:209; its sign, Druskin, Greenbaum and Knizhnerman (1998), SIAM J. Sci. Comput. 19:38.
double flow_fit_error(const Tridiagonal& T, double time);

}  // namespace gradflow
