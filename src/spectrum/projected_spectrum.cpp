#include "gradflow/spectrum/projected_spectrum.h"

#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"

namespace gradflow {
namespace {

constexpr double negative_tolerance =
    1e-8;  // of the largest eigenvalue; rounding of a float64 kernel is below it

// Sets eigenvalues that rounding made negative to zero; returns how many.
Index clip_negative(Vector& values, const TrainingOperator& H) {
  Index clipped = 0;
  const double largest = values.size() > 0 ? values.maxCoeff() : 0.0;
  for (double& value : values) {
    if (value < -negative_tolerance * std::max(largest, 0.0))
      throw InputError(
          fmt::format("{} is not positive semidefinite: it has the eigenvalue {:.6g} beside its largest, "
                      "{:.6g}; a training "
                      "operator must have none below -1e-8 of the largest",
                      H.description(), value, largest));
    if (value >= 0.0) continue;
    value = 0.0;
    ++clipped;
  }
  return clipped;
}

}  // namespace

Matrix ProjectedSpectrum::coordinates(ConstBlock v) const {
  require(v.rows() == basis.rows(), "ProjectedSpectrum::coordinates rows", v.rows(),
          "must equal the operator's size");
  return multiply(basis, Transpose::yes, v, Transpose::no);
}

ProjectedSpectrum project(const TrainingOperator& H, const FixedEffects& fixed) {
  require(H.size() == fixed.rows(), "training operator size", H.size(), "must equal the number of rows");
  ProjectedSpectrum spectrum;
  Matrix M = fixed.project(H.matrix());
  spectrum.trace = M.trace();
  SymmetricEigen eigen = symmetric_eigen(std::move(M));
  // LAPACK's order ascends; ours descends.
  spectrum.values = eigen.values.reverse();
  eigen.vectors.rowwise().reverseInPlace();
  spectrum.basis = fixed.count() == 0 ? std::move(eigen.vectors) : fixed.lift(eigen.vectors);
  spectrum.most_negative = spectrum.values.size() > 0 ? std::min(0.0, spectrum.values.minCoeff()) : 0.0;
  spectrum.clipped = clip_negative(spectrum.values, H);
  return spectrum;
}

Vector projected_eigenvalues(const TrainingOperator& H, const FixedEffects& fixed) {
  require(H.size() == fixed.rows(), "training operator size", H.size(), "must equal the number of rows");
  Vector values = symmetric_eigenvalues(fixed.project(H.matrix())).reverse();
  clip_negative(values, H);
  return values;
}

}  // namespace gradflow
