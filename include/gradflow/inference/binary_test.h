#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "gradflow/inference/outcome.h"
#include "gradflow/inference/resampled_p_value.h"
#include "gradflow/operators/training_operator.h"
#include "gradflow/spectrum/fixed_effects.h"

namespace gradflow {

/// Null distribution of the test of a 0/1 response.
enum class BinaryNull { asymptotic, permutation, bootstrap };
std::string_view to_string(BinaryNull null);

struct BinaryTestOptions {
  Index draws = 9999;        ///< R of the permutations or of the bootstrap, >= 1
  std::uint64_t seed = 1;    ///< streams "permutation BLOCK" or "binary test DRAW"
  Index block = 256;         ///< responses per product with H, >= 1
  Index smallest_class = 5;  ///< fewer responses than this in a class: no answer, >= 1
  /// The asymptotic p-value is recommended from this many responses in the smaller class on. Measured with a
  /// tangent kernel, n = 200 (bench/test_sizes.cpp): rejected at 0.05 and 0.001 with a share of ones of 0.5
  /// 0.042, 0.0003; 0.1 0.047, 0.0013; 0.05 0.059, 0.0023; 0.02 0.080, 0.0072 (standard errors 0.0035,
  /// 0.0005).
  Index asymptotic_from = 30;
  void check() const;
};

/// Score test of training for a 0/1 response, through the logistic null model with the fixed effects X:
///
///     logit mu = X b at the maximum likelihood b,     Q = (y - mu)'H(y - mu),   large Q rejects
///
///     asymptotic     Pr( sum_i lambda_i chi2_1 > Q ),  lambda the eigenvalues of S^1/2 H S^1/2,
///                    S = W - WX(X'WX)^-1X'W,  W = diag(mu (1 - mu)): normal y - mu, b to first order
///     permutation    of y, where X is an intercept alone: exact at any size and balance
///     bootstrap      y* ~ Bernoulli(mu), b fitted again to every y*: approximate, through the error of mu
///                    (without X, where mu = 1/2 is known: exact). Draws whose own fit is separated count as
///                    at least Q.
///
/// `p_value` is the recommended one of the two that are computed: the asymptotic where the smaller class
/// has `asymptotic_from` responses, else the permutation's or the bootstrap's. The asymptotic null is of
/// the form alone, not of a ratio: its variance is the binomial one.
///
/// No answer (`unidentified`, with the reason): a class with fewer than `smallest_class` responses; fixed
/// effects that separate the classes, where b is infinite; an operator that distinguishes nothing. Cost one
/// eigendecomposition, one product of H with R columns and, for the bootstrap, about 8 n q^2 R flops; memory
/// 2 n^2 doubles. Same draws for any number of threads. Sources: Lin (1997); Wu and others (2011) for the
/// asymptotic null; Lee and others (2012) for its size in small samples.
struct BinaryTest {
  Outcome outcome = Outcome::not_run;
  std::string reason = "binary_test() has not been called";
  Index zeros = 0, ones = 0;                                    ///< responses in either class
  double statistic = std::numeric_limits<double>::quiet_NaN();  ///< Q
  BinaryNull recommended = BinaryNull::asymptotic;              ///< whose p-value p_value is
  double p_value = std::numeric_limits<double>::quiet_NaN();
  double log10_p_value = std::numeric_limits<double>::quiet_NaN();
  double standard_error = std::numeric_limits<double>::quiet_NaN();  ///< of p_value; 0: asymptotic
  double p_value_asymptotic = std::numeric_limits<double>::quiet_NaN();
  double log10_p_value_asymptotic = std::numeric_limits<double>::quiet_NaN();
  BinaryNull resampling = BinaryNull::permutation;  ///< what `resampled` is
  ResampledPValue resampled{};
  Index separated_draws = 0;  ///< bootstrap draws whose fit was separated
  Index iterations = 0;       ///< of the null model's fit
};

/// y (n): 0 or 1. Throws InputError for other values and when sizes disagree.
BinaryTest binary_test(const TrainingOperator& H, const FixedEffects& fixed, ConstVector y,
                       const BinaryTestOptions& options = {});

/// Maximum likelihood fit of logit mu = X b. Newton's method with halved steps; separated: no finite maximum
/// was found, a fitted probability ran to 0 or 1 (|logit| above 30).
struct LogisticFit {
  bool separated = false;
  Index iterations = 0;
  Vector coefficients{};   ///< b, q
  Vector probabilities{};  ///< mu, n
};

/// X (n x q) of full rank, y (n) of 0 and 1; start: b to begin from (empty: 0). Cost 2 n q^2 flops an
/// iteration.
LogisticFit fit_logistic(ConstBlock X, ConstVector y, const Vector& start = {});

/// Natural logarithm of Pr( sum_i weights_i chi2_1 > threshold ), all weights >= 0 and not all 0, threshold
/// > 0 (InputError otherwise), relative to the tail's own size: no tail is too small. A contour integral
/// along a parabola through the saddlepoint, about 100 complex logarithms per weight. Source: Rice (1980),
/// section 4.
double log_weighted_chi_square_above(const Vector& weights, double threshold);

}  // namespace gradflow
