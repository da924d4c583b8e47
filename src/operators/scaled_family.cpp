#include "gradflow/operators/scaled_family.h"

#include <utility>

#include "gradflow/base/error.h"

namespace gradflow {
namespace {

class ScaledPoint final : public OperatorFamily::Point {
 public:
  ScaledPoint(std::unique_ptr<OperatorFamily::Point> point, Vector scale)
      : point_(std::move(point)), scale_(std::move(scale)) {
    H_ = scale_.asDiagonal() * point_->H() * scale_.asDiagonal();
  }
  const Matrix& H() const override { return H_; }
  // sum_ij W_ij d(D H D)_ij = sum_ij (D W D)_ij dH_ij
  Vector contract(const Matrix& W) const override {
    return point_->contract(scale_.asDiagonal() * W * scale_.asDiagonal());
  }
  Vector contract_low_rank(const LowRankWeights& W) const override {
    return point_->contract_low_rank(
        {W.diagonal.cwiseProduct(scale_.cwiseAbs2()), scale_.asDiagonal() * W.factors, W.coefficients});
  }

 private:
  std::unique_ptr<OperatorFamily::Point> point_;
  Vector scale_;
  Matrix H_;
};

}  // namespace

ScaledFamily::ScaledFamily(std::shared_ptr<const OperatorFamily> family, Vector scale)
    : family_(std::move(family)), scale_(std::move(scale)) {
  require(family_ != nullptr, "ScaledFamily family", "null", "must be given");
  require(scale_.size() == family_->size(), "ScaledFamily scale.size", scale_.size(),
          "must equal the family's number of rows");
  require(scale_.allFinite() && (scale_.array() > 0.0).all(), "ScaledFamily scale",
          "a value <= 0 or not finite", "must be positive");
}

std::unique_ptr<OperatorFamily::Point> ScaledFamily::at(const Vector& p) const {
  return std::make_unique<ScaledPoint>(family_->at(p), scale_);
}

}  // namespace gradflow
