#include "gradflow/inference/classification_map.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <vector>

#include "gradflow/base/error.h"

namespace gradflow {
namespace {

// Minus the log posterior of theta = (slopes, offsets), its gradient and curvature.
class Penalised {
 public:
  Penalised(ConstBlock scores, const Labels& labels, const MapPrior& prior)
      : scores_(scores), response_(Matrix::Zero(scores.rows(), scores.cols())) {
    const Index K = scores.cols();
    for (std::size_t i = 0; i < labels.size(); ++i) response_(static_cast<Index>(i), labels[i]) = 1.0;
    centre_ = Vector::Zero(2 * K);
    centre_.head(K).setConstant(prior.slope_mean);
    if (prior.base.size() > 0) centre_.tail(K) = prior.base;
    // (own^2 I + common^2 11')^-1
    const double own = prior.own_sd * prior.own_sd, common = prior.slope_sd * prior.slope_sd;
    precision_ = Matrix::Identity(2 * K, 2 * K) / (prior.offset_sd * prior.offset_sd);
    precision_.topLeftCorner(K, K) =
        (Matrix::Identity(K, K) - Matrix::Constant(K, K, common / (own + static_cast<double>(K) * common))) /
        own;
  }

  const Vector& centre() const { return centre_; }

  double value(const Vector& theta) const {
    const Matrix L = logits(theta);
    const Vector largest = L.rowwise().maxCoeff();
    const Vector log_sum = (L.colwise() - largest).array().exp().rowwise().sum().log();
    // Two terms >= 0 a row: where all probabilities are near 1 a difference of sums would be all rounding.
    const Vector lost = largest - response_.cwiseProduct(L).rowwise().sum();
    const Vector away = theta - centre_;
    return log_sum.sum() + lost.sum() + 0.5 * away.dot(precision_ * away);
  }

  // Newton's direction with the slopes named in `held` where they are: curvature
  // sum_i A_i'(diag p_i - p_i p_i')A_i + precision, A_i = [diag u_i, I].
  Vector direction(const Vector& theta, const std::vector<Index>& held) const {
    const Index K = scores_.cols();
    const Matrix P = softmax(logits(theta)), R = P - response_;
    Matrix PA(P.rows(), 2 * K);
    PA << P.cwiseProduct(scores_), P;
    Matrix C = -PA.transpose() * PA;
    C.diagonal().head(K) += PA.leftCols(K).cwiseProduct(scores_).colwise().sum().transpose();
    C.diagonal().tail(K) += P.colwise().sum().transpose();
    C.topRightCorner(K, K).diagonal() += PA.leftCols(K).colwise().sum().transpose();
    C.bottomLeftCorner(K, K) = C.topRightCorner(K, K).transpose();
    C += precision_;
    Vector g = precision_ * (theta - centre_);
    g.head(K) += R.cwiseProduct(scores_).colwise().sum().transpose();
    g.tail(K) += R.colwise().sum().transpose();
    for (const Index c : held) {
      C.row(c).setZero();
      C.col(c).setZero();
      C(c, c) = 1.0;
      g(c) = 0.0;
    }
    return -C.llt().solve(g);
  }

 private:
  Matrix logits(const Vector& theta) const {
    const Index K = scores_.cols();
    return (scores_ * theta.head(K).asDiagonal()).rowwise() + theta.tail(K).transpose();
  }

  ConstBlock scores_;
  Matrix response_;
  Vector centre_;
  Matrix precision_;
};

bool minimise(const Penalised& target, Vector& theta, const std::vector<Index>& held) {
  double value = target.value(theta);
  for (int iteration = 0; iteration < 200; ++iteration) {
    const Vector direction = target.direction(theta, held);
    const bool small = direction.norm() <= 1e-10 * (1.0 + theta.norm());
    const double ceiling = value + 1e-13 * std::abs(value);  // rounding
    double step = 1.0, next = target.value(theta + direction);
    while (!(next <= ceiling) && step > 1e-10) {
      step *= 0.5;
      next = target.value(theta + step * direction);
    }
    if (!(next <= ceiling)) return false;
    theta += step * direction;
    value = next;
    if (small) return true;
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
  require(own_sd > 0.0, "own_sd", own_sd, "must be > 0");
  require(offset_sd > 0.0, "offset_sd", offset_sd, "must be > 0");
  require(base.size() == 0 || base.size() == classes, "size of base", base.size(),
          "must be 0 or the number of classes");
}

Matrix ProbabilityMap::apply(ConstBlock scores) const {
  require(scores.cols() == offset.size(), "columns of scores", scores.cols(),
          "must equal the number of classes of the map");
  return softmax((scores * slope.asDiagonal()).rowwise() + offset.transpose());
}

ProbabilityMap fit_probability_map(ConstBlock scores, const Labels& labels, const MapPrior& prior) {
  prior.check(scores.cols());
  require(static_cast<Index>(labels.size()) == scores.rows(), "number of labels", labels.size(),
          "must equal the number of rows of the scores");
  for (const Index label : labels)
    require(label >= 0 && label < scores.cols(), "label", label, "must be 0, ..., number of classes - 1");
  require(scores.allFinite(), "scores", "not finite", "must be finite");
  const Index K = scores.cols();
  const Penalised target(scores, labels, prior);
  Vector theta = target.centre();
  bool converged = minimise(target, theta, {});
  // Slopes below 0 are held there, until none is.
  std::vector<Index> held;
  for (bool negative = theta.head(K).minCoeff() < 0.0; negative && converged;) {
    for (Index c = 0; c < K; ++c)
      if (theta(c) < 0.0) {
        theta(c) = 0.0;
        held.push_back(c);
      }
    converged = minimise(target, theta, held);
    negative = theta.head(K).minCoeff() < 0.0;
  }
  ProbabilityMap map{.slope = theta.head(K), .offset = theta.tail(K)};
  map.outcome = !converged     ? Outcome::iteration_limit
                : held.empty() ? Outcome::converged
                               : Outcome::on_boundary;
  map.reason = !converged     ? "Newton's method for the map from scores to probabilities did not converge"
               : held.empty() ? "mode of the penalised likelihood of the leave-one-out scores"
                              : fmt::format("the scores of {} of {} classes do not order the rows: slope 0",
                                            held.size(), K);
  return map;
}

}  // namespace gradflow
