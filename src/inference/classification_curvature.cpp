#include <lapacke.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "inference/classification_laplace.h"

namespace gradflow::laplace {
namespace {

constexpr Index rows_at_once = 256;

// B <- lower Cholesky factor of I + s C s'.
Matrix factor(const Matrix& C, const Vector& s) {
  Matrix B = s.asDiagonal() * C * s.asDiagonal();
  B.diagonal().array() += 1.0;
  if (!cholesky_lower(B))
    throw InternalError("the curvature of a Laplace approximation is not positive definite");
  return B;
}

double log_determinant_of(const Matrix& L) { return 2.0 * L.diagonal().array().log().sum(); }

// Two classes: only u = (f_0 - f_1) / sqrt 2 matters, with prior C and curvature w = 2 p_0 p_1.
class Binary final : public Curvature {
 public:
  Binary(const Matrix& prior, ConstBlock p)
      : root_((2.0 * p.col(0).cwiseProduct(p.col(1))).cwiseSqrt()), L_(factor(prior, root_)) {}

  // (I + wC)^-1 b = b - s B^-1 s C b on the difference; the sum is left alone.
  Matrix dual(ConstBlock b, ConstBlock Cb) const override {
    Vector x = root_.cwiseProduct(Cb.col(0) - Cb.col(1)) / 2.0;
    solve_lower(L_, Transpose::no, x);
    solve_lower(L_, Transpose::yes, x);
    x = root_.cwiseProduct(x);
    Matrix result = b;
    result.col(0) -= x;
    result.col(1) += x;
    return result;
  }

  double log_determinant() const override { return log_determinant_of(L_); }

  Matrix covariance(ConstBlock cross, const Vector& self) const override {
    Vector variance = self;
    for (Index first = 0; first < cross.rows(); first += rows_at_once) {
      const Index count = std::min(rows_at_once, cross.rows() - first);
      Matrix V = root_.asDiagonal() * cross.middleRows(first, count).transpose();
      solve_lower(L_, Transpose::no, V);
      variance.segment(first, count) -= V.colwise().squaredNorm().transpose();
    }
    // f_0 = -f_1 = u / sqrt 2.
    const Vector half = 0.5 * variance.cwiseMax(0.0);
    Matrix result(cross.rows(), 4);
    result << half, -half, -half, half;
    return result;
  }

 private:
  Vector root_;
  Matrix L_;
};

// E_c = s_c B_c^-1 s_c with s_c^2 = p_c, L L' = sum_c E_c.
class Multinomial final : public Curvature {
 public:
  Multinomial(const Matrix& prior, ConstBlock p) : sum_(Matrix::Zero(prior.rows(), prior.rows())) {
    for (Index c = 0; c < p.cols(); ++c) {
      const Vector s = p.col(c).cwiseSqrt();
      Matrix B = factor(prior, s);
      log_determinant_ += log_determinant_of(B);
      const auto n = static_cast<lapack_int>(B.rows());
      if (LAPACKE_dpotri(LAPACK_COL_MAJOR, 'L', n, B.data(), n) != 0)
        throw InternalError("LAPACK's dpotri failed on a factor that Cholesky accepted");
      mirror_lower(B);
      E_.emplace_back(s.asDiagonal() * B * s.asDiagonal());
      sum_ += E_.back();
    }
    if (!cholesky_lower(sum_))
      throw InternalError("the curvature of a Laplace approximation is not positive definite");
    log_determinant_ += log_determinant_of(sum_);
  }

  // b - (C + W^-1)^-1 C b, (C + W^-1)^-1 = E - E R (sum E)^-1 R'E.
  Matrix dual(ConstBlock b, ConstBlock Cb) const override {
    Matrix ECb(b.rows(), b.cols());
    for (Index c = 0; c < b.cols(); ++c) symmetric_multiply(E(c), Cb.col(c), ECb.col(c));
    Vector r = ECb.rowwise().sum();
    solve_lower(sum_, Transpose::no, r);
    solve_lower(sum_, Transpose::yes, r);
    Matrix result = b - ECb;
    Vector Er(b.rows());
    for (Index c = 0; c < b.cols(); ++c) {
      symmetric_multiply(E(c), r, Er);
      result.col(c) += Er;
    }
    return result;
  }

  double log_determinant() const override { return log_determinant_; }

  // delta_cd self - delta_cd k'E_c k + (L^-1 E_c k)'(L^-1 E_d k)
  Matrix covariance(ConstBlock cross, const Vector& self) const override {
    const auto K = static_cast<Index>(E_.size());
    Matrix result = Matrix::Zero(cross.rows(), K * K);
    for (Index first = 0; first < cross.rows(); first += rows_at_once) {
      const Index count = std::min(rows_at_once, cross.rows() - first);
      const Matrix k = cross.middleRows(first, count).transpose();
      std::vector<Matrix> V;
      for (Index c = 0; c < K; ++c) {
        V.push_back(multiply(E(c), Transpose::no, k, Transpose::no));
        result.col(c + K * c).segment(first, count) =
            self.segment(first, count) - k.cwiseProduct(V.back()).colwise().sum().transpose();
        solve_lower(sum_, Transpose::no, V.back());
      }
      for (Index c = 0; c < K; ++c)
        for (Index d = 0; d < K; ++d)
          result.col(c + K * d).segment(first, count) += V[static_cast<std::size_t>(c)]
                                                             .cwiseProduct(V[static_cast<std::size_t>(d)])
                                                             .colwise()
                                                             .sum()
                                                             .transpose();
    }
    return result;
  }

 private:
  const Matrix& E(Index c) const { return E_[static_cast<std::size_t>(c)]; }

  std::vector<Matrix> E_;
  Matrix sum_;
  double log_determinant_ = 0.0;
};

}  // namespace

std::unique_ptr<Curvature> Curvature::make(const Matrix& prior, ConstBlock p) {
  if (p.cols() == 2) return std::make_unique<Binary>(prior, p);
  return std::make_unique<Multinomial>(prior, p);
}

Matrix prior_covariance(const Matrix& H, double tau, double bias_variance) {
  return ((tau * H).array() + bias_variance).matrix();
}

}  // namespace gradflow::laplace
