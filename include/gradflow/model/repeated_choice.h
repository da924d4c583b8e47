#pragma once

#include <limits>
#include <string>
#include <vector>

#include "gradflow/base/progress.h"
#include "gradflow/data/dataset.h"
#include "gradflow/inference/analysis.h"
#include "gradflow/inference/left_out.h"
#include "gradflow/model/kernel_choice.h"

namespace gradflow {

/// What was chosen without one fold.
struct FoldChoice {
  std::string kernel{};     ///< as kernel_sum.h writes it
  std::string transform{};  ///< "none", "box-cox", "yeo-johnson"
  Index rows = 0;           ///< left out
  double root_mean_square =
      std::numeric_limits<double>::quiet_NaN();  ///< of their z; NaN where there is none
  std::string problem{};                         ///< why there is no fit, a clause; empty: there is one
};

struct RepeatedChoice {
  LeftOutErrors errors;  ///< not known where no fold has a fit
  std::vector<FoldChoice> folds;
  std::vector<std::string> warnings;  ///< complete sentences
};

/// Chooses again without each of `folds` seeded folds of the rows (left_out.h), in every part of the choice
/// that choose_kernel() made with all: kernel, relevances, terms and transform, from the same starts. Each
/// time the model is fitted to the rows kept (rule, path and covariates as in `analysis`, dense engine,
/// replicates merged) and predicts the rows left out as predict() does: z is taken on the scale on which the
/// intervals of that fit are made, its own transform's, and for a row of weight w with noise variance s2/w.
/// Rows equal in features and covariates are in one fold. `data` as choose_kernel() takes it: neither
/// transformed nor merged. Encoding (levels, centres and scales of the features) is that of all rows: it
/// does not see the response.
///
/// A fold of which nothing can be fitted is named in a warning, and its rows have no part. Cost: `folds`
/// choices and analyses of (K - 1)/K of the rows. With fewer rows that differ than `folds`, each is a fold.
/// Throws InputError: fewer than 2 folds, more than FittedModel::most_factored_rows rows.
RepeatedChoice repeat_choice(const KernelSum& given, const Dataset& data, const ChoiceOptions& options,
                             const AnalysisOptions& analysis, int folds, Progress* progress = nullptr);

}  // namespace gradflow
