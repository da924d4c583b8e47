#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include "gradflow/inference/reml.h"
#include "gradflow/inference/resampled_p_value.h"

namespace gradflow {

struct LikelihoodRatioOptions {
  Index draws = 10000;             ///< R, >= 1
  std::uint64_t seed = 1;          ///< streams "likelihood ratio BLOCK"
  double level = 0.95;             ///< of the critical value, in (0, 1)
  double largest_shrinkage = 1e8;  ///< the times searched: psi(0) lambda_1 <= this (for descent: steps)
  void check() const;
};

/// Restricted likelihood-ratio test of time 0 on a path: is training warranted?
///
///     LR = Q(0) - min_t Q(t) >= 0,   large LR rejects,   t from 0 to the bound
///
/// Exact null by simulation in the eigenbasis: w ~ N(0, s2 I) makes the squared coordinates z_i^2 / s2
/// independent chi2_1 (chi2_m for m equal eigenvalues, drawn at once), and Q depends on nothing else. The
/// supremum is found in the same way, over the same times, for the data and for every draw.
///
/// LR is 0 with positive probability (about 0.5 to 0.7), and the test then has p = 1. The 50:50 mixture of 0
/// and chi2_1 is the limit for independent blocks of data, which there are none of here: an approximation,
/// mostly conservative. Cost 480 R flops per distinct eigenvalue and about 25 evaluations of Q per draw above
/// 0; memory 240 doubles per eigenvalue. Same bits for any number of threads. Source: Crainiceanu and Ruppert
/// (2004).
struct LikelihoodRatioTest {
  Outcome outcome = Outcome::not_run;
  std::string reason = "likelihood_ratio_test() has not been called";
  Path path{};                                                  ///< with the maximising time
  double statistic = std::numeric_limits<double>::quiet_NaN();  ///< LR
  ResampledPValue simulated{};                                  ///< the p-value
  double zero_mass = std::numeric_limits<double>::quiet_NaN();  ///< Pr(LR = 0) under the null, simulated
  double zero_mass_standard_error = std::numeric_limits<double>::quiet_NaN();
  double critical_value = std::numeric_limits<double>::quiet_NaN();   ///< the null's quantile at `level`
  double p_value_mixture = std::numeric_limits<double>::quiet_NaN();  ///< approximate: Pr(chi2_1 > LR) / 2
};

/// `family`: the path with its parameters other than time. Errors as fit_reml.
LikelihoodRatioTest likelihood_ratio_test(const SpectralData& data, const Path& family,
                                          const LikelihoodRatioOptions& options = {});

/// R draws of LR under the null, in the order drawn; z is not used.
Vector likelihood_ratio_null(const SpectralData& data, const Path& family,
                             const LikelihoodRatioOptions& options = {});

}  // namespace gradflow
