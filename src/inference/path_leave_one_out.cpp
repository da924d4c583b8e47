#include "gradflow/inference/path_leave_one_out.h"

#include <cmath>
#include <complex>
#include <numbers>

#include "base/special_values.h"
#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/inference/stopping.h"
#include "inference/leverage.h"

namespace gradflow {
namespace {

constexpr int contour_points = 24;

struct ContourPoint {
  std::complex<double> z, weight;  // f(t) = sum Im( weight F(z/t) / z ), over the upper half
};

// z(theta) = n (a + b theta cot(c theta) + i d theta) at the midpoints of (0, pi).
std::vector<ContourPoint> contour() {
  constexpr double n = contour_points, a = -0.6122, b = 0.5017, c = 0.6407, d = 0.2645;
  std::vector<ContourPoint> points;
  for (int k = 0; 2 * k < contour_points; ++k) {
    const double theta = (2 * k + 1) * std::numbers::pi / n;
    const double cot = 1.0 / std::tan(c * theta), sin = std::sin(c * theta);
    const std::complex<double> z(n * (a + b * theta * cot), n * d * theta);
    const std::complex<double> slope(n * (b * cot - b * c * theta / (sin * sin)), n * d);
    points.push_back({z, 2.0 / n * std::exp(z) * slope / z});
  }
  return points;
}

// L^-1[ e(ridge, tau = 1/(p + d)) / p ](t)
Vector inverse_transform(const ProjectedSpectrum& spectrum, const SpectralData& data, const Path& path) {
  const Index N = spectrum.values.size(), n = spectrum.basis.rows();
  const std::vector<ContourPoint> points = contour();
  const auto count = static_cast<Index>(points.size());
  // (p + d) (p + d + lambda)^-1 at p = z/t: real parts, then imaginary ones
  Matrix f(N, 2 * count);
  for (Index k = 0; k < count; ++k) {
    const std::complex<double> z = points[static_cast<std::size_t>(k)].z + path.time * path.decay;
    for (Index j = 0; j < N; ++j) {
      const std::complex<double> value = z / (z + path.time * spectrum.values(j));
      f(j, k) = value.real();
      f(j, count + k) = value.imag();
    }
  }
  const Matrix diagonals = spectrum.diagonals(f);
  const Matrix fitted =
      multiply(spectrum.basis, Transpose::no, Matrix(data.z.head(N).asDiagonal() * f), Transpose::no);
  Vector errors = Vector::Zero(n);
  for (Index k = 0; k < count; ++k)
    for (Index i = 0; i < n; ++i) {
      const std::complex<double> at(fitted(i, k), fitted(i, count + k)),
          diagonal(diagonals(i, k), diagonals(i, count + k));
      errors(i) += (points[static_cast<std::size_t>(k)].weight * at / diagonal).imag();
    }
  return errors;
}

}  // namespace

bool has_leave_one_out(PathKind kind) {
  return kind == PathKind::flow || kind == PathKind::decay || kind == PathKind::ridge;
}

Vector path_leave_one_out(const ProjectedSpectrum& spectrum, const SpectralData& data, const Path& path) {
  if (!has_leave_one_out(path.kind))
    throw InputError(fmt::format("path {}: leave-one-out errors are known of flow, decay and ridge",
                                 to_string(path.kind)));
  const Index N = spectrum.values.size();
  require(data.z.size() >= N, "data.z.size()", data.z.size(), "must be at least the eigenvalues");
  Vector errors = path.kind == PathKind::ridge ? SpectralLeaveOneOut(spectrum, data).residuals(path)
                                               : inverse_transform(spectrum, data, path);
  const Matrix free = spectrum.diagonals(Matrix::Ones(N, 1));  // of QQ'
  for (Index i = 0; i < errors.size(); ++i)
    if (free(i, 0) <= leverage_one) errors(i) = not_a_number;
  return errors;
}

}  // namespace gradflow
