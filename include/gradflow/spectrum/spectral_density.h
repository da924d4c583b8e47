#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "gradflow/spectrum/block_lanczos.h"
#include "gradflow/spectrum/projected_operator.h"

namespace gradflow {

/// Eigenpairs of M that a Krylov space has found: U = V S (n x r) with eigenvalues, never formed.
struct Eigenpairs {
  const KrylovBasis* basis = nullptr;  ///< V; null: no pairs
  Matrix coordinates;                  ///< S, k x r, orthonormal columns
  Vector values;                       ///< r, descending
  double residual_squares = 0.0;       ///< |R|^2, R = MU - U diag(values), which is orthogonal to U

  Index count() const noexcept { return values.size(); }
  void project_off(Block X) const;  ///< X <- (I - UU') X; 8 n k b flops
};

/// The Ritz pairs of the space whose residual |M u - theta u| is at most tolerance times the largest Ritz
/// value and 100 tolerance times their own; all of them when the space is invariant. What the residual does
/// to a trace is of second order in it. The space outlives the result.
Eigenpairs converged_pairs(const KrylovSpace& space, double tolerance = 1e-5);
Eigenpairs converged_pairs(const BlockKrylovSpace& space, double tolerance = 1e-5);

/// Lanczos recurrences of many start vectors side by side, on the part of M that no eigenpair covers:
///
///     x_j = (I - UU') P s_j,     x_j'f(M)x_j = |x_j|^2 sum_i w_ij f(nu_ij)
///
/// with the Gauss rule (nu_ij, w_ij) of (M, x_j / |x_j|). With random signs s_j this is stochastic Lanczos
/// quadrature with deflation,
///
///     tr f(M) ~ sum_r f(theta_r) + c / R sum_j sum_i w_ij f(nu_ij).
///
/// All share each product with M. Without
/// reorthogonalisation but for the eigenpairs, which are projected off in every step: repeated nodes do a
/// quadrature no harm. Cost per step: one product of M with R columns and 8 n k R flops; memory 3 n R
/// doubles, and 4 n bytes per probe and step where their vectors are kept for combine(). Sources: Ubaru, Chen
/// and Saad (2017); Meyer, Musco, Musco and Woodruff (2021) for the deflation.
class SpectralProbes {
 public:
  /// `M` and the eigenpairs' basis outlive this. `starts` is n x R.
  SpectralProbes(const ProjectedOperator& M, Eigenpairs pairs, Matrix starts, bool keep_vectors = false);

  void extend(Index steps);
  Index count() const noexcept { return current_.cols(); }
  Index steps() const noexcept { return steps_; }
  /// Gauss rule of probe j; the weights sum to one. Empty where |x_j| = 0.
  Quadrature rule(Index probe) const;
  /// Its Gauss-Radau rule with a node at 0. What x_j'f(M)x_j is lies between the two for completely monotone
  /// f, so that their difference bounds the error of either. The Gauss rule itself where an eigenvalue of
  /// T is 0 in floating point.
  Quadrature radau(Index probe) const;

  const Matrix& starts() const noexcept { return starts_; }  ///< s_j, n x R; kept with the vectors only
  Ritz ritz_of(Index probe) const;
  /// f(M) x_j for many f at once, given by their values on the probe's Ritz values (k x functions), n x
  /// functions.
  Matrix combine(Index probe, const Matrix& values_on_ritz) const;

 private:
  Tridiagonal tridiagonal(Index probe) const;

  const ProjectedOperator& M_;
  Eigenpairs pairs_;
  Matrix starts_, current_, previous_;
  std::vector<KrylovBasis> vectors_;  // per probe, when kept
  Vector norms_;                      // |x_j|; 0: the eigenpairs cover it
  std::vector<Vector> alpha_, beta_;  // one entry per probe, one vector per step
  Index steps_ = 0;
  double scale_ = 0.0;
};

/// Start vectors of random signs: column j is drawn from stream "NAME FIRST + j" of the seed, so that more
/// probes leave the earlier ones as they were.
Matrix random_signs(Index rows, std::uint64_t seed, Index first, Index count,
                    std::string_view name = "spectral probe");

/// The probes in `groups` groups (probe j in group j mod groups), each with nodes merged to their weighted
/// mean within bins of relative `width`, the same bins for all groups: nodes of group g are the bins', in
/// order, with weight 0 where it has none. For many evaluations that only compare groups.
std::vector<Quadrature> bin(const std::vector<Quadrature>& probes, Index groups, double width);
/// The mean of rules with the same bins.
Quadrature pool(const std::vector<Quadrature>& binned);

/// tr f(M) = sum multiplicity_i f(values_i): eigenpairs once each, and the probes' rules, whose weights are
/// calibrated so that they reproduce the exact dimension and trace of the rest (and the trace of its square,
/// where that is known): weights a + b nu + c nu^2 times the raw ones. What a quadratic in lambda says of f
/// thereby has no random error. A trace of which the eigenpairs leave less than a
/// millionth is not used: rounding and a few nodes would decide.
struct SpectralDensity {
  Vector values;
  Vector multiplicity;
  bool calibrated =
      true;  ///< false: only the dimension is reproduced (a calibrated weight would be negative)
};

/// Exact totals that the density reproduces.
struct SpectralMoments {
  double dimension = 0.0;      ///< N
  double trace = 0.0;          ///< tr M
  double squared_norm = -1.0;  ///< tr M^2; negative or NaN: not known
  double residual_squares =
      0.0;  ///< of the eigenpairs, |R|^2: tr M^2 = |theta|^2 + 2 |R|^2 + that of the rest
};

/// `all`: rules of the probes and of further ones, of five steps at least. Where it is given the probes'
/// weights also reproduce the first eight moments as all together estimate them, which leaves to the few
/// probes of many steps what no polynomial of degree seven says.
SpectralDensity make_density(const Vector& eigenvalues, const std::vector<Quadrature>& probes,
                             const SpectralMoments& moments, const std::vector<Quadrature>& all = {});

}  // namespace gradflow
