#pragma once

#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gradflow/inference/classification_map.h"
#include "gradflow/inference/classification_scores.h"
#include "gradflow/inference/path.h"
#include "gradflow/operators/training_operator.h"

namespace gradflow {

/// Classes from a fixed training operator: n rows with labels 0, ..., K - 1 become probabilities.
///
///     laplace   latent f_c ~ N(0, tau H + v 11'), one for each class, independent;  p = softmax(f).
///               f at the mode of the posterior, the posterior Gaussian there, tau by the Laplace
///               approximation of the marginal likelihood
///                   log q = -1/2 sum_c f_c' K^-1 f_c + sum_i log p(i, y_i) - 1/2 log |I + K W|,
///               K = tau H + v 11', W = diag(p) - p p'. New rows: softmax averaged over the Gaussian.
///     one_hot   indicators of the classes as K responses of one regression with an intercept (K - 1 of them
///               independent), tau by their pooled restricted likelihood; probabilities by the map of
///               classification_map.h from the scores, fitted on exact leave-one-out scores.
///
/// The default is one_hot: on six public sets of 156 to 1105 rows (bench/classification.cpp) as good as
/// laplace with its map, at half its time for K = 2, a fifteenth or less for K > 2. laplace without its map
/// is underconfident. Units: tau in 1/H (ridge of path.h). Sources: Rasmussen and Williams (2006), 3.5 and
/// algorithms 3.3, 3.4 (whose log |I + K W| leaves out log |sum_c E_c|); Williams and Barber (1998).
enum class ClassMethod { laplace, one_hot };
std::string_view to_string(ClassMethod method);

/// What chooses tau of one_hot: the pooled restricted likelihood of the indicators, or the log-loss of the
/// leave-one-out probabilities after the map.
enum class ScaleRule { likelihood, leave_one_out };

struct ClassOptions {
  ClassMethod method = ClassMethod::one_hot;
  double level = 0.95;                      ///< of the interval of tau, in (0, 1)
  ScaleRule scale = ScaleRule::likelihood;  ///< one_hot
  double bias_variance = 100.0;  ///< v > 0, laplace; tau = 0 then gives the frequencies to log(n) / (v n)
  double largest_variance =
      1e4;  ///< laplace: bound of tau h, h the mean diagonal of H off the intercept; > 0
  Path path{.kind = PathKind::ridge};  ///< one_hot: along which the scores are trained; its time is estimated
  bool map = true;     ///< laplace: pass log probabilities through a fitted map too (one_hot always does)
  void check() const;  ///< throws InputError naming the field
};

/// What a fit knows. A prediction needs from it, and a model file holds: method, classes, tau, bias_variance,
/// path, dual, bias, site_probabilities, map; and H, H_cross, H_self at the same rows.
struct ClassFit {
  Outcome outcome = Outcome::not_run;
  std::string reason = "classify() has not been called";
  ClassMethod method = ClassMethod::laplace;
  Index classes = 0;                                      ///< K
  double tau = std::numeric_limits<double>::quiet_NaN();  ///< infinite where the bound was met
  /// Twice the drop in log likelihood to here is at most the chi-squared quantile: laplace by a parabola
  /// through what the search evaluated, one_hot by the exact profile.
  Interval interval{std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::quiet_NaN(), 0.95};
  double criterion =
      std::numeric_limits<double>::quiet_NaN();  ///< -2 log q, pooled REML (reml.h), or -2 log of the product
                                                 ///< of the leave-one-out probabilities
  double criterion_at_zero = std::numeric_limits<double>::quiet_NaN();  ///< the same at tau = 0
  double latent_variance =
      std::numeric_limits<double>::quiet_NaN();  ///< tau h; one_hot: over the noise variance
  Index evaluations = 0;                         ///< of the criterion
  Path path{};                                   ///< one_hot: with its time; laplace: ridge at tau
  double bias_variance = 0.0;                    ///< laplace
  Matrix dual;                                   ///< n x K: score(x) = bias + H_cross dual
  Vector bias;                                   ///< K
  Matrix site_probabilities;                     ///< laplace: n x K, softmax at the mode, which is W
  ProbabilityMap map;                            ///< one_hot, and laplace when asked for; otherwise not_run
  Vector frequencies;                            ///< K, of the classes in training
  /// Each row's probabilities from a fit without it, n x K: exact for one_hot given tau and the map; for
  /// laplace by removing the row's term from the Gaussian at the mode.
  Matrix leave_one_out;
};

/// Fits. Labels absent from the rows are allowed. Throws InputError for n < 2, K < 2, a label out of range,
/// a number of labels that is not n; one class only is outcome unidentified.
/// Cost: laplace about 14 values of tau times 2 to 3 curvatures of (K + 1/3) n^3 flops each (K = 2: n^3 / 3),
/// then 3 K n^3; memory (K + 3) n^2 doubles. one_hot: one eigendecomposition.
ClassFit classify(const TrainingOperator& H, const Labels& labels, Index classes,
                  const ClassOptions& options = {});

/// Probabilities at new rows. Construction from a laplace fit factorises (K + 1/3) n^3 flops (K = 2: n^3 /
/// 3); a prediction costs 2 K n^2 flops a row, and the average of softmax over its Gaussian 1024 K^2: over
/// mirrored points of Sobol's sequence along the Gaussian's axes, to about 0.001; no random numbers.
class ClassPredictor {
 public:
  /// H at the training rows is read here and not kept. Throws InputError for a fit that is not usable or an
  /// operator of another size.
  ClassPredictor(const TrainingOperator& H, const ClassFit& fit);
  /// Of a one_hot fit, which needs no H. Throws InputError for a fit that is not usable or of another method.
  explicit ClassPredictor(const ClassFit& one_hot);
  ~ClassPredictor();
  ClassPredictor(ClassPredictor&&) noexcept;
  ClassPredictor& operator=(ClassPredictor&&) noexcept;

  /// H_cross m x n: Theta(x, X)/n; H_self m: Theta(x, x)/n. m x K, rows sum to one.
  Matrix probabilities(ConstBlock H_cross, const Vector& H_self) const;
  Matrix scores(ConstBlock H_cross) const;  ///< bias + H_cross dual, m x K: latent means, not probabilities

 private:
  struct Parts;
  std::unique_ptr<const Parts> parts_;
};

}  // namespace gradflow
