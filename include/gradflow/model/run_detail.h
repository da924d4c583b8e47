#pragma once

#include <limits>
#include <string>
#include <vector>

#include "gradflow/model/job.h"

namespace gradflow {

/// How the fit changes along the chosen path: every member as long as `time`.
struct TrainingCurves {
  Vector time;  ///< > 0, ascending; the rules' times and the ends of their intervals are among them
  /// Of a new response: what reml-risk minimises where it stops, otherwise what expected-loo does.
  Vector expected_rmse;
  Vector training_rmse;  ///< of the training responses, weighted by row
  Vector loo_rmse;       ///< of ridge with as many effective degrees of freedom, for which it is exact
  Vector effective_dof;
};

/// Q - Q_min of a likelihood against the stopping time that it stands for.
struct LikelihoodProfile {
  std::string name;  ///< of the rule that it belongs to
  Vector time;       ///< ascending
  Vector excess;     ///< >= 0
};

/// Eigen-directions of the projected operator, by falling eigenvalue.
struct Directions {
  std::string reason;  ///< why there are none; empty where there are
  Vector eigenvalue;   ///< N
  Vector signal;       ///< z^2: what the response has in the direction, signal and noise
  Vector residual;     ///< phi^2 z^2: what of it the fit leaves at the chosen stop; empty without one
  Vector loss;         ///< exp(-t lambda) z^2 at the root of the flow's likelihood; empty without a root
};

/// Rows: observed, fitted, and left out. In units of the response; all vectors have one entry a row, NaN
/// where it was not computed, and `reason` then says why.
struct RowFits {
  std::string reason;
  std::vector<std::string> ids;
  Vector observed;
  Vector fitted;        ///< at the chosen stop
  Vector lower, upper;  ///< of a new response at the row, under ridge given tau (Student's t)
  Vector left_out;      ///< prediction of ridge at tau, fitted without the row
  Vector left_out_lower, left_out_upper;
  Vector standardised;  ///< leave-one-out residual over its own standard deviation: t_{N-1} given tau
};

/// How many responses lie inside central leave-one-out intervals of the stated level.
struct CoverageCount {
  double nominal = 0.0;
  Index inside = 0, rows = 0;
  Interval interval{0.0, 1.0, 0.95};  ///< Clopper and Pearson's, for the share inside
};

/// What a report draws of a run beyond its answers.
///
/// Intervals at row i, P = QU phi U'Q' of ridge at its REML tau, w whitened by the row weights w_i:
///
///     in sample    fitted_i -+ t_N s (2 - P_ii)^1/2 w_i^-1/2
///     left out     e_i = (P w)_i / P_ii,  s_i^2 = (N s2 - P_ii e_i^2)/(N - 1),
///                  y_i - e_i -+ t_{N-1} s_i (P_ii w_i)^-1/2
///
/// The second is the exact prediction interval of generalised least squares given tau; the uncertainty of tau
/// is in neither. Cost, dense engine: about 60 leave-one-out curves of 4 n N flops; Krylov: N-free sums, and
/// what needs single eigenvectors (directions, rows left out) is not computed.
struct RunDetail {
  TrainingCurves curves;
  std::vector<LikelihoodProfile> profiles;
  double profile_threshold = std::numeric_limits<double>::quiet_NaN();  ///< excess at the interval's ends
  Directions directions;
  RowFits rows;
  std::vector<CoverageCount> coverage;   ///< by rising level; empty without rows left out
  std::vector<Index> largest_residuals;  ///< rows by falling |standardised| (or |observed - fitted|), few
};

RunDetail run_detail(const Job& job, const JobResult& result);

}  // namespace gradflow
