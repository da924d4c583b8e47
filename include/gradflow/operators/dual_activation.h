#pragma once

#include "gradflow/network/activation.h"

namespace gradflow {

/// The dual of an activation phi: for (u, v) ~ N(0, [[a, c], [c, b]])
///
///     value = E[phi(u) phi(v)],     derivative = E[phi'(u) phi'(v)],     rho = c / sqrt(ab)
///
///     relu, leaky_relu, abs   with slope s below 0 (0 and -1 for the first and last), theta = arccos rho:
///         sqrt(ab)/2pi [(1-s)^2 sqrt(1-rho^2) + rho ((1+s^2)(pi-theta) + 2 s theta)],
///         1/2pi [(1+s^2)(pi-theta) + 2 s theta]
///     erf    2/pi arcsin(2c / sqrt((1+2a)(1+2b))),     4/pi / sqrt((1+2a)(1+2b) - 4c^2)
///     gelu   c/4 + c/2pi arctan(c/D) + (c^2 + ab D^2) / (2pi (1+a)(1+b) D),     D^2 = (1+a)(1+b) - c^2
///            1/4 + 1/2pi arctan(c/D) + c/(2pi D) [1/D^2 + (1-ab)/((1+a)(1+b)) + 1]
///     sin    e^{-(a+b)/2} sinh c, e^{-(a+b)/2} cosh c     (cos: the two exchanged)
///     identity  c, 1
///     tanh   sum_k h_k(a) h_k(b) rho^k, h_k(a) the Hermite coefficients of phi(sqrt(a) x), x ~ N(0, 1);
///            likewise for phi'. Cut after as many terms as the largest variance needs, at most 1024 of
///            either parity. The remainder is put on the last power of rho: rho = 1 is exact at a = b, and
///            the largest error is near |rho| = 1 - 1/1024. Measured: at most 1e-13 for variances up to 20,
///            1e-11 at 30, 1e-6 at 100, 1e-3 at 5000; 1e-14 for |rho| < 0.98 at any of these.
///
/// Where |c| is within 32 rounding units of sqrt(ab), rho is taken as +-1: products of equal rows then give
/// equal entries, although the derivative of relu's dual is infinite there. Where a or b is 0, rho is 0. All
/// results are finite for finite a, b >= 0 and |c| <= sqrt(ab). Sources: Cho and Saul (2009), relu; Williams
/// (1997), erf; Tsuchida et al. (2021), gelu; Mehler (1866), tanh.
struct Dual {
  double value;
  double derivative;
};
Dual dual(const Activation& activation, double a, double b, double c);

/// The duals of many pairs with given variances: what depends on one variable is computed once.
class DualActivation {
 public:
  /// a: variances of the row variables; b: of the column variables. For tanh, memory 2 (terms + 1)
  /// doubles per variable.
  DualActivation(const Activation& activation, ConstVector a, ConstVector b);
  /// The same variables as rows and columns.
  DualActivation(const Activation& activation, ConstVector a);

  /// value[i], derivative[i] at covariance c[i] of row variable first + i with column variable `column`, for
  /// i in [0, count). The three arrays do not overlap.
  void column(Index column, Index first, Index count, const double* c, double* value,
              double* derivative) const;

  /// The duals at a = b = c of every row variable.
  void diagonal(Vector& value, Vector& derivative) const;

 private:
  /// One number per variable (sqrt(a), 1 + 2a, ...) and, for tanh, its coefficients.
  struct Side {
    Vector variance, root;
    Matrix value_coefficients, derivative_coefficients;  ///< variables x terms, of odd and of even degree
  };
  Side prepare(ConstVector variance, Index terms) const;
  const Side& columns() const noexcept { return columns_.variance.size() > 0 ? columns_ : rows_; }
  void series_column(Index column, Index first, Index count, const double* c, double* value,
                     double* derivative) const;

  Activation activation_;
  Side rows_, columns_;
};

}  // namespace gradflow
