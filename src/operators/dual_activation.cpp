#include "gradflow/operators/dual_activation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "gradflow/base/error.h"
#include "operators/hermite_series.h"

namespace gradflow {
namespace {

constexpr double pi = std::numbers::pi;
constexpr double snap = 32.0 * std::numeric_limits<double>::epsilon();

/// arctan of |t| <= 1 to 2 rounding units, without branches or calls, so that loops over it vectorise.
/// Source: Moshier, Cephes, atan.c (rational approximation of degree 4/5).
inline double arctan_unit(double t) {
  const double x = std::abs(t);
  const bool large = x > 0.66;
  const double u = large ? (x - 1.0) / (x + 1.0) : x;
  const double z = u * u;
  const double p =
      (((-8.750608600031904122785e-1 * z - 1.615753718733365076637e1) * z - 7.500855792314704667340e1) * z -
       1.228866684490136173410e2) *
          z -
      6.485021904942025371773e1;
  const double q =
      ((((z + 2.485846490142306297962e1) * z + 1.650270098316988542046e2) * z + 4.328810604912902668951e2) *
           z +
       4.853903996359136964868e2) *
          z +
      1.945506571482613964425e2;
  const double angle = (large ? 0.25 * pi : 0.0) + (u + u * (z * p / q));
  return std::copysign(angle, t);
}

/// The pair formulas: per variable one number `root`, then value and derivative from both variances and c.
struct PiecewiseLinear {  // relu, leaky_relu, abs: slope 1 above 0 and s below
  double s;
  double root(double a) const { return std::sqrt(a); }
  void operator()(double, double, double ra, double rb, double c, double& value, double& derivative) const {
    const double m = ra * rb;
    const double ratio = m > 0.0 ? std::abs(c) / m : 0.0;
    const double gap = 1.0 - ratio > snap ? 1.0 - ratio : 0.0;  // 1 - |rho|
    const double cosine = 1.0 - gap;
    const double sine = std::sqrt(gap * (1.0 + cosine));
    const double acute = 2.0 * arctan_unit(sine / (1.0 + cosine));
    const double theta = c < 0.0 ? pi - acute : acute;
    const double slopes = (1.0 + s * s) * (pi - theta) + 2.0 * s * theta;
    value = m / (2.0 * pi) * ((1.0 - s) * (1.0 - s) * sine + std::copysign(cosine, c) * slopes);
    derivative = slopes / (2.0 * pi);
  }
};

/// ab - c^2 without cancellation, exactly 0 within the snap. m = sqrt(ab).
inline double determinant(double m, double c) {
  const double gap = m - std::abs(c);
  return (gap > snap * m ? gap : 0.0) * (m + std::abs(c));
}

struct ErrorFunction {
  double root(double a) const { return std::sqrt(a); }
  void operator()(double a, double b, double ra, double rb, double c, double& value,
                  double& derivative) const {
    const double r = std::sqrt((1.0 + 2.0 * a) * (1.0 + 2.0 * b));
    const double x = std::sqrt(1.0 + 2.0 * (a + b) + 4.0 * determinant(ra * rb, c));
    // arcsin(2c / r) = 2 arctan(2c / (r + x)), as x^2 = r^2 - 4c^2
    value = 4.0 / pi * arctan_unit(2.0 * c / (r + x));
    derivative = 4.0 / pi / x;
  }
};

struct GaussianError {  // gelu
  double root(double a) const { return std::sqrt(a); }
  void operator()(double a, double b, double ra, double rb, double c, double& value,
                  double& derivative) const {
    const double r2 = (1.0 + a) * (1.0 + b);
    const double D2 = 1.0 + a + b + determinant(ra * rb, c);
    const double D = std::sqrt(D2);
    const double angle = 2.0 * arctan_unit(c / (std::sqrt(r2) + D));  // arctan(c / D)
    value = 0.25 * c + (c * angle + (c * c / D2 + a * b) * D / r2) / (2.0 * pi);
    derivative = 0.25 + (angle + c / D * (1.0 / D2 + (1.0 - a * b) / r2 + 1.0)) / (2.0 * pi);
  }
};

struct Wave {  // sin, and cos with the two results exchanged
  double root(double) const { return 0.0; }
  void operator()(double a, double b, double, double, double c, double& odd, double& even) const {
    // e^{-h} sinh c and e^{-h} cosh c with |c| <= h; beyond 300 only one exponential is left.
    const double h = 0.5 * (a + b);
    if (h < 300.0) {
      const double decay = std::exp(-h);
      odd = decay * std::sinh(c);
      even = decay * std::cosh(c);
    } else {
      even = 0.5 * std::exp(std::min(0.0, std::abs(c) - h));
      odd = std::copysign(even, c);
    }
  }
};

struct Linear {
  double root(double) const { return 0.0; }
  void operator()(double, double, double, double, double c, double& value, double& derivative) const {
    value = c;
    derivative = 1.0;
  }
};

/// Calls visitor(pair formula, results exchanged); returns false for tanh, which has none.
template <typename Visitor>
bool visit(const Activation& activation, Visitor&& visitor) {
  switch (activation.kind) {
    case ActivationKind::relu: visitor(PiecewiseLinear{0.0}, false); return true;
    case ActivationKind::leaky_relu: visitor(PiecewiseLinear{activation.slope}, false); return true;
    case ActivationKind::abs: visitor(PiecewiseLinear{-1.0}, false); return true;
    case ActivationKind::erf: visitor(ErrorFunction{}, false); return true;
    case ActivationKind::gelu: visitor(GaussianError{}, false); return true;
    case ActivationKind::sin: visitor(Wave{}, false); return true;
    case ActivationKind::cos: visitor(Wave{}, true); return true;
    case ActivationKind::identity: visitor(Linear{}, false); return true;
    case ActivationKind::tanh: break;
  }
  return false;
}

}  // namespace

DualActivation::Side DualActivation::prepare(ConstVector variance, Index terms) const {
  require(variance.size() == 0 || variance.minCoeff() >= 0.0, "smallest variance of a dual activation",
          variance.size() == 0 ? 0.0 : variance.minCoeff(), "must be >= 0");
  Side side;
  side.variance = variance;
  const bool closed = visit(activation_, [&](const auto& pair, bool) {
    side.root = variance.unaryExpr([&](double a) { return pair.root(a); });
  });
  if (closed) return side;
  side.root = variance.cwiseSqrt();
  HermiteCoefficients series = hermite_coefficients(activation_, variance, terms);
  side.value_coefficients = std::move(series.value);
  side.derivative_coefficients = std::move(series.derivative);
  return side;
}

DualActivation::DualActivation(const Activation& activation, ConstVector a, ConstVector b)
    : activation_(activation) {
  Index terms = 0;
  if (activation.kind == ActivationKind::tanh && a.size() > 0 && b.size() > 0)
    terms = hermite_terms(activation, std::max(a.maxCoeff(), b.maxCoeff()));
  rows_ = prepare(a, terms);
  columns_ = prepare(b, terms);
}

DualActivation::DualActivation(const Activation& activation, ConstVector a) : activation_(activation) {
  const bool series = activation.kind == ActivationKind::tanh && a.size() > 0;
  rows_ = prepare(a, series ? hermite_terms(activation, a.maxCoeff()) : 0);
}

void DualActivation::column(Index column, Index first, Index count, const double* c, double* value,
                            double* derivative) const {
  const double b = columns().variance[column];
  const double rb = columns().root[column];
  const double* const a = rows_.variance.data() + first;
  const double* const ra = rows_.root.data() + first;
  const bool closed = visit(activation_, [&](const auto& pair, bool exchanged) {
    double* const one = exchanged ? derivative : value;
    double* const two = exchanged ? value : derivative;
    for (Index i = 0; i < count; ++i) pair(a[i], b, ra[i], rb, c[i], one[i], two[i]);
  });
  if (!closed) series_column(column, first, count, c, value, derivative);
}

// value = rho sum_m h_{2m+1}(a) h_{2m+1}(b) rho^{2m}, derivative = sum_m h'_{2m}(a) h'_{2m}(b) rho^{2m};
// Horner.
void DualActivation::series_column(Index column, Index first, Index count, const double* c, double* value,
                                   double* derivative) const {
  constexpr Index batch = 64;
  double rho[batch], square[batch];
  const Side& other = columns();
  const Index terms = rows_.value_coefficients.cols();
  for (Index begin = 0; begin < count; begin += batch) {
    const Index size = std::min(batch, count - begin);
    double* const v = value + begin;
    double* const d = derivative + begin;
    for (Index i = 0; i < size; ++i) {
      const double m = rows_.root[first + begin + i] * other.root[column];
      const double ratio = m > 0.0 ? c[begin + i] / m : 0.0;
      rho[i] = std::abs(ratio) > 1.0 - snap ? std::copysign(1.0, ratio) : ratio;
      square[i] = rho[i] * rho[i];
      v[i] = d[i] = 0.0;
    }
    for (Index m = terms; m-- > 0;) {
      const double* const hv = rows_.value_coefficients.col(m).data() + first + begin;
      const double* const hd = rows_.derivative_coefficients.col(m).data() + first + begin;
      const double bv = other.value_coefficients(column, m);
      const double bd = other.derivative_coefficients(column, m);
      for (Index i = 0; i < size; ++i) {
        v[i] = v[i] * square[i] + hv[i] * bv;
        d[i] = d[i] * square[i] + hd[i] * bd;
      }
    }
    for (Index i = 0; i < size; ++i) v[i] *= rho[i];
  }
}

void DualActivation::diagonal(Vector& value, Vector& derivative) const {
  const Index n = rows_.variance.size();
  value.resize(n);
  derivative.resize(n);
  const bool closed = visit(activation_, [&](const auto& pair, bool exchanged) {
    Vector& one = exchanged ? derivative : value;
    Vector& two = exchanged ? value : derivative;
    for (Index i = 0; i < n; ++i) {
      const double a = rows_.variance[i], root = rows_.root[i];
      pair(a, a, root, root, a, one[i], two[i]);
    }
  });
  if (closed) return;
  HermiteCoefficients series = hermite_coefficients(activation_, rows_.variance, 1);
  value = std::move(series.value_mean);
  derivative = std::move(series.derivative_mean);
}

Dual dual(const Activation& activation, double a, double b, double c) {
  const DualActivation pair(activation, Vector::Constant(1, a), Vector::Constant(1, b));
  Dual result{};
  pair.column(0, 0, 1, &c, &result.value, &result.derivative);
  return result;
}

}  // namespace gradflow
