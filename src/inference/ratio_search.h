#pragma once

#include "gradflow/base/random.h"
#include "gradflow/inference/reml.h"
#include "inference/search.h"

namespace gradflow {

/// Restricted likelihood ratio against time 0, maximised over the times of a path, for many responses with
/// the same eigenvalues at once:
///
///     ratio(t; u) = N log( sum u / sum phi_t(lambda_k) u_k ) - sum m_k v_t(lambda_k),   u_k = sum of z^2
///
/// over the m_k coordinates of value lambda_k. Times: a log-spaced grid up to the bound, where phi is kept
/// (points x values doubles) and all responses share one product, then Brent's method about each best point.
class RatioSearch {
 public:
  /// values and multiplicity as in SpectralData, without multiplicities of 0.
  RatioSearch(Vector values, Vector multiplicity, double trace, const Path& family, double bound,
              int points = 240);

  struct Maxima {
    Vector ratio;  ///< >= 0
    Vector time;   ///< 0 where no time beats 0
  };
  Maxima maximise(const Matrix& squares) const;  ///< of u, one response per column

  const Vector& values() const noexcept { return values_; }
  const Vector& multiplicity() const noexcept { return multiplicity_; }

  /// Columns of u under the null, w ~ N(0, I): u_k ~ chi2 with m_k degrees of freedom.
  Matrix null_squares(RandomStream& random, Index columns) const;

 private:
  Eigen::ArrayXd log_phi(double time) const;
  double log_determinant(const Eigen::ArrayXd& log_phi, double time) const;

  Vector values_, multiplicity_;
  double count_, trace_;
  Path family_;
  TimeGrid grid_;
  Matrix phi_;                      // grid x values, each row relative to its largest entry
  Vector shift_, log_determinant_;  // grid: log of that entry; sum m v
};

/// The data's values with multiplicity above 0, equal neighbours merged: what a simulation of the null needs.
RatioSearch make_ratio_search(const SpectralData& data, const Path& family, double bound);

/// A draw of chi2 with `dof` > 0 degrees of freedom, whole or not. Source: Marsaglia and Tsang (2000).
double chi_square(RandomStream& random, double dof);

}  // namespace gradflow
