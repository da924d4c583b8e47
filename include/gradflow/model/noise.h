#pragma once

#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gradflow/data/dataset.h"
#include "gradflow/inference/analysis.h"
#include "gradflow/inference/noise_models.h"

namespace gradflow {

/// Distribution of the noise of a row, beside its given weight w_i (1 where there is none):
///
///     normal     e_i ~ N(0, s2 / w_i)
///     student    e_i ~ s t_nu / sqrt(w_i)
///     variance   e_i ~ N(0, s2 exp(gamma'(u_i - mean u)) / w_i),  u: columns, the fitted mean, or both
enum class NoiseModelKind { normal, student, variance };
std::string_view to_string(NoiseModelKind kind);

/// What of the noise is estimated.
struct NoiseOptions {
  static constexpr double largest_dof = 1000.0;  ///< given ones; more is normal

  NoiseModelKind kind = NoiseModelKind::normal;
  std::optional<double> dof{};         ///< student: in (2, largest_dof]; none: chosen on a grid
  bool on_fitted_mean = false;         ///< variance
  std::vector<std::string> columns{};  ///< variance: features or covariates, by name or position "#3"

  static bool takes_dof(double dof) { return dof > 2.0 && dof <= largest_dof; }
  static std::string dof_requirement();  ///< "must be > 2 ... and at most ..."
  bool estimates() const { return kind != NoiseModelKind::normal; }
  void check() const;  ///< throws InputError
};

/// A noise model as predictions need it.
struct NoiseModel {
  /// log noise variance = ... + coefficient (u - centre).
  struct Term {
    std::string column;               ///< encoded, as "size" or "city=Paris"; not used for the fitted mean
    bool fitted_mean = false;         ///< u is the row's predicted mean
    double coefficient = 0.0;         ///< per unit of the data
    double centre = 0.0;              ///< mean of u over the training rows
    double lower = 0.0, upper = 0.0;  ///< of u in the training rows
  };

  NoiseModelKind kind = NoiseModelKind::normal;
  double dof = std::numeric_limits<double>::infinity();  ///< student
  std::vector<Term> terms;                               ///< variance

  /// Noise variance of rows over s2: exp(gamma'(u - centre)); ones but for `variance`. X and Z are the rows
  /// encoded, `mean` their predicted mean. `outside`: incremented for every row with a u that no training row
  /// reached by far, more than half the range beyond either end. Throws InputError for a column that the
  /// recipe lacks.
  Vector factors(const Recipe& recipe, ConstBlock X, ConstBlock Z, const Vector& mean, Index& outside) const;
};

/// The estimate. Not being usable is data: the analysis is then that of normal noise.
struct NoiseEstimate {
  NoiseModelKind kind = NoiseModelKind::normal;  ///< asked for
  Outcome outcome = Outcome::not_run;
  std::string reason = "no noise model was asked for";  ///< a sentence
  /// The weights have a part in the analysis. False where they could not be estimated, and where Student's t
  /// came out as the normal.
  bool applied = false;
  NoiseModel model;
  Vector weights;  ///< n, estimated: beside the given ones; empty unless applied
  int iterations = 0;
  double last_change = std::numeric_limits<double>::quiet_NaN();  ///< of a weight, or a log noise variance
  /// Leave-one-out log score above that of normal noise of equal variance; the standard error is from the
  /// rows' differences, taken as independent. Too kind: every row had a part in its neighbours' weights.
  double score_gain = std::numeric_limits<double>::quiet_NaN();
  double score_gain_standard_error = std::numeric_limits<double>::quiet_NaN();
  StudentNoise student;           ///< kind student; without fit
  HeteroscedasticNoise variance;  ///< kind variance; without fit

  bool is_usable() const { return outcome == Outcome::converged; }
};

/// Columns that the noise variance is to depend on, in units of the data: numeric ones as they are, of a
/// category every indicator but one. Throws InputError for one that is neither feature nor covariate, or that
/// was left out because it is constant.
struct NoiseColumns {
  std::vector<std::string> names;
  Matrix values;
};
NoiseColumns noise_columns(const Dataset& dataset, const std::vector<std::string>& columns);

/// Estimates the noise model of the rows by `ridge` with its time by REML (inference/noise_models.h), given
/// weights held as they are. Cost: an eigendecomposition for every refit, of which Student's t needs some
/// tens, the variances some ten; memory about 8 n^2 doubles. Throws InputError as noise_columns() does.
NoiseEstimate estimate_noise(const NoiseOptions& noise, const Dataset& dataset, const TrainingOperator& H,
                             const Observations& observations, const AnalysisOptions& options);

}  // namespace gradflow
