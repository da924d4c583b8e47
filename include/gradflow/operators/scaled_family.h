#pragma once

#include <memory>

#include "gradflow/operators/operator_family.h"

namespace gradflow {

/// The family with its rows weighted: D H(p) D, D = diag(scale) (n positive values).
///
/// Rows that are means of c_i responses have scale sqrt(c_i): together with the response D y and the fixed
/// effects D X their noise is again s2 I. Same parameters, names and bounds as the family that it scales.
class ScaledFamily final : public OperatorFamily {
 public:
  /// Throws InputError when the sizes differ or a scale is not positive and finite.
  ScaledFamily(std::shared_ptr<const OperatorFamily> family, Vector scale);

  Index size() const noexcept override { return family_->size(); }
  std::vector<std::string> names() const override { return family_->names(); }
  Vector start() const override { return family_->start(); }
  Vector lower() const override { return family_->lower(); }
  Vector upper() const override { return family_->upper(); }
  std::unique_ptr<Point> at(const Vector& p) const override;

 private:
  std::shared_ptr<const OperatorFamily> family_;
  Vector scale_;
};

}  // namespace gradflow
