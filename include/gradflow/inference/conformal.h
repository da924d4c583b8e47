#pragma once

#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "gradflow/inference/posterior.h"

namespace gradflow {

class NewPointProjection;

enum class ConformalMethod {
  jackknife_plus,  ///< quantiles of mu_-i(x) -+ |e_i|: a guarantee for any distribution
  leave_one_out,   ///< mu(x) -+ the quantile of |e_i|: narrower work, no worst-case guarantee
};

struct ConformalOptions {
  double level = 0.95;  ///< 1 - alpha, in (0, 1)
  ConformalMethod method = ConformalMethod::jackknife_plus;
  /// Residuals in units of their own standard deviation under the model, intervals of the new row's: wider
  /// where the data are thin. The guarantee is the same.
  bool studentised = false;
  /// tau, the operator or the fixed effects were chosen with the same responses: the guarantee is then only
  /// approximate, and the result says so.
  bool tuned_on_same_rows = true;
  void check() const;  ///< throws InputError naming the field
};

struct ConformalIntervals {
  Vector prediction;  ///< m, mu(x)
  Vector lower;       ///< m; -infinity where there are too few rows for the level
  Vector upper;       ///< m
  double level = std::numeric_limits<double>::quiet_NaN();  ///< asked for
  /// Coverage that holds for every distribution of exchangeable rows: 2 level - 1 for jackknife+ that was not
  /// tuned on the same rows, otherwise NaN: none is proved.
  double guaranteed_level = std::numeric_limits<double>::quiet_NaN();
  Index rows_needed = 0;                ///< fewest rows with finite intervals at this level
  std::vector<std::string> statements;  ///< what may be claimed, complete sentences
};

/// Distribution-free prediction intervals without a split, from exact leave-one-out fits of `ridge` at a
/// fixed operator and tau:
///
///     P = Q (I + tau M)^-1 Q',   mu(x) = f0(x) + l_x'(y - f0),   l_x = X (X'X)^-1 x + tau P c_x
///     e_i = (P (y - f0))_i / P_ii = y_i - mu_-i(x_i),            mu_-i(x) = mu(x) - l_xi e_i
///     sd_i^2 / s2 = 1 / P_ii,     sd_-i(x)^2 / s2 = 1 + var(x)/s2 + l_xi^2 / P_ii     (studentised)
///
/// jackknife+: with k = ceil(level (n + 1)), the k-th smallest of mu_-i(x) + |e_i| and the k-th largest of
/// mu_-i(x) - |e_i|; k > n gives an infinite interval. H keeps its scale (the n in Theta / n) without row i.
/// A row that alone determines a fixed effect (leverage 1) has no leave-one-out fit: its |e_i| counts as
/// infinite, and the result says so.
///
/// Cost: construction n^3 (Cholesky) or 2 n^2 N (spectrum) flops and n^2 doubles; at(): 2 n^2 flops per new
/// row. Sources: Barber, Candes, Ramdas, Tibshirani, Ann. Stat. 49 (2021); for the studentised scores Gupta,
/// Kuchibhotla, Ramdas, Pattern Recognition 127 (2022).
class ConformalRidge {
 public:
  /// `response` = y - f0. Throws InputError for tau < 0 or not finite and for wrong sizes, InternalError when
  /// I + tau M is not positive definite.
  static ConformalRidge from_spectrum(const TrainingOperator& H, const FixedEffects& fixed,
                                      const ProjectedSpectrum& spectrum, const Vector& response, double tau);
  static ConformalRidge for_ridge(const TrainingOperator& H, const FixedEffects& fixed,
                                  const Vector& response, double tau);

  const Vector& residuals() const noexcept { return residuals_; }  ///< e, n; infinite at leverage 1
  const Vector& variances() const noexcept { return variances_; }  ///< sd_i^2 / s2 = 1 / P_ii, n
  const Matrix& residual_operator() const noexcept { return P_; }  ///< P, n x n

  /// Intervals for the responses at m new rows. `f0` at them: empty for zeros.
  ConformalIntervals at(const NewPoints& points, const Vector& f0 = {},
                        const ConformalOptions& options = {}) const;

  /// mu_-i(x) for every new row and every row left out, m x n. Row i of leverage 1: mu(x).
  Matrix leave_one_out_predictions(const NewPoints& points, const Vector& f0 = {}) const;

 private:
  ConformalRidge(const TrainingOperator& H, const FixedEffects& fixed, const Vector& response, double tau,
                 Matrix P);

  struct Influence {
    Matrix weights;     // m x n, l_x
    Vector prediction;  // m, without f0
    Vector variance;    // m, 1 + var(x)/s2
  };
  Influence influence(const NewPoints& points) const;
  std::vector<std::string> statements(const ConformalOptions& options, bool finite) const;

  std::shared_ptr<const NewPointProjection> projection_;
  Vector response_;
  double tau_;
  Matrix P_;
  Vector residuals_, variances_;
  Index alone_ = 0;  // rows of leverage 1
};

}  // namespace gradflow
