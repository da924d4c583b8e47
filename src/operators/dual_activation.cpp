#include "gradflow/operators/dual_activation.h"

#include <algorithm>
#include <cmath>

#include "gradflow/base/error.h"
#include "operators/hermite_series.h"
#include "operators/kernel_lanes.h"
#include "operators/kernel_pairs.h"

namespace gradflow {
namespace {

constexpr Index pairs_at_once = 128;

/// What becomes of results: stored, or one layer of a kernel.
template <typename Real>
struct Store {
  Real *value, *derivative;
  Store from(Index i) const { return {value + i, derivative + i}; }
  [[gnu::always_inline]] void operator()(Index i, Real one, Real two) const {
    value[i] = one;
    derivative[i] = two;
  }
};

template <typename Real>
struct Advance {
  Real sw2, sb2;
  Real *K, *T;
  Advance from(Index i) const { return {sw2, sb2, K + i, T + i}; }
  [[gnu::always_inline]] void operator()(Index i, Real value, Real derivative) const {
    const Real next = sw2 * value + sb2;
    K[i] = next;
    T[i] = next + sw2 * T[i] * derivative;
  }
};

/// The variables of some pairs: rows from three pointers on with one column variable.
template <typename Real>
struct Pairs {
  const Real *variance, *root, *inverse;
  pairs::Marginal<Real> column;
};

/// sink(i, value, derivative) for i in [0, count), count <= pairs_at_once. The covariances are copied first:
/// results may replace them, and a loop that reads what it writes does not vectorise.
template <bool exchanged, typename Real, typename Pair, typename Sink>
[[gnu::always_inline]] inline void for_each_pair(Pair pair, Pairs<Real> all, Index count, const Real* c,
                                                 Sink sink) {
  Real covariance[pairs_at_once];
  for (Index i = 0; i < count; ++i) covariance[i] = c[i];
  for (Index i = 0; i < count; ++i) {
    Real one, two;
    pair(pairs::Marginal<Real>{all.variance[i], all.root[i], all.inverse[i]}, all.column, covariance[i], one,
         two);
    sink(i, exchanged ? two : one, exchanged ? one : two);
  }
}

/// 1 / sqrt(a) of variables and their coefficients, term m at m stride.
template <typename Real>
struct Terms {
  const Real *inverse, *value, *derivative;
  Index stride;
};
template <typename Real>
struct Series {
  Terms<Real> row, column;
  Index terms;
};

/// value = rho sum_m h_{2m+1}(a) h_{2m+1}(b) rho^{2m}, derivative = sum_m h'_{2m}(a) h'_{2m}(b) rho^{2m};
/// Horner, for `strip` pairs at once, whose sums stay near.
template <typename Real, typename Sink>
[[gnu::always_inline]] inline void for_each_in_series(Series<Real> series, Index count, const Real* c,
                                                      Sink sink) {
  constexpr Index strip = 32;
  const Terms<Real> row = series.row, column = series.column;
  Real rho[strip], square[strip], value[strip], derivative[strip];
  for (Index begin = 0; begin < count; begin += strip) {
    const Index size = std::min(strip, count - begin);
    for (Index i = 0; i < size; ++i) {
      const Real ratio = c[begin + i] * (row.inverse[begin + i] * column.inverse[0]);
      const Real one = ratio < Real(0) ? Real(-1) : Real(1);
      rho[i] = std::abs(ratio) > Real(1) - pairs::snap<Real> ? one : ratio;
      square[i] = rho[i] * rho[i];
      value[i] = derivative[i] = Real(0);
    }
    for (Index m = series.terms; m-- > 0;) {
      const Real* const row_value = row.value + m * row.stride + begin;
      const Real* const row_derivative = row.derivative + m * row.stride + begin;
      const Real column_value = column.value[m * column.stride];
      const Real column_derivative = column.derivative[m * column.stride];
      for (Index i = 0; i < size; ++i) {
        value[i] = value[i] * square[i] + row_value[i] * column_value;
        derivative[i] = derivative[i] * square[i] + row_derivative[i] * column_derivative;
      }
    }
    for (Index i = 0; i < size; ++i) sink(begin + i, value[i] * rho[i], derivative[i]);
  }
}

}  // namespace

template <typename Real>
typename BasicDualActivation<Real>::Side BasicDualActivation<Real>::prepare(ConstVector variance,
                                                                            Index terms) const {
  require(variance.size() == 0 || variance.minCoeff() >= 0.0, "smallest variance of a dual activation",
          variance.size() == 0 ? 0.0 : variance.minCoeff(), "must be >= 0");
  const Index n = variance.size();
  Side side;
  side.given = variance;
  side.variance.resize(n);
  side.root.resize(n);
  side.inverse.resize(n);
  const bool closed = pairs::visit<Real>(activation_, [&](const auto& pair, auto) {
    for (Index i = 0; i < n; ++i) {
      const pairs::Marginal<double> marginal = pair.marginal(variance[i]);
      side.variance[i] = static_cast<Real>(marginal.variance);
      side.root[i] = static_cast<Real>(marginal.root);
      side.inverse[i] = static_cast<Real>(marginal.inverse);
    }
  });
  if (closed) return side;
  for (Index i = 0; i < n; ++i) {
    side.root[i] = static_cast<Real>(std::sqrt(variance[i]));
    side.inverse[i] = side.root[i] > Real(1e-15) ? Real(1) / side.root[i] : Real(0);
  }
  HermiteCoefficients series = hermite_coefficients(activation_, variance, terms);
  side.value_coefficients = series.value.cast<Real>();
  side.derivative_coefficients = series.derivative.cast<Real>();
  return side;
}

template <typename Real>
BasicDualActivation<Real>::BasicDualActivation(const Activation& activation, ConstVector a, ConstVector b)
    : activation_(activation) {
  Index terms = 0;
  if (activation.kind == ActivationKind::tanh && a.size() > 0 && b.size() > 0)
    terms = hermite_terms(activation, std::max(a.maxCoeff(), b.maxCoeff()));
  rows_ = prepare(a, terms);
  columns_ = prepare(b, terms);
}

template <typename Real>
BasicDualActivation<Real>::BasicDualActivation(const Activation& activation, ConstVector a)
    : activation_(activation) {
  const bool series = activation.kind == ActivationKind::tanh && a.size() > 0;
  rows_ = prepare(a, series ? hermite_terms(activation, a.maxCoeff()) : 0);
}

template <typename Real>
template <typename Sink>
void BasicDualActivation<Real>::evaluate(Index column, Index first, Index count, const Real* c,
                                         const Sink& sink) const {
  const Side& other = columns();
  const pairs::Marginal<Real> marginal{other.variance[column], other.root[column], other.inverse[column]};
  const Real* const variance = rows_.variance.data() + first;
  const Real* const root = rows_.root.data() + first;
  const Real* const inverse = rows_.inverse.data() + first;
  const bool closed = pairs::visit<Real>(activation_, [&](const auto& pair, auto exchanged) {
    lanes::dispatch([&](auto) __attribute__((always_inline)) {
      for (Index i = 0; i < count; i += pairs_at_once) {
        constexpr bool swap = decltype(exchanged)::value;
        const Pairs<Real> all{variance + i, root + i, inverse + i, marginal};
        if (count - i >= pairs_at_once)
          for_each_pair<swap>(pair, all, pairs_at_once, c + i, sink.from(i));
        else
          for_each_pair<swap>(pair, all, count - i, c + i, sink.from(i));
      }
    });
  });
  if (!closed) evaluate_series(column, first, count, c, sink);
}

template <typename Real>
void BasicDualActivation<Real>::column(Index column, Index first, Index count, const Real* c, Real* value,
                                       Real* derivative) const {
  evaluate(column, first, count, c, Store<Real>{value, derivative});
}

template <typename Real>
void BasicDualActivation<Real>::advance(Index column, Index columns, Index first, Index count, Real sw2,
                                        Real sb2, Real* K, Real* T) const {
  for (Index j = 0; j < columns; ++j)
    evaluate(column + j, first, count, K + j * count, Advance<Real>{sw2, sb2, K + j * count, T + j * count});
}

template <typename Real>
template <typename Sink>
void BasicDualActivation<Real>::evaluate_series(Index column, Index first, Index count, const Real* c,
                                                const Sink& sink) const {
  const Side& other = columns();
  const Index terms = rows_.value_coefficients.cols(), stride = rows_.value_coefficients.rows();
  const Terms<Real> column_terms{other.inverse.data() + column, other.value_coefficients.data() + column,
                                 other.derivative_coefficients.data() + column,
                                 other.value_coefficients.rows()};
  const Terms<Real> row_terms{rows_.inverse.data() + first, rows_.value_coefficients.data() + first,
                              rows_.derivative_coefficients.data() + first, stride};
  lanes::dispatch([&](auto) __attribute__((always_inline)) {
    for_each_in_series(Series<Real>{row_terms, column_terms, terms}, count, c, sink.from(0));
  });
}

template <typename Real>
void BasicDualActivation<Real>::diagonal(Vector& value, Vector& derivative) const {
  const Vector& variance = rows_.given;
  const Index n = variance.size();
  value.resize(n);
  derivative.resize(n);
  const bool closed = pairs::visit<double>(activation_, [&](const auto& pair, auto exchanged) {
    Vector& one = exchanged ? derivative : value;
    Vector& two = exchanged ? value : derivative;
    for (Index i = 0; i < n; ++i) {
      const pairs::Marginal<double> marginal = pair.marginal(variance[i]);
      pair(marginal, marginal, variance[i], one[i], two[i]);
    }
  });
  if (closed) return;
  HermiteCoefficients series = hermite_coefficients(activation_, variance, 1);
  value = std::move(series.value_mean);
  derivative = std::move(series.derivative_mean);
}

template class BasicDualActivation<double>;
template class BasicDualActivation<float>;

Dual dual(const Activation& activation, double a, double b, double c) {
  const DualActivation pair(activation, Vector::Constant(1, a), Vector::Constant(1, b));
  Dual result{};
  pair.column(0, 0, 1, &c, &result.value, &result.derivative);
  return result;
}

}  // namespace gradflow
