#pragma once

#include <string>
#include <string_view>

#include "gradflow/base/types.h"

namespace gradflow {

enum class TransformKind { none, box_cox, yeo_johnson };

std::string_view to_string(TransformKind kind);
TransformKind parse_transform(const std::string& text);  ///< throws InputError listing the names

/// A monotone power transform of the response, one parameter lambda, in the response's own units:
///
///     box_cox       z = c b(log(y/c); lambda),                   y > 0,  c = geometric mean of y
///     yeo_johnson   z = m + c b(log(1 + u); lambda)              u >= 0, u = (y - m)/c
///                   z = m - c b(log(1 - u); 2 - lambda)          u < 0,  m = median, c = standard deviation
///     b(x; lambda) = (exp(lambda x) - 1)/lambda,  b(x; 0) = x
///
/// lambda = 1 is the identity (box_cox: up to the constant c); lambda = 0 is the logarithm (of 1 + u).
/// Because y is divided by c first, lambda has the same meaning in every unit, and dz/dy is near 1 at a
/// typical y, so that criteria with and without a transform compare. `none` ignores lambda.
///
/// Sources: Box and Cox (1964), J. R. Statist. Soc. B 26:211; Yeo and Johnson (2000), Biometrika 87:954.
struct ResponseTransform {
  TransformKind kind = TransformKind::none;
  double centre = 0.0;  ///< m
  double scale = 1.0;   ///< c > 0
  double lambda = 1.0;

  /// Centre and scale from the observations y. Throws InputError where y is not finite, box_cox meets a value
  /// <= 0, or y is constant.
  static ResponseTransform for_response(TransformKind kind, const Vector& y);

  ResponseTransform at(double new_lambda) const {
    ResponseTransform moved = *this;
    moved.lambda = new_lambda;
    return moved;
  }

  double forward(double y) const;
  double log_derivative(double y) const;            ///< log dz/dy
  double forward_by_lambda(double y) const;         ///< dz/dlambda
  double log_derivative_by_lambda(double y) const;  ///< d/dlambda log dz/dy

  /// The values that z can take, an open interval: bounded on one side by m or 0 plus -c/lambda for box_cox
  /// (lambda > 0: below; lambda < 0: above) and yeo_johnson (lambda < 0: above; lambda > 2: below).
  struct Range {
    double lower, upper;
  };
  Range range() const;
  /// y with forward(y) = z. A z outside range() gives the end of y's own range: 0 or infinity for box_cox,
  /// an infinity for yeo_johnson.
  double inverse(double z) const;

  Vector forward(const Vector& y) const;
  Vector inverse(const Vector& z) const;
};

}  // namespace gradflow
