#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "gradflow/inference/stopping.h"
#include "gradflow/spectrum/lanczos.h"
#include "inference/search.h"

namespace gradflow {
namespace {

struct Split {
  std::vector<Index> train, held_out;
};

Split draw_split(Index n, double fraction, std::uint64_t seed) {
  const std::vector<Index> order = RandomStream(seed, "validation split").permutation(n);
  const Index held = std::clamp<Index>(std::lround(fraction * static_cast<double>(n)), 1, n - 1);
  Split split{{order.begin() + held, order.end()}, {order.begin(), order.begin() + held}};
  std::sort(split.train.begin(), split.train.end());
  std::sort(split.held_out.begin(), split.held_out.end());
  return split;
}

// The training rows' problem and its predictions on the held-out rows, in a growing Krylov space. The
// training operator is H on vectors that are zero at the held-out rows, times W / W_t (n / n_t without
// weights), as the loss averages over the training rows only; what a product says at the held-out rows is the
// kernel between the two parts.
//   prediction(t) = X_v beta_0 + (H_vt V - X_v (X'X)^-1 X'H_tt V) c(t),   c(t) = |w| S dual(theta; t) S'e_1
class HeldOutPath {
 public:
  HeldOutPath(const StoppingProblem& problem, const Split& split)
      : problem_(problem),
        split_(split),
        held_weight_(weight_of(problem, split.held_out)),
        rescale_(1.0 + held_weight_ / weight_of(problem, split.train)),
        fixed_(take_rows(problem.fixed.design(), split.train), problem.fixed.names()),
        Q1_(fixed_.orthonormal_design()),
        X_held_(take_rows(problem.fixed.design(), split.held_out)),
        truth_(problem.response(split.held_out)),
        padded_(Matrix::Zero(problem.H.size(), 1)),
        product_(problem.H.size(), 1) {
    Vector y = problem.response(split.train);
    base_ = X_held_ * fixed_.coefficients(y).col(0);
    project(y);
    krylov_ =
        std::make_unique<KrylovSpace>([this](ConstVector x, Eigen::Ref<Vector> out) { apply(x, out); }, y,
                                      std::min<Index>(fixed_.residual_dimension(), 2000),
                                      BasisPrecision::float64, [this](Eigen::Ref<Vector> v) { project(v); });
  }

  void extend(Index steps) {
    krylov_->extend(steps);
    ritz_ = ritz(krylov_->tridiagonal());
  }

  double mean_squared_error(const Path& path) const { return mean_squared_errors({path}).front(); }

  std::vector<double> mean_squared_errors(const std::vector<Path>& paths) const {
    const auto count = static_cast<Index>(paths.size());
    Matrix left = (truth_ - base_).replicate(1, count);
    if (krylov_->steps() > 0) {
      const Vector theta = ritz_.values.cwiseMax(0.0);
      Matrix dual(theta.size(), count);
      for (Index p = 0; p < count; ++p) dual.col(p) = paths[static_cast<std::size_t>(p)].dual(theta);
      const SerialBlas serial;  // the same bits for any number of threads
      const Matrix c = multiply(ritz_.vectors, Transpose::no,
                                Matrix(ritz_.vectors.row(0).transpose().asDiagonal() * dual), Transpose::no);
      multiply(held_.leftCols(theta.size()), Transpose::no, c, Transpose::no, left, -krylov_->start_norm(),
               1.0);
    }
    std::vector<double> errors;
    for (Index p = 0; p < count; ++p) errors.push_back(left.col(p).squaredNorm() / held_weight_);
    return errors;
  }

  const KrylovSpace& krylov() const { return *krylov_; }
  const Vector& ritz_values() const { return ritz_.values; }

 private:
  static double weight_of(const StoppingProblem& problem, const std::vector<Index>& rows) {
    return problem.weights.size() > 0 ? problem.weights(rows).sum() : static_cast<double>(rows.size());
  }

  static Matrix take_rows(const Matrix& X, const std::vector<Index>& rows) { return X(rows, Eigen::all); }

  void project(Eigen::Ref<Vector> v) const {
    if (Q1_.cols() > 0) v -= Q1_ * (Q1_.transpose() * v).eval();
  }

