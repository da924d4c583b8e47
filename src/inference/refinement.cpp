#include "gradflow/inference/refinement.h"

#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"

namespace gradflow {
namespace {

constexpr double least_curvature = 0.5;  // that of a normal prior of sd 2, in units of -2 log L
constexpr double longest = 1.0;          // step, natural logarithms

Matrix with_floor(const Matrix& B) {
  const Eigen::SelfAdjointEigenSolver<Matrix> eigen(0.5 * (B + B.transpose()));
  return eigen.eigenvectors() * eigen.eigenvalues().cwiseMax(least_curvature).asDiagonal() *
         eigen.eigenvectors().transpose();
}

// Second derivatives of the penalty.
Matrix bend(const Prior& priors, const Vector& x) {
  constexpr double h = 1e-4;
  Matrix result(x.size(), x.size());
  for (Index k = 0; k < x.size(); ++k) {
    const Vector step = h * Vector::Unit(x.size(), k);
    result.col(k) = (priors.at(x + step).slope - priors.at(x - step).slope) / (2.0 * h);
  }
  return 0.5 * (result + result.transpose());
}

class RefinementSearch {
 public:
  RefinementSearch(const StochasticLikelihood& likelihood, const RefinementStart& start,
                   const RefinementOptions& options);
  Refinement run();

 private:
  bool evaluate(const Vector& x, StochasticLikelihood::Errors errors, ProbedLikelihood& value, Vector& g);
  Matrix restricted_inverse(const Vector& x, const Vector& g) const;
  Vector step(const Vector& x, const Vector& g) const;
  void learn(const Vector& s, const Vector& y);
  void finish(Refinement& result) const;

