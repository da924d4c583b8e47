#pragma once

#include "gradflow/operators/training_operator.h"

namespace gradflow {

/// e'He of every column e of E.
inline Vector quadratic_forms(const TrainingOperator& H, const Matrix& E) {
  Matrix HE(E.rows(), E.cols());
  H.apply(E, HE);
  return E.cwiseProduct(HE).colwise().sum().transpose();
}

}  // namespace gradflow
