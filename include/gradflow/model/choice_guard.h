#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "gradflow/inference/selection.h"
#include "gradflow/model/kernel_refinement.h"
#include "gradflow/operators/kernel_family.h"

namespace gradflow {

/// What came of holding the likelihood's choice of a kernel against simpler kernels; indices are into
/// KernelChoice::candidates.
struct ChoiceGuard {
  Index likeliest = -1;  ///< least penalised -2 log L
  Index rival =
      -1;  ///< with fewer parameters: the nearest by Schwarz's criterion, or, with folds, the densest
  double likelihood_lead = std::numeric_limits<double>::quiet_NaN();  ///< -2 log L, rival less likeliest
  /// The same by Schwarz's criterion, -2 log L + k log N of k parameters and N = n - q: above
  /// decisive_lead no rows are left out.
  double schwarz_lead = std::numeric_limits<double>::quiet_NaN();
  int folds = 0;  ///< 0: decisive, there is no rival, or `problem`
  /// Mean log density of a row left out, likeliest less rival, and its standard error over the rows.
  double density_lead = std::numeric_limits<double>::quiet_NaN();
  double standard_error = std::numeric_limits<double>::quiet_NaN();
  bool overruled = false;  ///< the kernel taken is not the likeliest
  std::string problem{};   ///< why rows cannot be left out, a clause: the likeliest kernel stays
  std::string sentence{};  ///< all of it, for people

  bool takes_rival() const { return folds > 0 && density_lead <= 0.0; }
};

/// Twice the logarithm of a Bayes factor beyond which evidence is "very strong".
/// Source: Kass and Raftery (1995), JASA 90:773.
constexpr double decisive_lead = 10.0;

/// A fitted candidate, and what its family's parameters are on other rows.
struct Entrant {
  std::string name{};
  CandidateFit fit{};
  std::shared_ptr<const KernelFamily> family{};  ///< on all rows
  KernelFamilyOptions free{};
};

/// Log densities of every row by fits of each entrant to the rows outside its fold (rows x entrants):
///
///     log N(e_i; 0, s2 variance_i / d_i^2) + log dg/dy(y_i)        predict_held_out(), in units of y
///
/// The family's parameters, tau, lambda and s2 are estimated again without each of the seeded folds (rows
/// equal in every feature are in one), from the estimate with all rows as the start of one search and under
/// the priors of the original one. So, unlike leave-one-out at fixed parameters, they pay for having been
/// fitted. That the entrants themselves were found with all rows is not undone. A column is NaN throughout
/// where one of its fits has no finite likelihood. Searches run side by side: call with BLAS on one thread.
/// Throws InputError for fewer rows that differ than folds.
/// Cost: entrants x folds searches on (K - 1)/K of the rows, shorter than the first ones.
Matrix left_out_densities(const std::vector<Entrant>& entrants, const ChoiceRows& rows, int folds,
                          const SelectionOptions& search);

}  // namespace gradflow
