#pragma once

#include <limits>
#include <string>
#include <vector>

#include "gradflow/inference/error_calibration.h"
#include "gradflow/inference/left_out.h"

namespace gradflow {

/// Phi^-1(u) of a share u = lower = 1 - upper of a distribution, from the smaller of both, as one of them may
/// be below what 1 - u resolves; shares below 1e-300 count as that: finite, within +-37.1.
double normal_score(double lower, double upper);

/// What the mixture of K fits' distributions has to be turned into. It has the fits' spread, yet the errors
/// of their mean are less than any fit's; and the errors are of rows that have had a part in most of the
/// choices. Of a response y the mixture has the share U(y) below; calibrated it is
///
///     P(Y <= y) = G( Phi^-1(U(y)) / f ),     f = g c_out / c,
///
/// g G the distribution of the normal scores s_i = Phi^-1(U(y_i)) of the rows, each predicted from the others
/// (calibrate(): g their root mean square), c_out and c the root mean squares of errors with and without a
/// part in the choice. U is continuous and rises, so the intervals at every level are those of U at other
/// levels, and where the fits agree they are those of one fit.
struct MixtureCalibration {
  ErrorCalibration scores{};  ///< of the s_i
  int folds = 0;              ///< without which the parameters of the fits were chosen
  double own_factor = std::numeric_limits<double>::quiet_NaN();       ///< c: geometric mean of the fits'
  double left_out_factor = std::numeric_limits<double>::quiet_NaN();  ///< c_out

  bool known() const noexcept { return scores.known(); }
  double factor() const;  ///< f; 1 where not known

  /// U(y) at the y of which `probability`, in (0, 1), is below; itself where not known.
  double mixture_share(double probability) const;
  /// log dP/dU at a y with the normal score s of U(y); 0 where not known.
  double log_density_ratio(double score) const;
  std::string sentence() const;
};

/// Of K fits of the same rows whose parameters were chosen with all rows (the first) and without each of K -
/// 1 folds:
///
///     U(y_i) = 1/K sum_k F_k( z_ik / c_k ),     c_out^2 = mean_i z_i,k(i)^2,  k(i) the fit chosen without i
///
/// `fits`: c_k and the shape of F_k. `errors`: n x K, the z_ik (standardised_errors()); rows with one that is
/// not finite have no part. Not known, with the reason, where a fit's calibration or the left-out errors are
/// not, and for fewer than ErrorCalibration::fewest_rows rows. Throws InputError where the columns are not as
/// many as the fits. Cost: the distribution functions of all members of the shapes at every row.
MixtureCalibration calibrate_mixture(const std::vector<ErrorCalibration>& fits, const Matrix& errors,
                                     const LeftOutErrors& left_out);

}  // namespace gradflow
