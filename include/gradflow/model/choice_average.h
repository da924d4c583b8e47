#pragma once

#include <string>
#include <vector>

#include "gradflow/model/kernel_choice.h"

namespace gradflow {

/// What was chosen without one fold of the rows.
struct ChosenWithout {
  KernelSum kernel{};
  ResponseTransform transform{};
  std::string problem{};  ///< why there is nothing, a clause; empty: there is
};

/// Parameters of the kernel that was chosen, chosen again without folds of the rows, for models whose
/// predictions average the fits of all of them (subsample aggregating of the choice; Buehlmann and Yu, Ann.
/// Stat. 30 (2002)).
struct ChoiceAverage {
  std::vector<ChosenWithout> choices;
  Dataset data;             ///< of all rows, neither transformed nor merged: what they are fitted to
  std::vector<Index> fold;  ///< of each row that differs from all before it, in their order
  std::vector<std::string> warnings;  ///< complete sentences
};

/// For each of `folds` seeded folds of the rows (inference/left_out.h), the parameters that the restricted
/// likelihood of the other rows gives the chosen kernel, by the better of two searches, from the family's
/// start and from what was chosen with all rows: relevances, weights, sw2, sb2, tau and the parameter of the
/// chosen transform, as far as the choice left them free (CandidateReport::freedom). Parameters that the
/// likelihood has fitted follow some of the noise; those of other rows follow other noise, and the mean of
/// the fits less of either.
///
/// `choice` as choose_kernel() made it of `data`, with best >= 0 and something free. Folds side by side; the
/// same bits for any number of threads. Cost: 2 `folds` searches, each some tens of Cholesky factorisations.
/// A fold without a fit is named in a warning. With fewer rows that differ than `folds`, each is a fold.
/// Throws InputError for fewer than 2 folds.
ChoiceAverage choose_average(const KernelChoice& choice, const Dataset& data, const ChoiceOptions& options,
                             int folds, Progress* progress = nullptr);

}  // namespace gradflow
