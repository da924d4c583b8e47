#pragma once

#include <functional>
#include <string>
#include <vector>

#include "gradflow/inference/selection.h"

namespace gradflow {

/// A smooth function on a box. The objective returns f(x) and fills the gradient; a value that is not finite
/// says that f is not defined there.
struct BoxProblem {
  Vector start{}, lower{}, upper{};
  std::function<double(const Vector& x, Vector& gradient)> objective{};
  double scale = 1.0;  ///< f/scale has a gradient of order 1: the optimiser's first step is of its size
};

struct BoxMinimum {
  Vector x{};  ///< the best point seen, never a later worse one; the start when no value was finite
  double value = std::numeric_limits<double>::infinity();
  int evaluations = 0;
  bool converged = false;            ///< the optimiser met its tolerance
  std::string reason{};              ///< why the optimiser stopped
  std::vector<double> best_after{};  ///< lowest value after 1, 2, ... evaluations
};

/// NLopt's local optimisers with gradients. An exception of the objective stops the search and is thrown
/// again.
BoxMinimum minimise_in_box(const BoxProblem& problem, Optimiser optimiser, int max_evaluations,
                           double tolerance);

}  // namespace gradflow
