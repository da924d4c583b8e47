#pragma once

#include <map>
#include <string>
#include <vector>

#include "gradflow/inference/predictive.h"
#include "gradflow/operators/dense_operator.h"
#include "gradflow/operators/kernel_sum.h"
#include "support.h"

namespace gradflow::calibration {

/// Share of new responses inside the intervals at each of interval_levels, the mean width of those at the
/// last, units of the response, and the mean log density of the new responses; NaN: no density.
struct IntervalScore {
  std::array<double, 3> covered{};
  double width = 0.0;
  double log_density = std::numeric_limits<double>::quiet_NaN();
};

/// Training rows with standardised features, and new rows in their units.
struct Trial {
  Matrix X, X_new;
  Vector y, y_new;
};

using IntervalScores = std::map<std::string, IntervalScore>;  ///< by kind of interval

/// Mean and standard deviation of new responses.
struct Normals {
  Vector mean, sd;
};

/// `ridge` with a kernel, an intercept, and tau by restricted likelihood.
class RidgeModel {
 public:
  RidgeModel(const KernelSum& kernel, const Matrix& X, const Vector& y);

  Normals plug_in(const Matrix& X_new) const;  ///< tau and s2 taken as known
  StudentMixtures integrated(const Matrix& X_new) const;
  IntervalScores score(const Matrix& X_new, const Vector& y_new) const;  ///< every kind of interval

 private:
  NewPoints points(const Matrix& X_new) const;
  StudentMixtures calibrated(
      const NewPoints& at) const;  ///< of leave-one-out errors, as `predict` gives them

  KernelSum kernel_;
  Matrix X_;
  Vector y_;
  DenseOperator H_;
  FixedEffects fixed_;
  ProjectedSpectrum spectrum_;
  RemlFit fit_;
};

IntervalScore score(const StudentMixtures& mixtures, const Vector& y, double widened = 1.0);
IntervalScore score(const Normals& normals, const Vector& y);
double inside(const Vector& lower, const Vector& upper, const Vector& y);  ///< share

/// Remedies for a kernel chosen on the training rows: the choice is made again without each of 5 folds, whose
/// residuals r_i, with standard deviations sd_i, then know what choosing costs.
///
///     cross-validation+            quantiles of mu_-k(i)(x) -+ |r_i| (Barber and others 2021)
///     cross-validated quantile     mu(x) -+ sd(x) times the quantile of |r_i| / sd_i
///     integrated, widened          the integrated predictive's distances from its mean times
///                                  max(1, root mean square of r_i / sd_i)
IntervalScores score_remedies(const RidgeModel& chosen, const Trial& trial);

/// The kernel that selection chooses from ntk:erf:2 with a relevance for every feature, default options.
KernelSum chosen_kernel(const Trial& trial);

/// Coverage by method over repetitions.
struct CoverageRow {
  std::string setting, kernel, method;
  std::array<Mean, 3> covered{};
  double width = 0.0;  ///< of the 95 % interval over that of `plug-in`
  Mean log_density{};
  Index repetitions = 0;
};

std::vector<CoverageRow> summarise(const std::string& setting, const std::string& kernel,
                                   const std::vector<IntervalScores>& scores);

/// Printed row by row; what is off by more than `margin` is marked low or high.
class CoverageTable {
 public:
  CoverageTable(const std::string& title, double margin);
  void add(const std::vector<CoverageRow>& rows);
  Json finish();

 private:
  double margin_;
  std::size_t cells_ = 0;
  std::vector<std::string> missed_;
  Json out_;
};

}  // namespace gradflow::calibration
