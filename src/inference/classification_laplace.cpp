#include "inference/classification_laplace.h"

#include <Eigen/LU>
#include <boost/math/distributions/normal.hpp>
#include <boost/random/sobol.hpp>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>

#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"

namespace gradflow::laplace {
namespace {

// log p(y | f), summed over rows.
double log_likelihood(const Matrix& f, const Matrix& response) {
  const Vector largest = f.rowwise().maxCoeff();
  const Vector log_sum = largest.array() + (f.colwise() - largest).array().exp().rowwise().sum().log();
  return response.cwiseProduct(f).sum() - log_sum.sum();
}

struct Latent {
  Matrix dual;
  Vector bias;
  Matrix f;      // g + 1 bias'
  double value;  // log p(y | f) - 1/2 dual'g - |bias|^2 / 2v
};

class Posterior {
 public:
  Posterior(const Matrix& H, const Matrix& response, double tau, double v)
      : H_(H), response_(response), tau_(tau), v_(v) {}

  Latent at(Matrix dual, Vector bias) const {
    const Matrix g = tau_ * multiply(H_, Transpose::no, dual, Transpose::no);
    Latent x{std::move(dual), std::move(bias), {}, 0.0};
    x.f = g.rowwise() + x.bias.transpose();
    x.value =
        log_likelihood(x.f, response_) - 0.5 * x.dual.cwiseProduct(g).sum() - 0.5 * x.bias.squaredNorm() / v_;
    return x;
  }

  // dual = (I + W C)^-1 (W f + y - p), bias = v 1'dual.
  Latent newton(const Latent& x, const Matrix& p, const Curvature& curvature) const {
    const Matrix pf = p.cwiseProduct(x.f);
    const Vector mean = pf.rowwise().sum();
    const Matrix b = pf - (p.array().colwise() * mean.array()).matrix() + response_ - p;
    const Vector sums = v_ * b.colwise().sum().transpose();
    const Matrix Cb = (tau_ * multiply(H_, Transpose::no, b, Transpose::no)).rowwise() + sums.transpose();
    return consistent(curvature.dual(b, Cb));
  }

  // Newton's steps with a curvature of another point, dual += (I + W C)^-1 (y - p - dual), while each halves
  // the residual. For f = C dual only.
  Latent refine(Latent x, const Curvature& curvature, double tolerance) const {
    double last = std::numeric_limits<double>::infinity();
    for (int iteration = 0; iteration < 40; ++iteration) {
      const Matrix r = response_ - softmax(x.f) - x.dual;
      const double size = r.cwiseAbs().maxCoeff();
      if (size <= 0.5 * tolerance || !(size < 0.5 * last)) return x;
      last = size;
      const Matrix Cr =
          (tau_ * multiply(H_, Transpose::no, r, Transpose::no)).rowwise() + (v_ * r.colwise().sum()).eval();
      Latent next = consistent(x.dual + curvature.dual(r, Cr));
      if (!at_least(next.value, x.value)) return x;
      x = std::move(next);
    }
    return x;
  }

  // But for rounding.
  static bool at_least(double value, double before) { return value >= before - 1e-12 * std::abs(before); }

 private:
  Latent consistent(Matrix dual) const {
    Vector bias = v_ * dual.colwise().sum().transpose();
    return at(std::move(dual), std::move(bias));
  }

