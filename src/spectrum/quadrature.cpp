#include "gradflow/spectrum/quadrature.h"

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/special_values.h"
#include "gradflow/base/error.h"

namespace gradflow {
namespace {

// Eigenvalues d and first components s of the eigenvectors of the tridiagonal (d, e), in place: implicit QL
// with Wilkinson's shift. e has one unused entry at the end.
void implicit_ql(Vector& d, Vector& e, Vector& s) {
  const Index n = d.size();
  for (Index l = 0; l < n; ++l) {
    for (int iteration = 0;; ++iteration) {
      Index m = l;
      while (m + 1 < n && std::abs(e(m)) > machine_epsilon * (std::abs(d(m)) + std::abs(d(m + 1)))) ++m;
      if (m == l) break;
      if (iteration == 100)
        throw InternalError("the implicit QL iteration did not converge in 100 steps for one eigenvalue");
      double g = (d(l + 1) - d(l)) / (2.0 * e(l));
      double r = std::hypot(g, 1.0);
      g = d(m) - d(l) + e(l) / (g + std::copysign(r, g));
      double sine = 1.0, cosine = 1.0, p = 0.0;
      Index i = m - 1;
      for (; i >= l; --i) {
        const double f = sine * e(i), b = cosine * e(i);
        r = std::hypot(f, g);
        e(i + 1) = r;
        if (r == 0.0) {
          d(i + 1) -= p;
          e(m) = 0.0;
          break;
        }
        sine = f / r;
        cosine = g / r;
        g = d(i + 1) - p;
        r = (d(i) - g) * sine + 2.0 * cosine * b;
        p = sine * r;
        d(i + 1) = g + p;
        g = cosine * r - b;
        const double above = s(i + 1);
        s(i + 1) = sine * s(i) + cosine * above;
        s(i) = cosine * s(i) - sine * above;
      }
      if (r == 0.0 && i >= l) continue;
      d(l) -= p;
      e(l) = g;
      e(m) = 0.0;
    }
  }
}

Quadrature rule_of(Vector diagonal, const Vector& off_diagonal, double mass) {
  const Index k = diagonal.size();
  Vector e = Vector::Zero(k), s = Vector::Zero(k);
  if (k == 0) return {};
  e.head(k - 1) = off_diagonal;
  s(0) = 1.0;
  implicit_ql(diagonal, e, s);
  std::vector<Index> order(static_cast<std::size_t>(k));
  std::iota(order.begin(), order.end(), Index{0});
  std::sort(order.begin(), order.end(), [&](Index a, Index b) { return diagonal(a) < diagonal(b); });
  return {diagonal(order), mass * s(order).cwiseAbs2()};
}

// What the node at 0 of the Gauss-Radau rule needs. d_j are the pivots of T's elimination; those lost to
// rounding are held at rounding's size.
struct NodeAtZero {
  double entry;   // b_k^2 / d_k: the next diagonal entry with which T_{k+1} has the eigenvalue 0
  double weight;  // 1 / sum_j p_j(0)^2, p_j(0) = prod_i -d_i / b_i the orthonormal polynomials
};

NodeAtZero node_at_zero(const Tridiagonal& T) {
  const double floor = machine_epsilon * T.diagonal.cwiseAbs().maxCoeff();
  const Index k = T.size();
  double pivot = std::max(T.diagonal(0), floor), square = 1.0, sum = 1.0;
  for (Index j = 0;; ++j) {
    const double b = j + 1 < k ? T.off_diagonal(j) : T.next;
    square *= pivot / b * (pivot / b);
    sum += square;
    if (j + 1 == k) break;
    pivot = std::max(T.diagonal(j + 1) - b * b / pivot, floor);
  }
  return {T.next * T.next / pivot, std::max(1.0 / sum, std::numeric_limits<double>::min())};
}

}  // namespace

Tridiagonal Tridiagonal::leading(Index k) const {
  if (k >= size()) return *this;
  return {diagonal.head(k), off_diagonal.head(std::max<Index>(0, k - 1)), k > 0 ? off_diagonal(k - 1) : 0.0};
}

Quadrature gauss_rule(const Tridiagonal& T, double mass) { return rule_of(T.diagonal, T.off_diagonal, mass); }

Quadrature radau_rule(const Tridiagonal& T, double mass) {
  if (T.next == 0.0 || T.size() == 0) return gauss_rule(T, mass);
  const Index k = T.size();
  Vector diagonal(k + 1), off_diagonal(k);
  const NodeAtZero zero = node_at_zero(T);
  diagonal << T.diagonal, zero.entry;
  off_diagonal << T.off_diagonal, T.next;
  Quadrature rule = rule_of(std::move(diagonal), off_diagonal, mass);
  rule.nodes(0) = 0.0;  // exactly, where rounding left it near
  rule.nodes = rule.nodes.cwiseMax(0.0);
  // The iteration leaves weights to an absolute epsilon^2 only. This one, far from the spectrum,
  // decides at long times, when nothing is left of the others.
  if (rule.weights(0) < machine_epsilon * mass) rule.weights(0) = mass * zero.weight;
  return rule;
}

Tridiagonal first_moment(const Tridiagonal& T) {
  const Index k = T.size();
  Tridiagonal shifted{Vector(k), Vector(std::max<Index>(0, k - 1)), 0.0};
  if (k == 0) return shifted;
  // T = L L': l_j on the diagonal, below_j beneath it. L'L has l_j^2 + below_j^2 and below_j l_{j+1}.
  double square = T.diagonal(0);
  const double scale = T.diagonal.cwiseAbs().maxCoeff();
  for (Index j = 0; j < k; ++j) {
    if (!(square > machine_epsilon * scale)) return {};
    const double below = (j + 1 < k ? T.off_diagonal(j) : T.next) / std::sqrt(square);
    shifted.diagonal(j) = square + below * below;
    if (j + 1 == k) break;
    square = T.diagonal(j + 1) - below * below;
    if (square > 0.0) shifted.off_diagonal(j) = below * std::sqrt(square);
  }
  return shifted;
}

Ritz ritz(const Tridiagonal& T) {
  if (T.size() == 0) return {};
  // The solver is for entries about 1; a power of two costs no bit.
  const double largest = std::max(T.diagonal.cwiseAbs().maxCoeff(),
                                  T.off_diagonal.size() > 0 ? T.off_diagonal.cwiseAbs().maxCoeff() : 0.0);
  const int exponent =
      largest > 0.0 && std::isfinite(largest) ? std::clamp(std::ilogb(largest), -1000, 1000) : 0;
  const double down = std::ldexp(1.0, -exponent), up = std::ldexp(1.0, exponent);
  Eigen::SelfAdjointEigenSolver<Matrix> solver;
  solver.computeFromTridiagonal(down * T.diagonal, down * T.off_diagonal);
  if (solver.info() != Eigen::Success)
    throw InternalError(
        fmt::format("the eigenvalues of a tridiagonal matrix of {} rows did not converge", T.size()));
  return {up * solver.eigenvalues(), solver.eigenvectors()};
}

}  // namespace gradflow
