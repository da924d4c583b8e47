#include <algorithm>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/tools/toms748_solve.hpp>
#include <cmath>
#include <cstdint>

#include "gradflow/base/error.h"
#include "gradflow/inference/noise_models.h"

namespace gradflow {
namespace {

double normal_tail(double z) { return 0.5 * std::erfc(z / std::sqrt(2.0)); }

void check(double V, double s2, double dof) {
  require(V >= 0.0 && std::isfinite(V), "variance of the normal part", V, "must be finite and >= 0");
  require(s2 >= 0.0 && std::isfinite(s2), "squared scale of Student's t", s2, "must be finite and >= 0");
  require(dof > 0.0, "dof", dof, "must be positive");
}

}  // namespace

double student_convolution_tail(double e, double V, double s2, double dof) {
  check(V, s2, dof);
  if (e < 0.0) return 1.0 - student_convolution_tail(-e, V, s2, dof);
  if (V + s2 == 0.0) return e > 0.0 ? 0.0 : 0.5;
  if (std::isinf(dof) || s2 == 0.0) return normal_tail(e / std::sqrt(V + s2));
  // In x = log q: the weight is exp(nu/2 (x - exp(x))), which the normal tail, of order one left of log(s2 /
  // e^2), cuts on the right. Beyond these ends less than exp(-32) is left.
  const double spread = std::sqrt(2.0 / dof);
  const double low = std::min(0.0, std::log(dof / (dof + e * e / s2))) - 64.0 / dof - 12.0 * spread;
  const double high = std::log1p(64.0 / dof + 12.0 * spread);
  // The integrand is analytic in a strip of half-width pi/2 at least: the trapezoidal rule's error is exp(-2
  // pi (pi/2) / step), and a step of 0.4 standard deviations of log q resolves the weight.
  const double width = 0.4 * std::sqrt(2.0 / (dof + 1.0));
  const auto intervals = static_cast<Index>(std::clamp((high - low) / width, 100.0, 4000.0));
  const double step = (high - low) / static_cast<double>(intervals);
  const double constant = 0.5 * dof * std::log(0.5 * dof) - std::lgamma(0.5 * dof);
  double sum = 0.0;
  for (Index k = 0; k <= intervals; ++k) {
    const double x = low + step * static_cast<double>(k);
    const double weight = std::exp(constant + 0.5 * dof * (x - std::exp(x)));
    sum += weight * normal_tail(e / std::sqrt(V + s2 * std::exp(-x)));
  }
  return step * sum;
}

double student_convolution_quantile(double p, double V, double s2, double dof) {
  check(V, s2, dof);
  require(p > 0.0 && p < 1.0, "probability", p, "must be between 0 and 1");
  if (p < 0.5) return -student_convolution_quantile(1.0 - p, V, s2, dof);
  if (p == 0.5 || V + s2 == 0.0) return 0.0;
  const double target = 1.0 - p;
  const double normal = std::sqrt(V + s2) * boost::math::quantile(boost::math::normal(), p);
  if (std::isinf(dof) || s2 == 0.0) return normal;
  // The logarithm of the tail is nearly straight, or its slope by log e is.
  const auto excess = [&](double e) { return std::log(student_convolution_tail(e, V, s2, dof) / target); };
  double high = normal;
  while (excess(high) > 0.0) high *= 2.0;
  std::uintmax_t evaluations = 200;
  const auto ends = boost::math::tools::toms748_solve(
      excess, 0.0, high, boost::math::tools::eps_tolerance<double>(36), evaluations);
  return 0.5 * (ends.first + ends.second);
}

}  // namespace gradflow
