#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <type_traits>

#include "gradflow/network/activation.h"

/// The closed forms of dual_activation.h for one pair of variables, in float or double, without branches or
/// calls, so that loops over them vectorise.
namespace gradflow::pairs {

template <typename Real>
constexpr Real pi = std::numbers::pi_v<Real>;
template <typename Real>
constexpr Real snap = Real(32) * std::numeric_limits<Real>::epsilon();

/// sum_m coefficients[first + 4m] w^m
template <std::size_t first, typename Real, std::size_t count>
[[gnu::always_inline]] inline Real every_fourth(Real w, const Real (&coefficients)[count]) {
  if constexpr (first + 4 < count)
    return every_fourth<first + 4>(w, coefficients) * w + coefficients[first];
  else
    return coefficients[first];
}

/// sum_k coefficients[k] x^k in four interleaved sums, which a processor works on at the same time.
template <typename Real, std::size_t count>
[[gnu::always_inline]] inline Real polynomial(Real x, const Real (&coefficients)[count]) {
  const Real square = x * x, w = square * square;
  return (every_fourth<0>(w, coefficients) + x * every_fourth<1>(w, coefficients)) +
         square * (every_fourth<2>(w, coefficients) + x * every_fourth<3>(w, coefficients));
}

template <typename Real>
using Bits = std::conditional_t<std::is_same_v<Real, float>, std::uint32_t, std::uint64_t>;

/// condition ? yes : no, by masks: compilers make branches of a condition that they see twice, and evaluate
/// what lies between them on both sides.
template <typename Real>
[[gnu::always_inline]] inline Real select(bool condition, Real yes, Real no) {
  const Bits<Real> mask = Bits<Real>(0) - static_cast<Bits<Real>>(condition);
  return std::bit_cast<Real>((std::bit_cast<Bits<Real>>(yes) & mask) |
                             (std::bit_cast<Bits<Real>>(no) & ~mask));
}

/// (arcsin(s) - s) / s^3 in z = s^2 for 0 <= z <= 1/2, interpolated at Chebyshev points; the remainder moves
/// arcsin by at most 3e-17 and 4e-9.
template <typename Real>
[[gnu::always_inline]] inline Real arcsine_part(Real z) {
  if constexpr (std::is_same_v<Real, float>) {
    constexpr float c[] = {0.1666666568F,  0.07500252164F, 0.04453881397F,  0.03199023923F,
                           0.01043532597F, 0.06379697638F, -0.07972071595F, 0.0946973496F};
    return polynomial(z, c);
  } else {
    constexpr double c[] = {0.1666666666666666,   0.075000000000089827, 0.044642857123585155,
                            0.030381946078023857, 0.022372086303686843, 0.017354730668996844,
                            0.013929824301362788, 0.011985559032731258, 0.0058919623838489126,
                            0.033823977477227557, -0.11747841395554579, 0.46581061083892004,
                            -1.258681300394588,   2.5735080644015927,   -3.7415993002001366,
                            3.7316474816315225,   -2.277990489441633,   0.66294755483690968};
    return polynomial(z, c);
  }
}

/// The angle in [0, pi/2] with this sine and cosine, by the arcsine of the smaller.
template <typename Real>
[[gnu::always_inline]] inline Real acute_angle(Real sine, Real cosine) {
  const bool flat = sine < cosine;
  const Real s = select(flat, sine, cosine);
  const Real z = s * s;
  const Real angle = s + s * (z * arcsine_part(z));
  return select(flat, angle, Real(0.5) * pi<Real> - angle);
}

/// exp(x) for x <= 0, and never below exp(-708) or exp(-87): 2^n exp(r), |r| <= log(2)/2. The addition of
/// 1.5 2^52 (2^23) rounds to an integer and leaves it in the lowest bits. Error 2 rounding units.
template <typename Real>
[[gnu::always_inline]] inline Real exp_negative(Real x) {
  constexpr bool is_float = std::is_same_v<Real, float>;
  constexpr int fraction = std::numeric_limits<Real>::digits - 1;
  constexpr Real magic = is_float ? Real(0x1.8p23) : Real(0x1.8p52);
  constexpr Real log2_high = is_float ? Real(0x1.63p-1) : Real(0x1.62e42feep-1);
  constexpr Real log2_low = is_float ? Real(-2.12194440e-4) : Real(1.90821492927058770002e-10);
  constexpr Real least = is_float ? Real(-87) : Real(-708);
  const Real bounded = x > least ? (x < Real(0) ? x : Real(0)) : least;
  const Real shifted = bounded * std::numbers::log2e_v<Real> + magic;
  const Real n = shifted - magic;
  const Real r = (bounded - n * log2_high) - n * log2_low;
  Real part;  // (exp(r) - 1 - r) / r^2, at Chebyshev points
  if constexpr (is_float) {
    constexpr float c[] = {0.5000000013F,   0.1666666668F, 0.04166646493F,
                           0.008333310925F, 0.001393365F,  0.0001989099082F};
    part = polynomial(r, c);
  } else {
    constexpr double c[] = {0.5000000000000001,    0.16666666666666667,   0.041666666666624128,
                            0.0083333333333300618, 0.0013888888917213717, 0.00019841269863053617,
                            2.4801521295954375e-5, 2.7557268459997065e-6, 2.7620088445409748e-7,
                            2.5100385495510319e-8};
    part = polynomial(r, c);
  }
  const Real mantissa = Real(1) + (r + r * r * part);
  const Real power = std::bit_cast<Real>(static_cast<Bits<Real>>(
      (std::bit_cast<Bits<Real>>(shifted) << fraction) + std::bit_cast<Bits<Real>>(Real(1))));
  return mantissa * power;
}

/// sinh(x) for 0 <= x <= 1: x + x^3 polynomial(x^2) at Chebyshev points. Error 1 rounding unit.
template <typename Real>
[[gnu::always_inline]] inline Real small_sinh(Real x) {
  const Real z = x * x;
  Real part;
  if constexpr (std::is_same_v<Real, float>) {
    constexpr float c[] = {0.1666666665F, 0.008333339676F, 0.0001983810197F, 2.806280258e-6F};
    part = polynomial(z, c);
  } else {
    constexpr double c[] = {0.16666666666666667,   0.0083333333333332994, 0.00019841269841324198,
                            2.7557319191381817e-6, 2.5052117695907824e-8, 1.6057679623801638e-10,
                            7.7461785930188275e-13};
    part = polynomial(z, c);
  }
  return x + x * (z * part);
}

/// What a formula keeps of one variable: its variance and two numbers of the formula's own.
template <typename Real>
struct Marginal {
  Real variance, root, inverse;
};

template <typename Real>
struct PiecewiseLinear {  // relu, leaky_relu, abs: slope 1 above 0 and s below
  Real s;
  static Marginal<double> marginal(double a) {
    const double root = std::sqrt(a);
    // In float, 1 / root of a smaller variance than 1e-30 could overflow: it counts as 0.
    const bool vanishes = std::is_same_v<Real, float> ? a < 1e-30 : a == 0.0;
    return {a, root, vanishes ? 0.0 : 1.0 / root};
  }
  [[gnu::always_inline]] void operator()(const Marginal<Real>& a, const Marginal<Real>& b, Real c,
                                         Real& value, Real& derivative) const {
    const Real ratio = std::abs(c) * (a.inverse * b.inverse);
    const Real gap = Real(1) - ratio > snap<Real> ? Real(1) - ratio : Real(0);  // 1 - |rho|
    const Real cosine = Real(1) - gap;
    const Real sine = std::sqrt(gap * (Real(1) + cosine));
    const Real acute = acute_angle(sine, cosine);
    const Real obtuse = pi<Real> - acute;
    const Real below = c < Real(0) ? acute : obtuse;  // pi - theta
    const Real theta = c < Real(0) ? obtuse : acute;
    const Real slopes = (Real(1) + s * s) * below + Real(2) * s * theta;
    const Real signed_cosine = c < Real(0) ? -cosine : cosine;
    constexpr Real scale = Real(0.5) / pi<Real>;
    value = scale * (a.root * b.root) * ((Real(1) - s) * (Real(1) - s) * sine + signed_cosine * slopes);
    derivative = scale * slopes;
  }
};

/// ab - c^2 without cancellation, exactly 0 within the snap. m = sqrt(ab).
template <typename Real>
[[gnu::always_inline]] inline Real determinant(Real m, Real c) {
  const Real gap = m - std::abs(c);
  return (gap > snap<Real> * m ? gap : Real(0)) * (m + std::abs(c));
}

template <typename Real>
struct ErrorFunction {
  static Marginal<double> marginal(double a) { return {a, std::sqrt(a), 1.0 / std::sqrt(1.0 + 2.0 * a)}; }
  [[gnu::always_inline]] void operator()(const Marginal<Real>& a, const Marginal<Real>& b, Real c,
                                         Real& value, Real& derivative) const {
    // x^2 = r^2 - 4c^2, 1/r the product of the inverses; arcsin(2c / r) has the cosine x / r
    const Real inverse = a.inverse * b.inverse;
    const Real x =
        std::sqrt(Real(1) + Real(2) * (a.variance + b.variance) + Real(4) * determinant(a.root * b.root, c));
    const Real angle = acute_angle(Real(2) * std::abs(c) * inverse, x * inverse);
    constexpr Real scale = Real(2) / pi<Real>;
    value = scale * (c < Real(0) ? -angle : angle);
    derivative = Real(2) * scale / x;
  }
};

template <typename Real>
struct GaussianError {  // gelu
  static Marginal<double> marginal(double a) { return {a, std::sqrt(a), 1.0 / std::sqrt(1.0 + a)}; }
  [[gnu::always_inline]] void operator()(const Marginal<Real>& a, const Marginal<Real>& b, Real c,
                                         Real& value, Real& derivative) const {
    const Real inverse = a.inverse * b.inverse, square = inverse * inverse;
    const Real D2 = Real(1) + (a.variance + b.variance) + determinant(a.root * b.root, c);
    const Real D = std::sqrt(D2), over_D = Real(1) / D, over_D2 = over_D * over_D;
    const Real acute = acute_angle(std::abs(c) * inverse, D * inverse);
    const Real angle = c < Real(0) ? -acute : acute;  // arctan(c / D)
    const Real product = a.variance * b.variance;
    constexpr Real scale = Real(0.5) / pi<Real>;
    value = Real(0.25) * c + scale * (c * angle + (c * c * over_D2 + product) * (D * square));
    derivative =
        Real(0.25) + scale * (angle + c * over_D * (over_D2 + (Real(1) - product) * square + Real(1)));
  }
};

template <typename Real>
struct Wave {  // sin, and cos with the two results exchanged
  static Marginal<double> marginal(double a) { return {0.5 * a, std::exp(-0.5 * a), 0.0}; }
  [[gnu::always_inline]] void operator()(const Marginal<Real>& a, const Marginal<Real>& b, Real c, Real& odd,
                                         Real& even) const {
    // e^{-h} sinh c and e^{-h} cosh c with |c| <= h
    const Real h = a.variance + b.variance, size = std::abs(c);
    const Real above = exp_negative(size - h), below = exp_negative(-size - h);
    even = Real(0.5) * (above + below);
    const Real bounded = size < Real(1) ? size : Real(1);
    const Real sinh = size < Real(1) ? (a.root * b.root) * small_sinh(bounded) : Real(0.5) * (above - below);
    odd = c < Real(0) ? -sinh : sinh;
  }
};

template <typename Real>
struct Linear {
  static Marginal<double> marginal(double a) { return {a, 0.0, 0.0}; }
  [[gnu::always_inline]] void operator()(const Marginal<Real>&, const Marginal<Real>&, Real c, Real& value,
                                         Real& derivative) const {
    value = c;
    derivative = Real(1);
  }
};

/// Calls visitor(pair formula, results exchanged); returns false for tanh, which has none.
template <typename Real, typename Visitor>
bool visit(const Activation& activation, const Visitor& visitor) {
  constexpr std::false_type as_named{};
  constexpr std::true_type exchanged{};
  switch (activation.kind) {
    case ActivationKind::relu: visitor(PiecewiseLinear<Real>{Real(0)}, as_named); return true;
    case ActivationKind::leaky_relu:
      visitor(PiecewiseLinear<Real>{static_cast<Real>(activation.slope)}, as_named);
      return true;
    case ActivationKind::abs: visitor(PiecewiseLinear<Real>{Real(-1)}, as_named); return true;
    case ActivationKind::erf: visitor(ErrorFunction<Real>{}, as_named); return true;
    case ActivationKind::gelu: visitor(GaussianError<Real>{}, as_named); return true;
    case ActivationKind::sin: visitor(Wave<Real>{}, as_named); return true;
    case ActivationKind::cos: visitor(Wave<Real>{}, exchanged); return true;
    case ActivationKind::identity: visitor(Linear<Real>{}, as_named); return true;
    case ActivationKind::tanh: break;
  }
  return false;
}

}  // namespace gradflow::pairs
