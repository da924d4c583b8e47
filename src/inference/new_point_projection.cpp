#include "inference/new_point_projection.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "gradflow/base/error.h"

namespace gradflow {

NewPointProjection::NewPointProjection(const TrainingOperator& H, const FixedEffects& fixed)
    : fixed_(fixed), P_(fixed.averaging()), HP_(fixed.rows(), fixed.count()) {
  require(H.size() == fixed.rows(), "H.size()", H.size(), "must equal the rows of the fixed effects");
  if (fixed.count() > 0) H.apply(P_, HP_);
}

ProjectedPoints NewPointProjection::operator()(const NewPoints& points) const {
  const Index m = points.H_self.size();
  require(points.H_cross.rows() == m && points.H_cross.cols() == fixed_.rows(), "H_cross.cols",
          points.H_cross.cols(), "must be m x n");
  require(points.design.rows() == m && points.design.cols() == fixed_.count(), "design.cols",
          points.design.cols(), "must be m x q");
  if (fixed_.count() == 0) return {points.H_cross, points.H_self, Vector::Zero(m)};
  const Matrix& X = points.design;
  // hq_xx = h_xx - 2 x'P'h_x + x'P'HPx
  Vector prior = points.H_self - 2.0 * X.cwiseProduct(points.H_cross * P_).rowwise().sum() +
                 X.cwiseProduct(X * (P_.transpose() * HP_)).rowwise().sum();
  return {points.H_cross - X * HP_.transpose(), std::move(prior), fixed_.variance_of_mean(X)};
}

void clamp_rounding(Block variance, const Vector& h, double tau) {
  for (Index x = 0; x < variance.rows(); ++x) {
    if (!(variance(x, 0) >= -1e-7 * (tau * std::abs(h(x)) + 1.0)))
      throw InternalError(fmt::format("posterior variance {} at new row {} is below zero beyond rounding",
                                      variance(x, 0), x + 1));
    variance(x, 0) = std::max(0.0, variance(x, 0));
  }
}

Vector offsets(const Vector& values, Index m) {
  if (values.size() == 0) return Vector::Zero(m);
  require(values.size() == m, "f0 at the new rows", values.size(), "must be empty or one value per new row");
  return values;
}

}  // namespace gradflow
