#include "gradflow/spectrum/spectral_density.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <utility>

#include "base/special_values.h"
#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"

namespace gradflow {
namespace {

constexpr double least_share = 1e-6;  // of a trace, left by the eigenpairs, for it to be used

constexpr Index most_degree = 7;  // of moments taken from further probes: five steps know nine

struct Pool {
  Vector nodes, weights;  // of all probes, weights summing to one
};

Pool pool_of(const std::vector<Quadrature>& probes) {
  Index size = 0, used = 0;
  for (const Quadrature& probe : probes) {
    size += probe.nodes.size();
    used += probe.nodes.size() > 0 ? 1 : 0;
  }
  Pool pool{Vector(size), Vector(size)};
  Index position = 0;
  for (const Quadrature& probe : probes) {
    pool.nodes.segment(position, probe.nodes.size()) = probe.nodes.cwiseMax(0.0);
    pool.weights.segment(position, probe.nodes.size()) = probe.weights / static_cast<double>(used);
    position += probe.nodes.size();
  }
  return pool;
}

// Weights times the combination of the functions, given at the nodes, whose integrals come out as wanted;
// empty where one would not be positive or the integrals cannot be told apart.
Vector reweighted(const Pool& pool, const Matrix& functions, const Vector& wanted) {
  const Matrix gram = functions.transpose() * pool.weights.asDiagonal() * functions;
  const Eigen::FullPivLU<Matrix> solver(gram);
  if (!solver.isInvertible() || solver.rcond() < 1e-13) return {};
  const Vector factor = functions * solver.solve(wanted);
  if (!(factor.minCoeff() > 0.0)) return {};
  return pool.weights.cwiseProduct(factor);
}

// Weights times a polynomial of the scaled node so that the moments come out; empty where reweighted() is.
Vector calibrate(const Pool& pool, const Vector& wanted) {
  const double scale = pool.nodes.maxCoeff();
  const Index degree = wanted.size();
  if (!(scale > 0.0)) return {};
  Matrix powers(pool.nodes.size(), degree);
  Vector target(degree);
  powers.col(0).setOnes();
  for (Index p = 1; p < degree; ++p) powers.col(p) = powers.col(p - 1).cwiseProduct(pool.nodes) / scale;
  for (Index p = 0; p < degree; ++p) target(p) = wanted(p) / std::pow(scale, static_cast<double>(p));
  return reweighted(pool, powers, target);
}

// Chebyshev polynomials of degree 0 to most_degree on [0, scale] at the nodes.
Matrix chebyshev(const Vector& nodes, double scale) {
  Matrix T(nodes.size(), most_degree + 1);
  const Vector x = 2.0 / scale * nodes - Vector::Ones(nodes.size());
  T.col(0).setOnes();
  T.col(1) = x;
  for (Index p = 2; p <= most_degree; ++p) T.col(p) = 2.0 * x.cwiseProduct(T.col(p - 1)) - T.col(p - 2);
  return T;
}

// The pool's weights times the polynomial with which they have the first moments of the wanted measure: of
// the largest degree for which all stay positive, at least two; empty where there is none.
Vector with_moments_of(const Pool& pool, const Pool& wanted) {
  const double scale = std::max(pool.nodes.maxCoeff(), wanted.nodes.maxCoeff());
  if (!(scale > 0.0)) return {};
  const Matrix T = chebyshev(pool.nodes, scale);
  const Vector moments = chebyshev(wanted.nodes, scale).transpose() * wanted.weights;
  for (Index degree = most_degree; degree >= 2; --degree) {
    Vector weights = reweighted(pool, T.leftCols(degree + 1), moments.head(degree + 1));
    if (weights.size() > 0) return weights;
  }
  return {};
}

// The pairs of small residual, descending.
Eigenpairs converged(const KrylovBasis& basis, const Ritz& pairs, const Vector& residuals, double tolerance) {
  Eigenpairs found;
  if (residuals.size() == 0) return found;
  const double largest = pairs.values.maxCoeff();
  std::vector<Index> kept;
  for (Index i = residuals.size(); i-- > 0;)
    if (residuals(i) <= tolerance * std::min(largest, 100.0 * std::max(0.0, pairs.values(i))))
      kept.push_back(i);
  found.basis = &basis;
  found.coordinates = pairs.vectors(Eigen::all, kept);
  found.values = pairs.values(kept).cwiseMax(0.0);
  found.residual_squares = residuals(kept).squaredNorm();
  return found;
}

}  // namespace

void Eigenpairs::project_off(Block X) const {
  if (count() == 0) return;
  // UU' = V S S' V'
  const SerialBlas serial;
  const Matrix along =
      multiply(coordinates, Transpose::yes, basis->inner(X, coordinates.rows()), Transpose::no);
  basis->subtract(multiply(coordinates, Transpose::no, along, Transpose::no), X);
}

Eigenpairs converged_pairs(const KrylovSpace& space, double tolerance) {
  const Tridiagonal T = space.tridiagonal();
  if (T.size() == 0) return {};
  const Ritz pairs = ritz(T);
  return converged(space.basis(), pairs, T.next * pairs.vectors.bottomRows(1).transpose().cwiseAbs(),
                   tolerance);
}

Eigenpairs converged_pairs(const BlockKrylovSpace& space, double tolerance) {
  const BlockKrylovSpace::Pairs pairs = space.pairs();
  return converged(space.basis(), pairs.ritz, pairs.residuals, tolerance);
}

Matrix random_signs(Index rows, std::uint64_t seed, Index first, Index count, std::string_view name) {
  Matrix signs(rows, count);
  for (Index j = 0; j < count; ++j) {
    RandomStream random(seed, fmt::format("{} {}", name, first + j));
    for (double& sign : signs.col(j)) sign = random.sign();
  }
  return signs;
}

SpectralProbes::SpectralProbes(const ProjectedOperator& M, Eigenpairs pairs, Matrix starts, bool keep_vectors)
    : M_(M),
      pairs_(std::move(pairs)),
      current_(std::move(starts)),
      previous_(Matrix::Zero(M.rows(), current_.cols())),
      norms_(current_.cols()) {
  if (keep_vectors) {
    starts_ = current_;
    for (Index j = 0; j < count(); ++j) vectors_.emplace_back(M.rows(), BasisPrecision::float32);
  }
  const Vector before = current_.colwise().norm().transpose();
  M_.project(current_);
  pairs_.project_off(current_);
  for (Index j = 0; j < count(); ++j) {
    norms_(j) = current_.col(j).norm();
    if (!(norms_(j) > 1e-10 * before(j))) norms_(j) = 0.0;
    current_.col(j) *= norms_(j) > 0.0 ? 1.0 / norms_(j) : 0.0;
  }
}

void SpectralProbes::extend(Index steps) {
  Matrix product(current_.rows(), current_.cols());
  for (; steps_ < steps; ++steps_) {
    for (std::size_t j = 0; j < vectors_.size(); ++j) vectors_[j].append(current_.col(static_cast<Index>(j)));
    M_.apply(current_, product);
    Vector alpha(count()), beta(count());
    for (Index j = 0; j < count(); ++j) {
      alpha(j) = current_.col(j).dot(product.col(j));
      product.col(j) -= alpha(j) * current_.col(j);
      if (steps_ > 0) product.col(j) -= beta_.back()(j) * previous_.col(j);
    }
    pairs_.project_off(product);
    M_.project(product);  // rounding outside the range of P would grow from step to step
    for (Index j = 0; j < count(); ++j) {
      beta(j) = product.col(j).norm();
      scale_ = std::max({scale_, std::abs(alpha(j)), beta(j)});
      // An invariant space: the probe's rule is exact, and its vector stays zero from here on.
      if (beta(j) <= 64.0 * machine_epsilon * scale_) beta(j) = 0.0;
      product.col(j) *= beta(j) > 0.0 ? 1.0 / beta(j) : 0.0;
    }
    alpha_.push_back(std::move(alpha));
    beta_.push_back(std::move(beta));
    previous_.swap(current_);
    current_.swap(product);
  }
}

Tridiagonal SpectralProbes::tridiagonal(Index probe) const {
  Index k = 0;
  while (k < steps_ && (k == 0 || beta_[static_cast<std::size_t>(k - 1)](probe) > 0.0)) ++k;
  if (norms_(probe) == 0.0) k = 0;
  Tridiagonal T{Vector(k), Vector(std::max<Index>(0, k - 1)), 0.0};
  for (Index i = 0; i < k; ++i) {
    T.diagonal(i) = alpha_[static_cast<std::size_t>(i)](probe);
    (i + 1 < k ? T.off_diagonal(i) : T.next) = beta_[static_cast<std::size_t>(i)](probe);
  }
  return T;
}

Quadrature SpectralProbes::rule(Index probe) const { return gauss_rule(tridiagonal(probe), 1.0); }
Quadrature SpectralProbes::radau(Index probe) const {
  const Tridiagonal T = tridiagonal(probe);
  return first_moment(T).size() == T.size() ? radau_rule(T, 1.0) : gauss_rule(T, 1.0);
}
Ritz SpectralProbes::ritz_of(Index probe) const { return ritz(tridiagonal(probe)); }

Matrix SpectralProbes::combine(Index probe, const Matrix& values_on_ritz) const {
  require(!vectors_.empty(), "SpectralProbes::combine vectors", vectors_.size(), "must have been kept");
  const Ritz pairs = ritz_of(probe);
  const Matrix coefficients =
      pairs.vectors * (pairs.vectors.row(0).transpose().asDiagonal() * values_on_ritz);
  return norms_(probe) * vectors_[static_cast<std::size_t>(probe)].times(coefficients);
}

std::vector<Quadrature> bin(const std::vector<Quadrature>& probes, Index groups, double width) {
  constexpr Index bins_below =
      2000;  // what is below exp(-2000 width) of the largest node goes to the last bin
  double largest = 0.0;
  for (const Quadrature& probe : probes)
    if (probe.nodes.size() > 0) largest = std::max(largest, probe.nodes.maxCoeff());
  Matrix weight = Matrix::Zero(bins_below + 1, groups), moment = weight;
  Vector members = Vector::Zero(groups);
  for (std::size_t j = 0; j < probes.size(); ++j) {
    const Index g = static_cast<Index>(j) % groups;
    if (probes[j].nodes.size() == 0) continue;
    members(g) += 1.0;
    for (Index i = 0; i < probes[j].nodes.size(); ++i) {
      const double node = std::max(0.0, probes[j].nodes(i));
      const Index b = node > 0.0 ? std::min(bins_below, static_cast<Index>(-std::log(node / largest) / width))
                                 : bins_below;
      weight(b, g) += probes[j].weights(i);
      moment(b, g) += probes[j].weights(i) * node;
    }
  }
  std::vector<Index> used;
  for (Index b = 0; b <= bins_below; ++b)
    if (weight.row(b).sum() > 0.0) used.push_back(b);
  std::vector<Quadrature> rules;
  for (Index g = 0; g < groups; ++g) {
    Quadrature rule{Vector::Zero(static_cast<Index>(used.size())),
                    Vector::Zero(static_cast<Index>(used.size()))};
    for (std::size_t u = 0; u < used.size(); ++u) {
      const double w = weight(used[u], g);
      const auto i = static_cast<Index>(u);
      if (w > 0.0) rule.nodes(i) = moment(used[u], g) / w;
      if (members(g) > 0.0) rule.weights(i) = w / members(g);
    }
    rules.push_back(std::move(rule));
  }
  return rules;
}

Quadrature pool(const std::vector<Quadrature>& binned) {
  if (binned.empty()) return {};
  Quadrature all{Vector::Zero(binned.front().nodes.size()), Vector::Zero(binned.front().nodes.size())};
  for (const Quadrature& rule : binned) {
    all.nodes += rule.weights.cwiseProduct(rule.nodes) / static_cast<double>(binned.size());
    all.weights += rule.weights / static_cast<double>(binned.size());
  }
  std::vector<Index> used;
  for (Index i = 0; i < all.weights.size(); ++i)
    if (all.weights(i) > 0.0) used.push_back(i);
  const Vector weights = all.weights(used);
  return {all.nodes(used).cwiseQuotient(weights), weights};
}

SpectralDensity make_density(const Vector& eigenvalues, const std::vector<Quadrature>& probes,
                             const SpectralMoments& moments, const std::vector<Quadrature>& all) {
  const Pool pool = pool_of(probes);
  const auto known = static_cast<double>(eigenvalues.size());
  const double rest = moments.dimension - known;
  SpectralDensity density;
  if (pool.nodes.size() == 0 || rest < 0.5) {
    // Everything is covered: what is left of the space has eigenvalue zero.
    density.values = Vector::Zero(eigenvalues.size() + 1);
    density.multiplicity = Vector::Ones(eigenvalues.size() + 1);
    density.values.head(eigenvalues.size()) = eigenvalues;
    density.multiplicity(eigenvalues.size()) = std::max(0.0, rest);
    return density;
  }
  const double trace = moments.trace - eigenvalues.sum();
  const double square = moments.squared_norm - eigenvalues.squaredNorm() - 2.0 * moments.residual_squares;
  const auto to_exact_moments = [&](const Pool& some) {
    Vector weights;
    if (trace > least_share * moments.trace) {
      if (square > least_share * moments.squared_norm)
        weights = calibrate(some, Vector{{rest, trace, square}});
      if (weights.size() == 0) weights = calibrate(some, Vector{{rest, trace}});
    }
    return weights;
  };
  Vector weights;
  if (!all.empty()) {
    const Pool together = pool_of(all);
    const Vector exact = to_exact_moments(together);
    if (exact.size() > 0) weights = with_moments_of(pool, {together.nodes, exact});
  }
  if (weights.size() == 0) weights = to_exact_moments(pool);
  density.calibrated = weights.size() > 0;
  if (!density.calibrated) weights = rest * pool.weights;
  density.values.resize(eigenvalues.size() + pool.nodes.size());
  density.multiplicity.resize(density.values.size());
  density.values << eigenvalues, pool.nodes;
  density.multiplicity << Vector::Ones(eigenvalues.size()), weights;
  return density;
}

}  // namespace gradflow