  const Matrix& H_;
  const Matrix& response_;
  double tau_, v_;
};

// 1024 points in r dimensions whose averages are nearly those of N(0, I): points 512 to 1023 of Sobol's
// sequence, which in every dimension are the middles of 512 cells of equal probability, and their mirror
// images.
Matrix normal_points(Index r) {
  constexpr Index half = 512;
  const boost::math::normal normal;
  boost::random::sobol sobol(static_cast<std::size_t>(r));
  sobol.discard(static_cast<std::uintmax_t>(r * (half - 1)));  // it starts at point 1
  Matrix points(2 * half, r);
  for (Index i = 0; i < half; ++i)
    for (Index j = 0; j < r; ++j)
      points(i, j) = boost::math::quantile(normal, std::ldexp(static_cast<double>(sobol()), -64));
  points.bottomRows(half) = -points.topRows(half);
  return points;
}

// A with A A' = (I - 11'/K) S (I - 11'/K), K x (K - 1), the largest directions first, each with the sign of
// its third moment, so that renaming the classes renames the rows: softmax does not see the sum of the
// latents.
Matrix contrast_root(const Matrix& S) {
  const Index K = S.rows();
  const Matrix centring = Matrix::Identity(K, K) - Matrix::Constant(K, K, 1.0 / static_cast<double>(K));
  const Matrix centred = centring * S * centring;
  const SymmetricEigen eigen = symmetric_eigen(centred);
  Vector root = eigen.values.cwiseMax(0.0).cwiseSqrt();
  for (Index k = 0; k < K; ++k)
    if (eigen.vectors.col(k).array().cube().sum() < 0.0) root(k) = -root(k);
  return (eigen.vectors * root.asDiagonal()).rowwise().reverse().leftCols(K - 1);
}

}  // namespace

Mode find_mode(const Matrix& H, const Matrix& response, double tau, double bias_variance, const Mode& start,
               double tolerance) {
  const Posterior posterior(H, response, tau, bias_variance);
  const bool warm = start.dual.size() > 0;
  Latent x = posterior.at(warm ? start.dual : Matrix::Zero(response.rows(), response.cols()),
                          warm ? start.bias : Vector::Zero(response.cols()));
  const Matrix prior = prior_covariance(H, tau, bias_variance);
  Mode mode;
  for (int iteration = 0; iteration < 60; ++iteration) {
    const Matrix p = softmax(x.f);
    const auto curvature = Curvature::make(prior, p);
    mode.log_marginal = x.value - 0.5 * curvature->log_determinant();
    mode.p = p;
    mode.converged = (x.dual - (response - p)).cwiseAbs().maxCoeff() <= tolerance;
    if (mode.converged) break;
    Latent next = posterior.newton(x, p, *curvature);
    // Halve towards x while the log posterior falls by more than rounding.
    int halvings = 0;
    for (; halvings < 40 && !Posterior::at_least(next.value, x.value); ++halvings)
      next = posterior.at(0.5 * (x.dual + next.dual), 0.5 * (x.bias + next.bias));
    x = halvings == 0 ? posterior.refine(std::move(next), *curvature, tolerance) : std::move(next);
  }
  mode.dual = std::move(x.dual);
  mode.bias = std::move(x.bias);
  return mode;
}

Matrix average_softmax(ConstBlock mean, ConstBlock covariance) {
  const Index K = mean.cols();
  const Matrix points = normal_points(K - 1);
  Matrix result(mean.rows(), K);
  parallel_for(mean.rows(), 16, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      const Matrix S = Vector(covariance.row(i)).reshaped(K, K);
      const Matrix f = (points * contrast_root(S).transpose()).rowwise() + mean.row(i);
      result.row(i) = softmax(f).colwise().mean();
    }
  });
  return result;
}

Cavities cavities(const Matrix& H, const Matrix& response, double tau, double bias_variance,
                  const Mode& mode) {
  const Index n = H.rows(), K = response.cols();
  const Matrix prior = prior_covariance(H, tau, bias_variance);
  Cavities result;
  result.covariance = Curvature::make(prior, mode.p)->covariance(prior, prior.diagonal());
  result.mean =
      (tau * multiply(H, Transpose::no, mode.dual, Transpose::no)).rowwise() + mode.bias.transpose();
  for (Index i = 0; i < n; ++i) {
    // S_-i = (I - S W)^-1 S,  m_-i = f - S_-i (y - p), S the posterior covariance of row i.
    const Vector p = mode.p.row(i).transpose();
    const Matrix S = Vector(result.covariance.row(i)).reshaped(K, K);
    Matrix W = -p * p.transpose();
    W.diagonal() += p;
    const Matrix without = (Matrix::Identity(K, K) - S * W).partialPivLu().solve(S);
    result.covariance.row(i) = without.reshaped().transpose();
    result.mean.row(i) -= (without * (response.row(i).transpose() - p)).transpose();
  }
  return result;
}

}  // namespace gradflow::laplace
