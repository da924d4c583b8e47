#include "gradflow/spectrum/projected_spectrum.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"

namespace gradflow {
namespace {

constexpr double negative_tolerance =
    1e-8;  // of the largest eigenvalue; rounding of a float64 kernel is below it

struct Zeroed {
  Index rounding = 0, negative = 0;
};

// Zero where the size is within rounding of zero, N eps lambda_1, and where a larger negative value is still
// within the tolerance for a kernel computed in floating point.
Zeroed zero_rounding(Vector& values, const TrainingOperator& H) {
  Zeroed zeroed;
  const double largest = values.size() > 0 ? std::max(values.maxCoeff(), 0.0) : 0.0;
  const double rounding =
      static_cast<double>(values.size()) * std::numeric_limits<double>::epsilon() * largest;
  for (double& value : values) {
    if (value > rounding) continue;
    if (value < -negative_tolerance * largest)
      throw InputError(
          fmt::format("{} is not positive semidefinite: it has the eigenvalue {:.6g} beside its largest, "
                      "{:.6g}; a training operator must have none below -1e-8 of the largest",
                      H.description(), value, largest));
    ++(value < -rounding ? zeroed.negative : zeroed.rounding);
    value = 0.0;
  }
  return zeroed;
}

}  // namespace

Matrix ProjectedSpectrum::coordinates(ConstBlock v) const {
  require(v.rows() == basis.rows(), "ProjectedSpectrum::coordinates rows", v.rows(),
          "must equal the operator's size");
  return multiply(basis, Transpose::yes, v, Transpose::no);
}

Matrix ProjectedSpectrum::diagonals(const Matrix& f) const {
  require(f.rows() == basis.cols(), "ProjectedSpectrum::diagonals rows", f.rows(),
          "must equal the number of eigenvalues");
  constexpr Index block_of_rows = 512;  // n^2 doubles are not spent on the squared basis
  const Index n = basis.rows();
  Matrix square(std::min(block_of_rows, n), basis.cols()), result(n, f.cols());
  for (Index i = 0; i < n; i += block_of_rows) {
    const Index rows = std::min(block_of_rows, n - i);
    parallel_for(square.cols(), 128, [&](Index begin, Index end) {
      square.block(0, begin, rows, end - begin) = basis.block(i, begin, rows, end - begin).cwiseAbs2();
    });
    multiply(square.topRows(rows), Transpose::no, f, Transpose::no, result.middleRows(i, rows));
  }
  return result;
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
  const Zeroed zeroed = zero_rounding(spectrum.values, H);
  spectrum.clipped = zeroed.negative;
  spectrum.below_rounding = zeroed.rounding;
  return spectrum;
}

Vector projected_eigenvalues(const TrainingOperator& H, const FixedEffects& fixed) {
  require(H.size() == fixed.rows(), "training operator size", H.size(), "must equal the number of rows");
  Vector values = symmetric_eigenvalues(fixed.project(H.matrix())).reverse();
  zero_rounding(values, H);
  return values;
}

}  // namespace gradflow