  void apply(ConstVector x, Eigen::Ref<Vector> out) {
    padded_.col(0)(split_.train) = x;
    problem_.H.apply(padded_, product_);
    out = rescale_ * product_.col(0)(split_.train);
    if (held_count_ == held_.cols())
      held_.conservativeResize(truth_.size(), std::max<Index>(32, 2 * held_.cols()));
    held_.col(held_count_++) =
        rescale_ * product_.col(0)(split_.held_out) - X_held_ * fixed_.coefficients(out).col(0);
    project(out);
  }

  const StoppingProblem& problem_;
  const Split& split_;
  double held_weight_, rescale_;
  FixedEffects fixed_;
  Matrix Q1_, X_held_;
  Vector truth_, base_;
  Matrix padded_, product_;
  Matrix held_;  // a column a step, and room for more
  Index held_count_ = 0;
  std::unique_ptr<KrylovSpace> krylov_;
  Ritz ritz_;
};

struct Best {
  Minimum minimum;
  bool converged = false;
};

// Grows the space until the best time's error, and the error a decade later, stop moving.
Best best_on_path(HeldOutPath& path, const StoppingOptions& options) {
  // The bound comes from the Ritz values, not from LAPACK's eigenvalues: the rule keeps its bits for any
  // number of threads.
  const double shrinkage = options.reml.largest_shrinkage;
  const double bound = largest_time({path.ritz_values(), Vector()}, options.path, shrinkage);
  TimeGrid grid = log_grid(bound / shrinkage * 1e-4, bound, 160);
  const bool whole = options.path.kind == PathKind::descent;
  const auto error = [&](double time) { return path.mean_squared_error(options.path.at(time)); };
  std::vector<Path> on_grid;
  for (double& time : grid) {
    if (whole) time = std::max(1.0, std::round(time));
    on_grid.push_back(options.path.at(time));
  }
  Best best;
  double previous = -1.0;
  for (Index steps = 24; !best.converged; steps += steps / 10) {
    path.extend(steps);
    best.minimum = refine_minimum(error, grid, path.mean_squared_errors(on_grid), error(0.0), whole);
    const double later = error(std::min(bound, 10.0 * best.minimum.time));
    const double moved = std::abs(best.minimum.value + later - previous);
    best.converged = path.krylov().exhausted() || moved <= 1e-6 * best.minimum.value;
    previous = best.minimum.value + later;
    if (path.krylov().steps() < steps) break;
  }
  return best;
}

}  // namespace

StoppingRule stop_by_validation(const StoppingProblem& problem, const StoppingOptions& options) {
  StoppingRule rule;
  rule.kind = RuleKind::validation;
  rule.name = rule_name(rule.kind, options.path.kind);
  rule.interval.level = options.reml.level;
  const Split split = draw_split(problem.H.size(), options.validation_fraction, options.seed);
  const auto n_train = static_cast<Index>(split.train.size());
  if (n_train <= problem.fixed.count() + 1) {
    rule.reason =
        fmt::format("{} training rows beside {} held out are too few", n_train, split.held_out.size());
    return rule;
  }
  try {
    HeldOutPath path(problem, split);
    path.extend(24);
    if (!(path.ritz_values().size() > 0 && path.ritz_values().maxCoeff() > 0.0)) {
      rule.reason = "nothing is left to learn on the training part after the fixed effects";
      return rule;
    }
    const Best best = best_on_path(path, options);
    if (options.path.kind == PathKind::descent &&
        options.path.learning_rate * path.ritz_values().maxCoeff() >= 1.0) {
      rule.reason = "the learning rate is too large for descent on the training part";
      return rule;
    }
    rule.reason = fmt::format(
        "best on {} held-out rows after training on {}; the time is then used on all rows ({} Krylov steps)",
        split.held_out.size(), n_train, path.krylov().steps());
    rule.time = best.minimum.time;
    rule.estimated_rmse = std::sqrt(best.minimum.value);
    rule.effective_dof = problem.data.effective_dof(options.path.at(rule.time));
    rule.outcome = best.converged ? outcome_of(best.minimum) : Outcome::iteration_limit;
  } catch (const InputError& error) {
    rule.reason = fmt::format("not computed on the training part: {}", error.what());
  }
  return rule;
}

}  // namespace gradflow
