#include "gradflow/inference/stochastic_likelihood.h"

#include <Eigen/Cholesky>
#include <Eigen/QR>
#include <algorithm>
#include <cmath>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "gradflow/spectrum/conjugate_gradients.h"
#include "gradflow/spectrum/nystrom.h"
#include "inference/rounding.h"

namespace gradflow {
namespace {

constexpr Index most_groups = 8;  // of probes, for the gradient's standard errors

Index rank_of(const ProbeOptions& options, Index n) {
  if (options.rank >= 0) return std::min(options.rank, n);
  return std::min(n / 2, static_cast<Index>(std::lround(4.0 * std::sqrt(static_cast<double>(n)))));
}

// Y <- H X for symmetric H, by blocks of rows that do not depend on the number of threads.
void multiply_symmetric(const Matrix& H, const Matrix& X, Matrix& Y) {
  constexpr Index block = 256;
  const SerialBlas serial;
  parallel_for(H.rows(), block, [&](Index begin, Index end) {
    multiply(H.middleCols(begin, end - begin), Transpose::yes, X, Transpose::no,
             Y.middleRows(begin, end - begin));
  });
}

// Directions of length k^1/2 in the span of U and (n - k)^1/2 in its complement.
Matrix on_spheres(const NystromPreconditioner& C, const Matrix& normals) {
  Matrix inside = C.part(normals), outside = normals - inside;
  const auto k = static_cast<double>(C.rank()), rest = static_cast<double>(normals.rows()) - k;
  for (Index r = 0; r < normals.cols(); ++r) {
    if (k > 0.0) inside.col(r) *= std::sqrt(k) / inside.col(r).norm();
    outside.col(r) *= std::sqrt(rest) / outside.col(r).norm();
  }
  return rest > 0.0 ? Matrix(inside + outside) : inside;
}

double mean_error(const Vector& values) {
  const auto R = static_cast<double>(values.size());
  return std::sqrt((values.array() - values.mean()).square().sum() / (R * (R - 1.0)));
}

Vector row_mean_error(const Matrix& values) {
  Vector errors(values.rows());
  for (Index k = 0; k < errors.size(); ++k) errors(k) = mean_error(values.row(k).transpose());
  return errors;
}

}  // namespace

void ProbeOptions::check() const {
  require(probes >= 2, "probes", probes, "must be >= 2");
  require(rank >= -1, "rank of the preconditioner", rank, "must be >= 0, or -1");
  require(tolerance > 0.0 && tolerance < 1.0, "tolerance", tolerance, "must be in (0, 1)");
  require(probe_tolerance > 0.0 && probe_tolerance < 1.0, "probe_tolerance", probe_tolerance,
          "must be in (0, 1)");
  require(max_iterations >= 1, "max_iterations", max_iterations, "must be >= 1");
}

// What one block of conjugate gradients leaves.
struct StochasticLikelihood::Solved {
  NystromPreconditioner C;
  bool definite = false;
  Vector Pw{};
  Matrix VX{};           // V^-1 X G^-T/2: tr G^-1 (V^-1X)' M V^-1X = tr VX' M VX
  Matrix u{}, v{};       // C^-1/2 A^-1/2 Z, and U (1 + S)^-1/2 U'Z
  Vector logarithms{};   // z'log(A)z
  double squares = 0.0;  // w'Pw + s0
  double log_G = 0.0;    // log|X'V^-1X|
};

StochasticLikelihood::StochasticLikelihood(const OperatorFamily& family, Vector w, FixedEffects fixed,
                                           const Vector& around, const ProbeOptions& options,
                                           double within_squares, double within_dof)
    : family_(family),
      w_(std::move(w)),
      fixed_(std::move(fixed)),
      options_(options),
      family_parameters_(family.parameters()),
      within_squares_(within_squares) {
  const Index n = family.size();
  options_.check();
  require(w_.size() == n, "number of responses", w_.size(),
          fmt::format("must equal the number of rows, {}", n));
  require(w_.allFinite(), "response", "NaN or infinity", "must be finite");
  require(fixed_.rows() == n, "FixedEffects rows", fixed_.rows(),
          fmt::format("must equal the family's number of rows, {}", n));
  require(within_squares >= 0.0 && within_dof >= 0.0, "squares within rows", within_squares,
          "must be >= 0, and their degrees of freedom too");
  least_squares_ = explained_share * w_.squaredNorm();
  w_ = fixed_.lift(fixed_.reduce(w_));  // PX = 0: P sees nothing else of w
  restricted_count_ = static_cast<double>(fixed_.residual_dimension()) + within_dof;
  if (fixed_.count() > 0)
    log_XX_ =
        2.0 * Eigen::HouseholderQR<Matrix>(fixed_.design()).matrixQR().diagonal().array().abs().log().sum();
  if (options_.every_direction) {
    probes_ = std::sqrt(static_cast<double>(n)) * Matrix::Identity(n, n);
  } else {
    RandomStream random(options_.seed, "probes of the likelihood");
    probes_ = random.normals(n, options_.probes);
  }
  landmarks_ = choose_landmarks(family.at(around)->H(), rank_of(options_, n), options_.seed);
}

StochasticLikelihood::Solved StochasticLikelihood::solve(const Matrix& H, double tau,
                                                         ProbedLikelihood& value) const {
  const Index n = w_.size(), q = fixed_.count(), R = probes_.cols();
  Solved solved{NystromPreconditioner(H, tau, landmarks_)};
  const NystromPreconditioner& C = solved.C;
  const Matrix Z = options_.every_direction ? probes_ : on_spheres(C, probes_);
  Matrix B(n, 1 + q + R);
  B << w_, fixed_.design(), Z;
  C.whiten(B.leftCols(1 + q));
  const auto apply = [&](ConstBlock X, Block Y) {
    Matrix half = X, product(n, X.cols());
    C.whiten(half);
    multiply_symmetric(H, half, product);
    product = half + tau * product;
    C.whiten(product);
    Y = product;
  };
  Vector tolerances(1 + q + R);
  tolerances << Vector::Constant(1 + q, options_.tolerance),
      Vector::Constant(R, options_.every_direction ? options_.tolerance : options_.probe_tolerance);
  BlockSolution solution = conjugate_gradients(
      apply, B, {.tolerances = tolerances, .roots = R, .max_iterations = options_.max_iterations});
  value.rank = C.rank();
  value.iterations = solution.iterations;
  value.residual = solution.residual;
  solved.definite = solution.definite && solution.X.allFinite();
  if (!solved.definite) return solved;
  value.outcome = solution.converged ? Outcome::converged : Outcome::iteration_limit;
  value.reason = solution.converged
                     ? "the solutions met their tolerance"
                     : fmt::format("conjugate gradients left a residual of {:.2g} after {} iterations",
                                   solution.residual, solution.iterations);
  C.whiten(solution.X);
  solved.u = solution.X.rightCols(R);
  solved.v = C.whitened_part(Z);
  solved.logarithms.resize(R);
  for (Index r = 0; r < R; ++r) {
    const Tridiagonal& T = solution.lanczos[static_cast<std::size_t>(1 + q + r)];
    const Quadrature rule = gauss_rule(T, static_cast<double>(n));
    solved.logarithms(r) = rule.weights.dot(rule.nodes.array().max(1e-300).log().matrix());
  }
  solved.Pw = solution.X.col(0);
  solved.VX = solution.X.middleCols(1, q);
  if (q > 0) {
    const Matrix G = fixed_.design().transpose() * solved.VX;
    const Eigen::LLT<Matrix> factor(0.5 * (G + G.transpose()));
    solved.definite = factor.info() == Eigen::Success;
    if (!solved.definite) return solved;
    solved.log_G = 2.0 * Matrix(factor.matrixL()).diagonal().array().log().sum();
    solved.Pw -= solved.VX * factor.solve(fixed_.design().transpose() * solved.Pw);
    solved.VX = factor.matrixL().solve(solved.VX.transpose()).transpose();
  }
  solved.squares = w_.dot(solved.Pw) + within_squares_;
  return solved;
}

bool StochasticLikelihood::add_criterion(const Solved& solved, ProbedLikelihood& value) const {
  if (!solved.definite) {
    value.outcome = Outcome::unidentified;
    value.reason = "I + tau H is not positive definite";
    return false;
  }
  if (!(solved.squares > least_squares_) || !std::isfinite(solved.squares)) {
    value.outcome = Outcome::unidentified;
    value.reason = "the fixed effects explain the response exactly";
    return false;
  }
  value.noise_variance = solved.squares / restricted_count_;
  const double known = restricted_count_ * std::log(value.noise_variance) + solved.log_G - log_XX_ +
                       solved.C.log_determinant();
  value.probe_criteria = known + solved.logarithms.array();
  value.criterion = value.probe_criteria.mean();
  value.criterion_error = options_.every_direction ? 0.0 : mean_error(solved.logarithms);
  return true;
}

// (tr W dV/dp, tr W dV/dlog tau), the latter as tr W V - tr W with tr W V given.
Vector StochasticLikelihood::contract(const OperatorFamily::Point& point, const LowRankWeights& W,
                                      double identity) const {
  Vector result(parameters());
  result.head(family_parameters_) = point.contract_low_rank(W);
  const double trace = W.diagonal.sum() + W.factors.colwise().squaredNorm().transpose().dot(W.coefficients);
  result(family_parameters_) = identity - trace;
  return result;
}

void StochasticLikelihood::add_gradient(const OperatorFamily::Point& point, double tau, const Solved& solved,
                                        Errors errors, ProbedLikelihood& value) const {
  const Index n = w_.size(), q = solved.VX.cols(), R = solved.u.cols(), k = solved.C.rank();
  const bool grouped = errors == Errors::gradient_too && !options_.every_direction;
  const auto add_probes = [&](Index first, Index count, double share, Index column, LowRankWeights& W) {
    W.factors.middleCols(column, count) = solved.u.middleCols(first, count);
    W.factors.middleCols(column + count, count) = solved.v.middleCols(first, count);
    W.coefficients.segment(column, count).setConstant(share);
    W.coefficients.segment(column + count, count).setConstant(-share);
  };
  const Index probed = grouped ? 0 : R;
  LowRankWeights W{Vector::Zero(n), Matrix(n, k + q + 1 + 2 * probed), Vector(k + q + 1 + 2 * probed)};
  W.factors.leftCols(k + q + 1) << solved.C.vectors(), solved.VX, solved.Pw;
  W.coefficients.head(k + q + 1) << (1.0 + solved.C.values().array()).inverse().matrix(),
      Vector::Constant(q, -1.0), -1.0 / value.noise_variance;
  // tr P V = n - q; (Pw)'V Pw = w'Pw
  const double explained_part = (solved.squares - within_squares_) / value.noise_variance;
  const double identity = static_cast<double>(n - q) - explained_part;
  const auto in_p = [&](Vector g) {
    g.head(family_parameters_) *= tau;
    return g;
  };
  if (!grouped) {
    add_probes(0, R, 1.0 / static_cast<double>(R), k + q + 1, W);
    value.gradient = in_p(contract(point, W, identity));
  } else {
    const Index groups = std::min(R, most_groups);
    Matrix parts(parameters(), groups);
    Vector shares(groups);
    value.gradient = in_p(contract(point, W, identity));
    for (Index g = 0; g < groups; ++g) {
      const Index first = g * R / groups, count = (g + 1) * R / groups - first;
      LowRankWeights part{Vector::Zero(n), Matrix(n, 2 * count), Vector(2 * count)};
      add_probes(first, count, 1.0 / static_cast<double>(count), 0, part);
      parts.col(g) = in_p(contract(point, part, 0.0));
      shares(g) = static_cast<double>(count) / static_cast<double>(R);
    }
    parts.colwise() += value.gradient;
    value.gradient = parts * shares;
    value.gradient_error = row_mean_error(parts);
    value.probe_gradients = std::move(parts);
  }
  if (options_.every_direction) value.gradient_error = Vector::Zero(parameters());
  // tr P = tr V^-1 - tr G^-1 (V^-1X)'V^-1X; dQ/dlog tau = N - tr P - (w'Pw - |Pw|^2)/s2
  value.effective_dof =
      value.gradient(family_parameters_) + explained_part - solved.Pw.squaredNorm() / value.noise_variance;
}

ProbedLikelihood StochasticLikelihood::at(const Vector& parameters, Errors errors) const {
  require(parameters.size() == this->parameters(), "StochasticLikelihood::at parameters.size",
          parameters.size(), "must equal parameters()");
  ProbedLikelihood value;
  const double tau = std::exp(parameters(family_parameters_));
  const std::unique_ptr<OperatorFamily::Point> point = family_.at(parameters.head(family_parameters_));
  if (!std::isfinite(tau) || !point->H().allFinite()) {
    value.outcome = Outcome::unidentified;
    value.reason = "tau H is not finite";
    return value;
  }
  const Solved solved = solve(point->H(), tau, value);
  if (!add_criterion(solved, value)) return value;
  add_gradient(*point, tau, solved, errors, value);
  return value;
}

}  // namespace gradflow
