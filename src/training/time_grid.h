#pragma once

#include "inference/search.h"

namespace gradflow {

/// The flow times at which a criterion is looked at, in units of 1/lambda_1, before it is refined.
inline TimeGrid times_seen(double largest_eigenvalue) {
  return log_grid(1e-6 / largest_eigenvalue, 1e8 / largest_eigenvalue, 240);
}

}  // namespace gradflow