  const StochasticLikelihood& likelihood_;
  const RefinementStart& start_;
  const RefinementOptions& options_;
  Matrix bend_;  // of the penalty at the start
  Matrix B_;
  int evaluations_ = 0;
};

RefinementSearch::RefinementSearch(const StochasticLikelihood& likelihood, const RefinementStart& start,
                                   const RefinementOptions& options)
    : likelihood_(likelihood), start_(start), options_(options), bend_(bend(start.priors, start.x)) {
  const double share = static_cast<double>(likelihood.rows()) / static_cast<double>(start.rows);
  B_ = with_floor(share * start.curvature + bend_);
}

bool RefinementSearch::evaluate(const Vector& x, StochasticLikelihood::Errors errors, ProbedLikelihood& value,
                                Vector& g) {
  report_progress(options_.progress, fmt::format("refining the kernel on {} rows", likelihood_.rows()),
                  static_cast<double>(evaluations_) / options_.max_evaluations);
  value = likelihood_.at(x, errors);
  ++evaluations_;
  if (value.gradient.size() == 0 || !value.gradient.allFinite()) return false;
  g = value.gradient + start_.priors.at(x).slope;
  return true;
}

// B^-1 on the parameters that may move; zero where one is at a bound and the slope leads beyond it.
Matrix RefinementSearch::restricted_inverse(const Vector& x, const Vector& g) const {
  std::vector<Index> free;
  for (Index k = 0; k < x.size(); ++k) {
    const double margin = 1e-6 * (start_.upper(k) - start_.lower(k));
    const bool held =
        (x(k) <= start_.lower(k) + margin && g(k) > 0.0) || (x(k) >= start_.upper(k) - margin && g(k) < 0.0);
    if (!held) free.push_back(k);
  }
  Matrix inverse = Matrix::Zero(x.size(), x.size());
  if (free.empty()) return inverse;
  const Matrix some = B_(free, free);
  const Matrix solved = some.llt().solve(Matrix::Identity(some.rows(), some.cols()));
  inverse(free, free) = solved;
  return inverse;
}

Vector RefinementSearch::step(const Vector& x, const Vector& g) const {
  Vector s = -(restricted_inverse(x, g) * g);
  const double most = s.cwiseAbs().maxCoeff();
  if (most > longest) s *= longest / most;
  return (x + s).cwiseMax(start_.lower).cwiseMin(start_.upper) - x;
}

// B s = y, damped so that B stays positive definite.
void RefinementSearch::learn(const Vector& s, const Vector& y) {
  const Vector Bs = B_ * s;
  const double sBs = s.dot(Bs), sy = s.dot(y);
  if (!(sBs > 0.0)) return;
  const double share = sy >= 0.2 * sBs ? 1.0 : 0.8 * sBs / (sBs - sy);
  const Vector r = share * y + (1.0 - share) * Bs;
  B_ += r * r.transpose() / s.dot(r) - Bs * Bs.transpose() / sBs;
  B_ = with_floor(B_);
}

Refinement RefinementSearch::run() {
  Refinement result;
  result.start = result.parameters = start_.x;
  result.scale = (2.0 * with_floor(start_.curvature + bend_).inverse().diagonal()).cwiseSqrt();
  Vector x = start_.x, g;
  const auto errors = StochasticLikelihood::Errors::gradient_too;
  if (!evaluate(x, errors, result.before, g)) {
    result.outcome = Outcome::unidentified;
    result.reason = result.before.reason;
    return result;
  }
  result.after = result.before;
  result.outcome = Outcome::iteration_limit;
  while (result.after.outcome == Outcome::converged) {
    const Vector s = step(x, g);
    const double promise = -0.5 * g.dot(s);
    result.reason = fmt::format("a further step promises to lower the criterion by {:.3g}", promise);
    if (promise <= options_.tolerance) {
      result.outcome = Outcome::converged;
      break;
    }
    if (evaluations_ >= options_.max_evaluations) break;
    ProbedLikelihood value;
    Vector next;
    if (!evaluate(x + s, StochasticLikelihood::Errors::criterion, value, next)) {
      B_ *= 4.0;
      continue;
    }
    const bool too_far = next.dot(s) > -0.9 * g.dot(s);
    learn(s, next - g);
    if (too_far) continue;
    x += s;
    g = next;
    result.after = std::move(value);
  }
  if (result.after.outcome != Outcome::converged) result.reason = result.after.reason;
  result.parameters = x;
  finish(result);
  return result;
}

void RefinementSearch::finish(Refinement& result) const {
  result.evaluations = evaluations_;
  result.moved = (result.parameters - result.start).cwiseQuotient(result.scale);
  const Vector differences = result.before.probe_criteria - result.after.probe_criteria;
  const auto R = static_cast<double>(differences.size());
  result.lowered = differences.mean() + start_.priors.at(result.start).penalty -
                   start_.priors.at(result.parameters).penalty;
  result.lowered_error =
      result.before.criterion_error == 0.0
          ? 0.0
          : std::sqrt((differences.array() - differences.mean()).square().sum() / (R * (R - 1.0)));
  result.probe_error = Vector::Zero(result.start.size());
  const Matrix& draws = result.before.probe_gradients;
  if (draws.cols() < 2) return;
  const auto G = static_cast<double>(draws.cols());
  const Matrix moves = restricted_inverse(result.parameters, Vector::Zero(result.start.size())) *
                       (draws.colwise() - draws.rowwise().mean());
  result.probe_error =
      (moves.rowwise().squaredNorm() / (G * (G - 1.0))).cwiseSqrt().cwiseQuotient(result.scale);
}

void check(const StochasticLikelihood& likelihood, const RefinementStart& start) {
  const Index size = likelihood.parameters();
  require(start.x.size() == size && start.lower.size() == size && start.upper.size() == size &&
              start.priors.size() == size && start.curvature.rows() == size && start.curvature.cols() == size,
          "sizes of a refinement's start", start.x.size(), fmt::format("must be {}", size));
  require(start.x.allFinite() && start.curvature.allFinite(), "start of a refinement", "NaN or infinity",
          "must be finite, and its curvature too");
  require(start.rows >= 1, "rows of a refinement's start", start.rows, "must be >= 1");
}

}  // namespace

void RefinementOptions::check() const {
  require(max_evaluations >= 2, "max_evaluations", max_evaluations, "must be >= 2");
  require(tolerance > 0.0, "tolerance", tolerance, "must be positive");
}

Matrix curvature_of(const RestrictedLikelihood& likelihood, const Vector& parameters) {
  constexpr double h = 1e-3;
  const Index m = parameters.size();
  Matrix sides(m, 2 * m);
  const SerialBlas serial;
  parallel_for(2 * m, 1, [&](Index k, Index) {
    Vector beside = parameters;
    beside(k / 2) += k % 2 == 0 ? h : -h;
    const LikelihoodValue value = likelihood.at(beside);
    sides.col(k) = value.gradient;
    if (!std::isfinite(value.criterion)) sides.col(k).setConstant(std::numeric_limits<double>::quiet_NaN());
  });
  Matrix B(m, m);
  for (Index k = 0; k < m; ++k) B.col(k) = (sides.col(2 * k) - sides.col(2 * k + 1)) / (2.0 * h);
  return 0.5 * (B + B.transpose());
}

Refinement refine(const StochasticLikelihood& likelihood, const RefinementStart& start,
                  const RefinementOptions& options) {
  options.check();
  check(likelihood, start);
  return RefinementSearch(likelihood, start, options).run();
}

}  // namespace gradflow
