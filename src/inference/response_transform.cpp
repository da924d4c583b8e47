#include "gradflow/inference/response_transform.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "base/special_values.h"
#include "gradflow/base/error.h"

namespace gradflow {
namespace {

constexpr std::array<std::pair<TransformKind, std::string_view>, 3> transform_names{
    {{TransformKind::none, "none"},
     {TransformKind::box_cox, "box-cox"},
     {TransformKind::yeo_johnson, "yeo-johnson"}}};

// b(x; lambda) = (exp(lambda x) - 1)/lambda
double power(double x, double lambda) {
  return std::abs(lambda * x) < 1e-300 ? x : std::expm1(lambda * x) / lambda;
}

// db/dlambda = x^2 int_0^1 t exp(lambda x t) dt
double power_by_lambda(double x, double lambda) {
  const double s = lambda * x;
  if (std::abs(s) > 1.0) return x * x * (s * std::exp(s) - std::expm1(s)) / (s * s);
  double sum = 0.0, term = 1.0;  // sum_j s^j / (j! (j + 2))
  for (int j = 0; j < 20; ++j) {
    sum += term / (j + 2);
    term *= s / (j + 1);
  }
  return x * x * sum;
}

// x with b(x; lambda) = v; an infinity where there is none.
double inverse_power(double v, double lambda) {
  const double s = lambda * v;
  if (s <= -1.0) return lambda > 0.0 ? -infinity : infinity;
  return std::abs(s) < 1e-300 ? v : std::log1p(s) / lambda;
}

// Responses up to here are zeros.
double zero_of(const Vector& y) { return 64.0 * machine_epsilon * y.cwiseAbs().maxCoeff(); }

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return 0.5 * (*middle + *std::max_element(values.begin(), middle));
}

}  // namespace

std::string_view to_string(TransformKind kind) {
  for (const auto& [value, name] : transform_names)
    if (value == kind) return name;
  return "unknown";
}

TransformKind parse_transform(const std::string& text) {
  for (const auto& [kind, name] : transform_names)
    if (name == text) return kind;
  throw InputError(fmt::format("response transform '{}' is none of: none, box-cox, yeo-johnson", text));
}

bool ResponseTransform::all_positive(const Vector& y) { return y.minCoeff() > zero_of(y); }

ResponseTransform ResponseTransform::for_response(TransformKind kind, const Vector& y) {
  ResponseTransform transform{.kind = kind};
  require(y.allFinite(), "response", "NaN or infinity", "must be finite");
  if (kind == TransformKind::none) return transform;
  require(y.size() > 1 && y.maxCoeff() > y.minCoeff(), "response", "constant",
          "a constant response cannot be transformed");
  if (kind == TransformKind::box_cox) {
    require(all_positive(y), "smallest response", y.minCoeff(),
            "the Box-Cox transform needs positive values (yeo-johnson takes any)");
    transform.scale = std::exp(y.array().log().mean());
  } else {
    transform.centre = median({y.begin(), y.end()});
    transform.scale = std::sqrt((y.array() - y.mean()).square().sum() / static_cast<double>(y.size() - 1));
  }
  return transform;
}

ResponseTransform ResponseTransform::continued(const Vector& y) const {
  ResponseTransform out = at(lambda);
  double least = infinity, largest = -infinity;
  const double zero = zero_of(y);
  for (const double each : y) {
    if (kind == TransformKind::box_cox && !(each > zero)) continue;
    least = std::min(least, each);
    largest = std::max(largest, each);
  }
  if (kind == TransformKind::none || !(least < largest)) return out;
  const double low = power_forward(least), high = power_forward(largest), margin = 0.25 * (high - low);
  const Range ends = range();
  if (lambda < 1.0) out.beyond = power_inverse(high + std::min(margin, 0.5 * (ends.upper - high)));
  if (kind == TransformKind::yeo_johnson && lambda > 1.0)
    out.below = power_inverse(low - std::min(margin, 0.5 * (low - ends.lower)));
  if (kind == TransformKind::box_cox && lambda > 0.0 && lambda < 1.0) out.below = least;
  return out;
}

double ResponseTransform::forward(double y) const {
  const double inside = std::min(std::max(y, below), beyond);
  const double z = power_forward(inside);
  return inside == y ? z : z + (y - inside) * std::exp(log_derivative(inside));
}

double ResponseTransform::power_forward(double y) const {
  const double u = (y - centre) / scale;
  switch (kind) {
    case TransformKind::box_cox: return scale * power(std::log(u), lambda);
    case TransformKind::yeo_johnson:
      return centre +
             scale * (u >= 0.0 ? power(std::log1p(u), lambda) : -power(std::log1p(-u), 2.0 - lambda));
    case TransformKind::none: break;
  }
  return y;
}

double ResponseTransform::log_derivative(double y) const {
  return (lambda - 1.0) * log_derivative_by_lambda(std::min(std::max(y, below), beyond));
}

double ResponseTransform::forward_by_lambda(double y) const {
  const double u = (y - centre) / scale;
  switch (kind) {
    case TransformKind::box_cox: return scale * power_by_lambda(std::log(u), lambda);
    case TransformKind::yeo_johnson:
      return scale * (u >= 0.0 ? power_by_lambda(std::log1p(u), lambda)
                               : power_by_lambda(std::log1p(-u), 2.0 - lambda));
    case TransformKind::none: break;
  }
  return 0.0;
}

double ResponseTransform::log_derivative_by_lambda(double y) const {
  const double u = (y - centre) / scale;
  switch (kind) {
    case TransformKind::box_cox: return std::log(u);
    case TransformKind::yeo_johnson: return u >= 0.0 ? std::log1p(u) : -std::log1p(-u);
    case TransformKind::none: break;
  }
  return 0.0;
}

ResponseTransform::Range ResponseTransform::range() const {
  Range range{-infinity, infinity};
  if (kind == TransformKind::none) return range;
  if (lambda < 0.0) range.upper = centre - scale / lambda;
  if (kind == TransformKind::box_cox && lambda > 0.0) range.lower = centre - scale / lambda;
  if (kind == TransformKind::yeo_johnson && lambda > 2.0) range.lower = centre - scale / (lambda - 2.0);
  return range;
}

double ResponseTransform::inverse(double z) const {
  const auto along_tangent = [&](double end, double off) {
    return end + off * std::exp(-log_derivative(end));
  };
  if (const double off = std::isfinite(below) ? z - power_forward(below) : 0.0; off < 0.0)
    return along_tangent(below, off);
  if (const double off = std::isfinite(beyond) ? z - power_forward(beyond) : 0.0; off > 0.0)
    return along_tangent(beyond, off);
  return power_inverse(z);
}

double ResponseTransform::power_inverse(double z) const {
  const double v = (z - centre) / scale;
  switch (kind) {
    case TransformKind::box_cox: return scale * std::exp(inverse_power(v, lambda));
    case TransformKind::yeo_johnson:
      return centre + scale * (v >= 0.0 ? std::expm1(inverse_power(v, lambda))
                                        : -std::expm1(inverse_power(-v, 2.0 - lambda)));
    case TransformKind::none: break;
  }
  return z;
}

Vector ResponseTransform::forward(const Vector& y) const {
  return y.unaryExpr([this](double value) { return forward(value); });
}

Vector ResponseTransform::inverse(const Vector& z) const {
  return z.unaryExpr([this](double value) { return inverse(value); });
}

}  // namespace gradflow
