#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gradflow/inference/reml.h"
#include "gradflow/model/simulate.h"
#include "gradflow/operators/dense_operator.h"
#include "gradflow/spectrum/projected_spectrum.h"

namespace gradflow::calibration {

/// Features, a kernel on them and fixed effects.
struct Setting {
  Index n = 200, d = 10;
  double correlation = 0.0;  ///< of neighbouring features, AR(1)
  Index replicates = 1;      ///< rows equal in every feature
  bool merged = false;       ///< replicates are one row of their mean, with their pure error beside it
  Index covariates = 0;      ///< normal columns beside the intercept
  std::string kernel = "ntk:relu:2";

  std::string name() const;
};

/// A setting drawn once, with its spectrum.
class Design {
 public:
  explicit Design(const Setting& setting);

  const Setting& setting() const noexcept { return setting_; }
  const Matrix& X() const noexcept { return X_; }
  const DenseOperator& H() const noexcept { return *H_; }  ///< of the rows, or of the groups
  const FixedEffects& fixed() const noexcept { return *fixed_; }
  const Vector& values() const noexcept { return values_; }              ///< of M
  const Vector& multiplicity() const noexcept { return multiplicity_; }  ///< empty: one each
  double count() const;                                                  ///< N

  /// Columns of responses (n x b) as the tests see them.
  struct Projected {
    Matrix z;          ///< coordinates, one row per value with an eigenvector
    Vector squares;    ///< b, w'w with the pure error
    Vector pure;       ///< b, the pure error
    Vector quadratic;  ///< b, w'Mw
  };
  Projected project_responses(const Matrix& Y) const;
  SpectralData data(const Projected& projected, Index column) const;

 private:
  Setting setting_;
  Matrix X_;
  std::unique_ptr<FixedEffects> fixed_;
  std::unique_ptr<DenseOperator> H_;
  ProjectedSpectrum spectrum_;
  Vector values_, multiplicity_;
  Index groups_ = 0;
};

/// n x count, independent with mean 0 and variance 1; column j is data set `first` + j of the kind.
Matrix noise_columns(NoiseKind kind, Index n, Index first, Index count);

}  // namespace gradflow::calibration
