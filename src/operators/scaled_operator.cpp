#include "gradflow/operators/scaled_operator.h"

#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/operators/dense_operator.h"

namespace gradflow {

ScaledOperator::ScaledOperator(const TrainingOperator& H, Vector scale, double factor)
    : H_(H), scale_(std::move(scale)), factor_(factor) {
  require(scale_.size() == H.size(), "number of row scales", scale_.size(),
          fmt::format("must equal the size of the training operator, {}", H.size()));
  require(scale_.allFinite() && scale_.minCoeff() > 0.0, "row scale", scale_.minCoeff(),
          "must be > 0 and finite in every row");
  require(factor > 0.0, "factor of a scaled operator", factor, "must be > 0");
}

void ScaledOperator::do_apply(ConstBlock X, Block Y) const {
  H_.apply(scale_.asDiagonal() * X, Y);
  Y = (factor_ * scale_).asDiagonal() * Y;
}

Vector ScaledOperator::do_diagonal() const {
  return factor_ * scale_.cwiseAbs2().cwiseProduct(H_.diagonal());
}

double ScaledOperator::do_squared_norm() const {
  const auto* dense = dynamic_cast<const DenseOperator*>(&H_);
  if (dense == nullptr) return std::numeric_limits<double>::quiet_NaN();
  const Vector squares = scale_.cwiseAbs2();
  double sum = 0.0;
  for (Index j = 0; j < size(); ++j) sum += squares(j) * dense->entries().col(j).cwiseAbs2().dot(squares);
  return factor_ * factor_ * sum;
}

Matrix ScaledOperator::do_matrix() const {
  Matrix H = H_.matrix();
  H = factor_ * scale_.asDiagonal() * H * scale_.asDiagonal();
  return H;
}

Matrix ScaledOperator::do_entries(const std::vector<Index>& rows, const std::vector<Index>& cols) const {
  return factor_ * scale_(rows).asDiagonal() * H_.entries(rows, cols) * scale_(cols).asDiagonal();
}

}  // namespace gradflow
