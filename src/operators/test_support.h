#pragma once

#include <vector>

#include "gradflow/operators/kernel_operator.h"
#include "gradflow/operators/training_operator.h"
#include "support/message.h"

namespace gradflow {

/// The largest error of an entry, relative to the largest entry of B.
inline double relative_error(const Matrix& A, const Matrix& B) {
  return (A - B).cwiseAbs().maxCoeff() / B.cwiseAbs().maxCoeff();
}

/// H V.
inline Matrix applied(const TrainingOperator& H, ConstBlock V) {
  Matrix HV(V.rows(), V.cols());
  H.apply(V, HV);
  return HV;
}

/// Every way to keep and to evaluate the entries of a kernel.
inline std::vector<KernelOptions> all_kernel_options() {
  std::vector<KernelOptions> all;
  for (const KernelStorage storage : {KernelStorage::none, KernelStorage::float32, KernelStorage::float64})
    for (const Precision precision : {Precision::float64, Precision::float32})
      all.push_back({storage, precision});
  return all;
}

/// Memory for all that an operator may keep.
inline constexpr double keep_all = 1e18;

}  // namespace gradflow
