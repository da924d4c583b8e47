#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gradflow/base/progress.h"
#include "gradflow/data/dataset.h"
#include "gradflow/inference/selection.h"
#include "gradflow/model/choice_guard.h"
#include "gradflow/model/kernel_refinement.h"
#include "gradflow/operators/kernel_sum.h"

namespace gradflow {

/// What is left to the likelihood: the kernel, the response's transform, or both.
struct ChoiceOptions {
  bool select = false;  ///< the kernel: shape, biases, and a relevance for each feature
  /// Kernels to choose from, as parse_kernel_sum() reads them, each with free relevances, weights, sw2 and
  /// sb2; empty: default_candidates().
  std::vector<std::string> candidates{};
  bool relevances = true;  ///< one for each feature; false: one for all
  /// Columns of the table that share a relevance; a categorical column's indicators then share it too.
  /// Features of other columns have their own.
  std::vector<std::vector<std::string>> groups{};
  bool by_column = false;  ///< every column is a group: the indicators of a category share a relevance
  /// none: the response as it is. With lambda NaN it is chosen; with `automatic_transform`, so is whether to
  /// transform at all.
  TransformKind transform = TransformKind::none;
  double lambda = std::numeric_limits<double>::quiet_NaN();
  bool automatic_transform = false;
  /// What automatic_transform tries. None: Box-Cox where every response of the table is positive, not only
  /// those of the rows looked at, otherwise Yeo-Johnson.
  std::optional<TransformKind> tried{};
  TransformKind tried_for(const Vector& y) const;  ///< y: all responses
  Index rows = 1500;  ///< most rows that are looked at, a seeded sample of them; >= 20
  /// With `select`: most rows that the parameters of the kernel chosen are then refined on
  /// (kernel_refinement.h), `rows` among them; 0: they stay.
  Index refine_rows = 0;
  int starts = 2;            ///< of the local search, for the candidates that are near the best; >= 1
  int max_evaluations = 40;  ///< of likelihood and gradient, per start; >= 2
  /// With `select`: of the rows, by which the choice is held against simpler kernels where the likelihood is
  /// not decisive (choose_kernel()); >= 2, or 0: the likelihood alone decides.
  int guard_folds = 5;
  std::uint64_t seed = 1;
  bool intercept = true;
  /// Of the rows, without each of which the choice is made again (repeated_choice.h), so that prediction
  /// intervals know what choosing costs; 0: never. None: 5 where a kernel is selected for at most
  /// most_rows_of_default_folds rows, of which under-coverage was seen (docs/calibration.md), and predictions
  /// are not the mean of fits, whose spread knows as much.
  std::optional<int> folds{};
  static constexpr int default_folds = 5;
  static constexpr Index most_rows_of_default_folds = 400;
  int folds_of(Index n) const;  ///< how many for n rows
  /// With `select`: of the rows, without each of which the parameters of the kernel chosen are chosen again;
  /// predictions are the mean of the fits to all rows (choice_average.h); 0: of the choice alone. None: 5 for
  /// at most most_rows_of_default_average rows, of which every fit takes an eigendecomposition, and 0 beyond.
  std::optional<int> average{};
  static constexpr int default_average = 5;
  static constexpr Index most_rows_of_default_average = 2000;
  int average_of(Index n) const;  ///< how many for n rows

  bool chooses_transform() const;  ///< lambda, or whether to transform, is left to the likelihood
  bool chooses() const { return select || chooses_transform(); }
  void check() const;  ///< throws InputError naming the option
};

/// ntk:relu and ntk:erf of depth 1, 2 and 3, sb2 = 0.1 to begin with. Without candidates of the user's, the
/// best of them is then tried with a linear kernel beside it.
std::vector<std::string> default_candidates();

/// What the likelihood is free to choose of a kernel, beside tau and the transform; the most first.
enum class Freedom {
  relevances,     ///< a relevance for each feature (or group of features), weights, sw2, sb2
  one_relevance,  ///< one for all features, weights, sw2, sb2
  nothing         ///< the kernel stays as it was given
};
std::string_view to_string(Freedom freedom);  ///< "relevances", "one relevance", "as given"

/// One kernel that was looked at.
struct CandidateReport {
  std::string kernel;  ///< as it was given
  Freedom freedom = Freedom::relevances;
  std::string transform;  ///< "none", "box-cox", "yeo-johnson"
  CandidateFit fit;
  double leave_one_out_log_density = std::numeric_limits<double>::quiet_NaN();  ///< per row, units of y
  double left_out_log_density = std::numeric_limits<double>::quiet_NaN();  ///< the same by the guard's folds
};

struct KernelChoice {
  KernelSum kernel;
  ResponseTransform transform{};
  std::vector<CandidateReport> candidates{};
  Index best = -1;  ///< into candidates; -1: none could be fitted, the kernel is the one given
  Index rows = 0;   ///< looked at
  std::optional<ChoiceGuard> guard{};            ///< with `select` and `guard_folds`
  std::optional<KernelRefinement> refinement{};  ///< where it was asked for; the kernel's, if it was used
  std::vector<std::string> warnings{};           ///< complete sentences
};

/// Chooses by penalised restricted likelihood of `ridge` (inference/selection.h): all candidates with one
/// start and the response as it is (or transformed as asked for); then the best of them from more starts,
/// with a linear kernel beside it, and with automatic_transform both of these with a transform. Criteria
/// compare, as the transform's Jacobian is part of them. `given` is the kernel when only the transform is
/// chosen.
///
/// With guard_folds kernels with fewer parameters are candidates too: with one relevance for all features,
/// and (without candidates of the user's) the kernel as given. Parameters that were fitted flatter likelihood
/// and leave-one-out alike, and the priors on them limit this only so far. So where -2 log L + k log N
/// (Schwarz) of the best is not less than that of every simpler kernel by decisive_lead, it, the best with
/// one relevance and the kernel as given are estimated again without each fold. It is taken if it gives the
/// rows left out a larger mean log density than the better of the others, otherwise that other
/// (choice_guard.h). Without guard_folds the least penalised criterion decides.
///
/// Searches run side by side, each with BLAS on one thread: the same bits for any number of threads.
/// Cost: for every candidate tens of Cholesky factorisations and inverses of the rows looked at; for the
/// guard two searches more where the likelihood is decisive, otherwise some ten and 3 guard_folds short ones.
/// Throws InputError for a kernel that cannot be differentiated (tanh), for a transform that does not fit the
/// response, and for a group with a column that is no feature, or is in two groups.
KernelChoice choose_kernel(const KernelSum& given, const Dataset& data, const ChoiceOptions& options,
                           Progress* progress = nullptr);

/// Transforms the response and standardises it again where the recipe does: from here on "units of the
/// response" are those of the transformed one, c b(...) of inference/response_transform.h. `transform` is
/// continued() beyond these responses first.
void transform_response(Dataset& data, ResponseTransform& transform);

}  // namespace gradflow
