#include "gradflow/spectrum/fixed_effects.h"

#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"

namespace gradflow {
namespace {

// Column j is dependent when what remains of it after the columns before it is below 1e-10 of its length;
// |R_jj| is that remainder.
void check_full_rank(const Matrix& X, const Matrix& R, const std::vector<std::string>& names) {
  for (Index j = 0; j < X.cols(); ++j) {
    if (std::abs(R(j, j)) > 1e-10 * X.col(j).norm()) continue;
    throw InputError(
        fmt::format("fixed effect '{}' is a linear combination of the fixed effects before it (the intercept "
                    "comes first): remove it",
                    names[static_cast<std::size_t>(j)]));
  }
}

}  // namespace

FixedEffects::FixedEffects(Matrix design, std::vector<std::string> names)
    : design_(std::move(design)), names_(std::move(names)) {
  require(rows() > count(), "number of rows", rows(),
          fmt::format("must exceed the number of fixed effects, {} (intercept included)", count()));
  require(static_cast<Index>(names_.size()) == count(), "FixedEffects names", names_.size(),
          "must equal the number of columns");
  if (count() == 0) return;
  qr_.compute(design_);
  check_full_rank(design_, qr_.matrixQR(), names_);
}

Matrix FixedEffects::reduce(ConstBlock V) const {
  require(V.rows() == rows(), "FixedEffects::reduce V.rows", V.rows(), "must equal rows()");
  if (count() == 0) return V;
  Matrix rotated = V;
  rotated.applyOnTheLeft(qr_.householderQ().adjoint());
  return rotated.bottomRows(residual_dimension());
}

Matrix FixedEffects::lift(ConstBlock C) const {
  require(C.rows() == residual_dimension(), "FixedEffects::lift C.rows", C.rows(),
          "must equal residual_dimension()");
  if (count() == 0) return C;
  Matrix lifted(rows(), C.cols());
  // Column by column while it is in cache: (Q1 Q)(0; c) = H_1 ... H_q (0; c), H_j = I - tau_j v_j v_j'.
  parallel_for(C.cols(), 32, [&](Index begin, Index end) {
    for (Index k = begin; k < end; ++k) {
      auto column = lifted.col(k);
      column.head(count()).setZero();
      column.tail(residual_dimension()) = C.col(k);
      for (Index j = count() - 1; j >= 0; --j) {
        const auto v = qr_.matrixQR().col(j).tail(rows() - j - 1);  // after its leading 1
        auto rest = column.tail(rows() - j - 1);
        const double along = qr_.hCoeffs()(j) * (column(j) + v.dot(rest));
        column(j) -= along;
        rest -= along * v;
      }
    }
  });
  return lifted;
}

Matrix FixedEffects::project(Matrix H) const {
  require(H.rows() == rows() && H.cols() == rows(), "FixedEffects::project H.rows", H.rows(),
          "must equal rows()");
  if (count() == 0) return H;
  // (Q1 Q)' H (Q1 Q), one reflector I - tau v v' at a time:  H <- H - v p' - p v',
  // p = tau H v - (tau^2 v'Hv / 2) v.
  for (Index j = 0; j < count(); ++j) {
    Vector v = Vector::Zero(rows());
    v(j) = 1.0;
    v.tail(rows() - j - 1) = qr_.matrixQR().col(j).tail(rows() - j - 1);
    const double tau = qr_.hCoeffs()(j);
    Vector p(rows());
    symmetric_multiply(H, v, p);
    p *= tau;
    p -= (0.5 * tau * v.dot(p)) * v;
    parallel_for(rows(), 64, [&](Index begin, Index end) {
      for (Index k = begin; k < end; ++k)
        H.col(k).tail(rows() - k) -= p(k) * v.tail(rows() - k) + v(k) * p.tail(rows() - k);
    });
  }
  const Index N = residual_dimension();
  Matrix M = H.bottomRightCorner(N, N);
  mirror_lower(M);
  return M;
}

Matrix FixedEffects::coefficients(ConstBlock V) const {
  if (count() == 0) return Matrix(0, V.cols());
  Matrix rotated = V;
  rotated.applyOnTheLeft(qr_.householderQ().adjoint());
  return qr_.matrixQR().topRows(count()).triangularView<Eigen::Upper>().solve(rotated.topRows(count()));
}

Matrix FixedEffects::orthonormal_design() const {
  if (count() == 0) return design_;
  Matrix thin = Matrix::Identity(rows(), count());
  thin.applyOnTheLeft(qr_.householderQ());
  return thin;
}

Matrix FixedEffects::averaging() const {
  if (count() == 0) return design_;
  // X = Q1 R gives X (R'R)^-1 = Q1 R^-T.
  const Matrix thin = orthonormal_design();
  return qr_.matrixQR().topRows(count()).triangularView<Eigen::Upper>().solve(thin.transpose()).transpose();
}

Vector FixedEffects::variance_of_mean(ConstBlock new_X) const {
  require(new_X.cols() == count(), "FixedEffects::variance_of_mean new_X.cols", new_X.cols(),
          "must equal the number of fixed effects");
  if (count() == 0) return Vector::Zero(new_X.rows());
  // x'(R'R)^-1 x = |R^-T x|^2
  const Matrix solved =
      qr_.matrixQR().topRows(count()).triangularView<Eigen::Upper>().transpose().solve(new_X.transpose());
  return solved.colwise().squaredNorm().transpose();
}

}  // namespace gradflow
