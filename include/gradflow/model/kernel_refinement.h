#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gradflow/base/progress.h"
#include "gradflow/inference/refinement.h"
#include "gradflow/inference/selection.h"
#include "gradflow/operators/kernel_family.h"

namespace gradflow {

/// Rows that a kernel is chosen by, and what is asked of them.
struct ChoiceRows {
  Matrix X{};
  Response response{};  ///< in units of the response, before any transform
  FixedEffects fixed = FixedEffects::none(1);
  Vector scale{};  ///< sqrt of the weights; empty: ones
  std::vector<std::string> features{};
  std::vector<Index> groups{};  ///< of the features; empty: each its own
};

/// What more rows made of the parameters of the kernel chosen.
struct KernelRefinement {
  Index rows = 0;                    ///< looked at
  std::vector<std::string> names{};  ///< of the parameters, and log tau
  Refinement result{};
  bool used = false;             ///< the kernel has the refined parameters
  std::string sentence() const;  ///< what came of it, complete
};

/// Refines `fit` (of family `small` on `few` rows) on `many` rows, of which `large` is the same family: by
/// refine() (inference/refinement.h) from the optimum, tau in proportion to the rows, under the priors of
/// select(). The response's transform stays as it is. `used` where conjugate gradients converged and the
/// estimate of the criterion did not rise by more than twice its error.
/// Cost: 2(m + 1) likelihoods with gradient on `few` by Cholesky, and at most 8 on `many` by products with H,
/// one of them with 8 contractions more. Memory: a matrix of `many` rows (two with weights).
KernelRefinement refine_kernel(const CandidateFit& fit, std::shared_ptr<const KernelFamily> small,
                               const ChoiceRows& few, std::shared_ptr<const KernelFamily> large,
                               const ChoiceRows& many, std::uint64_t seed, Progress* progress = nullptr);

}  // namespace gradflow
