#pragma once

#include <limits>
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
/// Data say nothing of the power beyond their responses, where it turns a prediction that is uncertain by a
/// few units of z into one of any size. There it may go on along its tangent, see continued(): from `beyond`
/// up and from `below` down, `forward`, its derivative by y and `inverse` are those of a straight line.
///
/// Sources: Box and Cox (1964), J. R. Statist. Soc. B 26:211; Yeo and Johnson (2000), Biometrika 87:954.
struct ResponseTransform {
  TransformKind kind = TransformKind::none;
  double centre = 0.0;  ///< m
  double scale = 1.0;   ///< c > 0
  double lambda = 1.0;
  double below = -std::numeric_limits<double>::infinity();  ///< responses where the tangents begin
  double beyond = std::numeric_limits<double>::infinity();

  /// Whether box_cox takes them: every response is above 0 by more than what standardising a zero and undoing
  /// it leaves, 64 epsilon of the largest.
  static bool all_positive(const Vector& y);
  /// Centre and scale from the observations y. Throws InputError where y is not finite, box_cox meets a value
  /// that is not above 0 (all_positive()), or y is constant.
  static ResponseTransform for_response(TransformKind kind, const Vector& y);

  /// Without tangents.
  ResponseTransform at(double new_lambda) const {
    return {.kind = kind, .centre = centre, .scale = scale, .lambda = new_lambda};
  }
  /// With the tangents that keep the inverse from curving away beyond responses like these:
  ///
  ///     above, lambda < 1                  from z_max + 1/4 (z_max - z_min), or half way to the end of
  ///                                        range() where that is nearer
  ///     below, yeo_johnson, lambda > 1     likewise from z_min
  ///     below, box_cox, 0 < lambda < 1     from the least positive response: y = 0, of which the power has
  ///                                        an infinite density, and what is below it have a finite one
  ///
  /// Elsewhere the inverse does not grow faster than a line; box_cox with lambda <= 0 keeps to y > 0.
  ResponseTransform continued(const Vector& y) const;

  double forward(double y) const;
  double log_derivative(double y) const;            ///< log dz/dy
  double forward_by_lambda(double y) const;         ///< dz/dlambda; of the power, as the next
  double log_derivative_by_lambda(double y) const;  ///< d/dlambda log dz/dy

  /// The values that z can take without tangents, an open interval: bounded on one side by m or 0 plus
  /// -c/lambda for box_cox (lambda > 0: below; lambda < 0: above) and yeo_johnson (lambda < 0: above; lambda
  /// > 2: below).
  struct Range {
    double lower, upper;
  };
  Range range() const;
  /// y with forward(y) = z. A z outside range(), where there is no tangent, gives the end of y's own range: 0
  /// or infinity for box_cox, an infinity for yeo_johnson.
  double inverse(double z) const;

  Vector forward(const Vector& y) const;
  Vector inverse(const Vector& z) const;

 private:
  double power_forward(double y) const;
  double power_inverse(double z) const;
};

}  // namespace gradflow
