#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "gradflow/base/types.h"

namespace gradflow {

/// Errors of a whole procedure, whatever it chooses from its rows, that was repeated without each of K folds
/// of them: in units of the standard deviation that it gave each row it had not seen,
///
///     z_i = (y_i - mu_-k(i)(x_i)) / sd_-k(i)(x_i)
///
/// Where the procedure's standard deviations are right their mean square is 1. Leave-one-out at what was
/// chosen with all rows does not see what choosing costs; these do. A fit to (K - 1)/K of the rows chooses a
/// little worse than one to all, so that what follows errs on the side of too wide.
struct LeftOutErrors {
  Vector sizes{};  ///< |z_i|, ascending, finite; empty: not known
  int folds = 0;

  bool known() const noexcept { return sizes.size() > 0; }
  double root_mean_square() const;  ///< NaN where not known
  /// Factor for standard deviations: the root mean square, which of all factors gives a normal density of the
  /// left-out rows the largest likelihood; at least 1.
  double widening() const;
  /// q such that mu(x) -+ q sd(x) is the interval: the k-th smallest size, k = ceil(level (n + 1)); infinite
  /// where k > n. For z_i and z_new exchangeable it covers at least `level`, and for continuous ones at most
  /// 1/(n + 1) more. Throws InputError for a level outside (0, 1) and where the errors are not known.
  double quantile(double level) const;
};

/// Folds 0, ..., K - 1 of n rows, `group` naming each row's: rows of a group (copies, replicates) are in one
/// fold. The groups are shuffled by the seed and each put into the smallest fold so far: without groups of
/// several rows the sizes of the folds differ by at most one. Throws InputError for K < 2 and for fewer
/// groups than folds.
std::vector<Index> assign_folds(const std::vector<Index>& group, int folds, std::uint64_t seed);

/// The z of the rows `held` by a fit to the rows `kept` alone, in the order of `held`; NaN where there is
/// none, infinite where the fit gave the response no density at all.
using HeldOutFit =
    std::function<Vector(int fold, const std::vector<Index>& kept, const std::vector<Index>& held)>;

struct LeftOut {
  LeftOutErrors errors;
  Index without = 0;   ///< rows with NaN: they have no part
  Index infinite = 0;  ///< rows with an infinite z: they count as the largest finite one
};

/// Calls `fit` for each fold in turn.
LeftOut leave_folds_out(const std::vector<Index>& fold, const HeldOutFit& fit);

}  // namespace gradflow
