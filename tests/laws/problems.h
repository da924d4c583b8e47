#pragma once

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "gradflow/base/random.h"
#include "gradflow/inference/analysis.h"
#include "gradflow/operators/dense_operator.h"
#include "gradflow/operators/infinite_ntk.h"

namespace gradflow::laws {

/// A small regression problem with known signal on the infinite-width ReLU NTK, and m new rows beside it.
struct Problem {
  Matrix X, X_new;
  Matrix Theta, Theta_cross;
  Vector Theta_self;
  Observations observations;

  Index n() const { return X.rows(); }
  DenseOperator H() const { return DenseOperator(Theta / static_cast<double>(n())); }
  NewPoints new_points(const Matrix& design) const {
    return {Theta_cross / static_cast<double>(n()), Theta_self / static_cast<double>(n()), design};
  }
};

inline Problem make_problem(Index n, Index d, std::uint64_t seed, Index new_rows = 7) {
  RandomStream random(seed, "laws");
  const InfiniteArchitecture architecture;
  Problem p;
  p.X = random.normals(n, d);
  p.X_new = random.normals(new_rows, d);
  p.Theta = kernel_gram(architecture, p.X);
  p.Theta_cross = kernel_cross(architecture, p.X_new, p.X);
  p.Theta_self = kernel_diagonal(architecture, p.X_new);
  p.observations.y =
      (p.X.col(0).array().sin() * 2.0 + p.X.col(d - 1).array().square()).matrix() + 0.3 * random.normals(n);
  p.observations.f0 = Vector::Zero(n);
  p.observations.covariates = Matrix(n, 0);
  return p;
}

/// A dense operator that is only ever asked for one column at a time, the product of fixed order: no block is
/// cheaper than its columns.
class SingleColumns final : public TrainingOperator {
 public:
  explicit SingleColumns(Matrix H) : H_(std::move(H)) {}
  Index size() const noexcept override { return H_.size(); }
  std::string description() const override { return "one column at a time"; }

 private:
  void do_apply(ConstBlock X, Block Y) const override {
    for (Index j = 0; j < X.cols(); ++j) H_.apply(X.col(j), Y.col(j));
  }
  Vector do_diagonal() const override { return H_.diagonal(); }
  DenseOperator H_;
};

/// Paths with about the same shrinkage, eta small enough for any problem here, and 1/phi small enough (t
/// lambda_1 of about 12 on flow) that a test may form phi^-1.
inline std::vector<Path> all_paths() {
  return {{.kind = PathKind::flow, .time = 2.0},
          {.kind = PathKind::ridge, .time = 12.0},
          {.kind = PathKind::decay, .time = 12.0, .decay = 0.05},
          {.kind = PathKind::descent, .time = 10.0, .learning_rate = 0.2},
          {.kind = PathKind::implicit, .time = 3.0, .iterations = 4}};
}

}  // namespace gradflow::laws
