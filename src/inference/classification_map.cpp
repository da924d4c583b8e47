#include "gradflow/inference/classification_map.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>

#include "gradflow/base/error.h"

namespace gradflow {
namespace {

// Minus the log posterior of theta = (slope, offsets), its gradient and curvature.
class Penalised {
 public:
  Penalised(ConstBlock scores, const Labels& labels, const MapPrior& prior)
      : scores_(scores), response_(Matrix::Zero(scores.rows(), scores.cols())) {
    const Index K = scores.cols();
    for (std::size_t i = 0; i < labels.size(); ++i) response_(static_cast<Index>(i), labels[i]) = 1.0;
    centre_ = Vector::Zero(K + 1);
    centre_(0) = prior.slope_mean;
    if (prior.base.size() > 0) centre_.tail(K) = prior.base;
    precision_ = Vector::Constant(K + 1, 1.0 / (prior.offset_sd * prior.offset_sd));
    precision_(0) = 1.0 / (prior.slope_sd * prior.slope_sd);
  }

  const Vector& centre() const { return centre_; }

  Matrix probabilities(const Vector& theta) const { return softmax(logits(theta)); }

  double value(const Vector& theta) const {
    const Matrix L = logits(theta);
    const Vector largest = L.rowwise().maxCoeff();
    const Vector log_sum = largest.array() + (L.colwise() - largest).array().exp().rowwise().sum().log();
    const Vector away = theta - centre_;
    return log_sum.sum() - response_.cwiseProduct(L).sum() + 0.5 * away.dot(precision_.cwiseProduct(away));
  }

  Vector gradient(const Vector& theta, const Matrix& P) const {
    const Matrix R = P - response_;
    Vector g(theta.size());
    g(0) = R.cwiseProduct(scores_).sum();
    g.tail(R.cols()) = R.colwise().sum();
    return g + precision_.cwiseProduct(theta - centre_);
  }

  // sum_i A_i'(diag p_i - p_i p_i')A_i + precision, A_i = [u_i, I].
  Matrix curvature(const Matrix& P) const {
    const Index K = P.cols();
    const Matrix PU = P.cwiseProduct(scores_);
    const Vector mean = PU.rowwise().sum();
    Matrix C = Matrix::Zero(K + 1, K + 1);
    C(0, 0) = PU.cwiseProduct(scores_).sum() - mean.squaredNorm();
    C.col(0).tail(K) = PU.colwise().sum().transpose() - P.transpose() * mean;
    C.row(0).tail(K) = C.col(0).tail(K).transpose();
    C.bottomRightCorner(K, K) = -P.transpose() * P;
    C.diagonal().tail(K) += P.colwise().sum().transpose();
    C.diagonal() += precision_;
    return C;
  }

 private:
  Matrix logits(const Vector& theta) const {
    return (theta(0) * scores_).rowwise() + theta.tail(scores_.cols()).transpose();
  }

  ConstBlock scores_;
  Matrix response_;
  Vector centre_, precision_;
};

// One Newton direction; the slope stays where it is when `hold`.
Vector newton_direction(const Penalised& target, const Vector& theta, bool hold) {
  const Matrix P = target.probabilities(theta);
  Vector g = target.gradient(theta, P);
  Matrix C = target.curvature(P);
  if (hold) {
    g(0) = 0.0;
    C.row(0).setZero();
    C.col(0).setZero();
    C(0, 0) = 1.0;
  }
  return -C.llt().solve(g);
}

bool minimise(const Penalised& target, Vector& theta, bool hold) {
  double value = target.value(theta);
  for (int iteration = 0; iteration < 200; ++iteration) {
    const Vector direction = newton_direction(target, theta, hold);
    double step = 1.0;
    double next = target.value(theta + direction);
    while (!(next <= value) && step > 1e-10) {
      step *= 0.5;
      next = target.value(theta + step * direction);
    }
    const bool small = direction.norm() <= 1e-10 * (1.0 + theta.norm());
    if (next <= value) {
      theta += step * direction;
      value = next;
    }
    if (small || !(step > 1e-10)) return small || direction.norm() <= 1e-6 * (1.0 + theta.norm());
  }
  return false;
}

}  // namespace

Matrix softmax(ConstBlock logits) {
  const Vector largest = logits.rowwise().maxCoeff();
  Matrix P = (logits.colwise() - largest).array().exp();
  const Vector sum = P.rowwise().sum();
  return P.array().colwise() / sum.array();
}

void MapPrior::check(Index classes) const {
  require(slope_sd > 0.0, "slope_sd", slope_sd, "must be > 0");
  require(offset_sd > 0.0, "offset_sd", offset_sd, "must be > 0");
  require(base.size() == 0 || base.size() == classes, "size of base", base.size(),
          "must be 0 or the number of classes");
}

Matrix ProbabilityMap::apply(ConstBlock scores) const {
  require(scores.cols() == offset.size(), "columns of scores", scores.cols(),
          "must equal the number of classes of the map");
  return softmax((slope * scores).rowwise() + offset.transpose());
}

ProbabilityMap fit_probability_map(ConstBlock scores, const Labels& labels, const MapPrior& prior) {
  prior.check(scores.cols());
  require(static_cast<Index>(labels.size()) == scores.rows(), "number of labels", labels.size(),
          "must equal the number of rows of the scores");
  for (const Index label : labels)
    require(label >= 0 && label < scores.cols(), "label", label, "must be 0, ..., number of classes - 1");
  require(scores.allFinite(), "scores", "not finite", "must be finite");
  const Penalised target(scores, labels, prior);
  Vector theta = target.centre();
  theta(0) = std::max(theta(0), 0.0);
  bool converged = minimise(target, theta, false);
  ProbabilityMap map;
  map.outcome = converged ? Outcome::converged : Outcome::iteration_limit;
  map.reason = converged ? "mode of the penalised likelihood of the leave-one-out scores"
                         : "Newton's method for the map from scores to probabilities did not converge";
  if (theta(0) < 0.0) {
    theta(0) = 0.0;
    converged = minimise(target, theta, true);
    map.outcome = converged ? Outcome::on_boundary : Outcome::iteration_limit;
    map.reason = "the scores do not order the classes: slope 0, every row gets the same probabilities";
  }
  map.slope = theta(0);
  map.offset = theta.tail(scores.cols());
  const Matrix C = target.curvature(target.probabilities(theta));
  const Matrix inverse = C.llt().solve(Matrix::Identity(C.rows(), C.cols()));
  map.slope_standard_error = std::sqrt(inverse(0, 0));
  return map;
}

}  // namespace gradflow
