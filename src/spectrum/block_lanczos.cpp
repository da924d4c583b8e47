#include "gradflow/spectrum/block_lanczos.h"

#include <algorithm>
#include <utility>

#include "base/special_values.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"

namespace gradflow {
namespace {

// X <- an orthonormal basis of the span of its columns; returns R with X as it was = X R. A column of which
// no more than `least` is left beside those before it is dropped.
Matrix orthonormalise(Matrix& X, double least) {
  Matrix R = Matrix::Zero(X.cols(), X.cols());
  Index kept = 0;
  for (Index j = 0; j < X.cols(); ++j) {
    Vector x = X.col(j);
    for (int pass = 0; pass < 2; ++pass) {
      const Vector along = X.leftCols(kept).transpose() * x;
      x -= X.leftCols(kept) * along;
      R.col(j).head(kept) += along;
    }
    const double norm = x.norm();
    if (!(norm > least)) continue;
    R(kept, j) = norm;
    X.col(kept++) = x / norm;
  }
  X.conservativeResize(Eigen::NoChange, kept);
  return R.topRows(kept);
}

void clear_of(const Matrix& Q, Matrix& X) {
  if (Q.cols() == 0) return;
  multiply(Q, Transpose::no, multiply(Q, Transpose::yes, X, Transpose::no), Transpose::no, X, -1.0, 1.0);
}

}  // namespace

BlockKrylovSpace::BlockKrylovSpace(Apply apply, Matrix start, Index max_size, BasisPrecision precision,
                                   KrylovSpace::Project project)
    : apply_(std::move(apply)),
      project_(std::move(project)),
      max_size_(std::min(max_size, start.rows())),
      basis_(start.rows(), precision),
      current_(std::move(start)) {
  const double largest = current_.cols() > 0 ? current_.colwise().norm().maxCoeff() : 0.0;
  if (project_) project_(current_);
  orthonormalise(current_, 1e-8 * largest);
}

void BlockKrylovSpace::extend(Index size) {
  while (this->size() < size && !at_limit()) {
    for (const auto& column : current_.colwise()) basis_.append(column);
    Matrix next(current_.rows(), current_.cols());
    apply_(current_, next);
    const SerialBlas serial;
    const Matrix A = multiply(current_, Transpose::yes, next, Transpose::no);
    diagonal_.emplace_back(0.5 * (A + A.transpose()));
    scale_ = std::max(scale_, A.cwiseAbs().maxCoeff());
    below_.push_back(next_block(next));
    if (next.cols() > 0) scale_ = std::max(scale_, below_.back().cwiseAbs().maxCoeff());
    previous_ = std::exchange(current_, std::move(next));
  }
}

// X <- Q_{j+1}, of X = M Q_j; returns B_j.
Matrix BlockKrylovSpace::next_block(Matrix& X) const {
  // Of its neighbours as they were, not as they are kept: what is left along them goes into T to first order,
  // and along all others to second order only.
  const auto clear_of_neighbours = [&] {
    clear_of(current_, X);
    clear_of(previous_, X);
  };
  const auto clear = [&] {
    clear_of_neighbours();
    basis_.orthogonalise(X, 1);
    clear_of_neighbours();
    if (project_) project_(X);
  };
  clear();
  const Matrix R = orthonormalise(X, 64.0 * machine_epsilon * scale_);
  if (X.cols() == 0) return R;
  clear();
  return orthonormalise(X, 0.5) * R;
}

BlockKrylovSpace::Pairs BlockKrylovSpace::pairs() const {
  Matrix T = Matrix::Zero(size(), size());
  Index at = 0;
  for (std::size_t j = 0; j < diagonal_.size(); ++j) {
    const Index width = diagonal_[j].cols();
    T.block(at, at, width, width) = diagonal_[j];
    if (j + 1 < diagonal_.size()) T.block(at + width, at, below_[j].rows(), width) = below_[j];
    at += width;
  }
  if (at == 0) return {};
  const SerialBlas serial;
  SymmetricEigen eigen = symmetric_eigen(std::move(T));
  Pairs pairs{{std::move(eigen.values), std::move(eigen.vectors)}, {}};
  const Matrix& B = below_.back();
  pairs.residuals = (B * pairs.ritz.vectors.bottomRows(B.cols())).colwise().norm().transpose();
  return pairs;
}

}  // namespace gradflow
