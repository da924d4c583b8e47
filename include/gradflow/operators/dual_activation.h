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

/// The duals of many pairs with given variances: what depends on one variable is computed once. Real is float
/// or double: in float the results err by a few of its rounding units relative to sqrt(ab) E[phi'^2] and to
/// E[phi'^2], "within 32 rounding units" means float's, and for relu, leaky_relu and abs variances below
/// 1e-30 count as 0. Loops run in the widest vector registers of the processor: results differ between
/// processors by rounding.
template <typename Real>
class BasicDualActivation {
 public:
  /// a: variances of the row variables; b: of the column variables. Memory 3 numbers per variable, for tanh
  /// 2 (terms + 1).
  BasicDualActivation(const Activation& activation, ConstVector a, ConstVector b);
  /// The same variables as rows and columns.
  BasicDualActivation(const Activation& activation, ConstVector a);

  /// value[i], derivative[i] at covariance c[i] of row variable first + i with column variable `column`, for
  /// i in [0, count). The three arrays do not overlap.
  void column(Index column, Index first, Index count, const Real* c, Real* value, Real* derivative) const;

  /// One layer of the kernels in infinite_ntk.h. K and T are count x columns without gaps and do not overlap;
  /// K holds the covariances c of row variables first + i with column variables column + j:
  ///
  ///     K <- sw2 value(c) + sb2,     T <- K + sw2 T derivative(c)
  void advance(Index column, Index columns, Index first, Index count, Real sw2, Real sb2, Real* K,
               Real* T) const;

  /// The duals at a = b = c of every row variable.
  void diagonal(Vector& value, Vector& derivative) const;

 private:
  using Numbers = Eigen::Matrix<Real, Eigen::Dynamic, 1>;
  using Coefficients = Eigen::Matrix<Real, Eigen::Dynamic, Eigen::Dynamic>;
  /// Three numbers per variable (a, sqrt(a), 1 / sqrt(1 + a), ...) and, for tanh, its coefficients.
  struct Side {
    Vector given;
    Numbers variance, root, inverse;
    Coefficients value_coefficients, derivative_coefficients;  ///< variables x terms, odd and even degree
  };
  Side prepare(ConstVector variance, Index terms) const;
  const Side& columns() const noexcept { return columns_.given.size() > 0 ? columns_ : rows_; }
  template <typename Sink>
  void evaluate(Index column, Index first, Index count, const Real* c, const Sink& sink) const;
  template <typename Sink>
  void evaluate_series(Index column, Index first, Index count, const Real* c, const Sink& sink) const;

  Activation activation_;
  Side rows_, columns_;
};

extern template class BasicDualActivation<double>;
extern template class BasicDualActivation<float>;
using DualActivation = BasicDualActivation<double>;

}  // namespace gradflow
