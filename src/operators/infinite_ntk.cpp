#include "gradflow/operators/infinite_ntk.h"

#include "gradflow/operators/kernel_sum.h"

namespace gradflow {

Matrix kernel_gram(const InfiniteArchitecture& architecture, ConstBlock X) {
  return kernel_gram(KernelSum(architecture), X);
}

Matrix kernel_cross(const InfiniteArchitecture& architecture, ConstBlock X_new, ConstBlock X) {
  return kernel_cross(KernelSum(architecture), X_new, X);
}

Vector kernel_diagonal(const InfiniteArchitecture& architecture, ConstBlock X) {
  return kernel_diagonal(KernelSum(architecture), X);
}

}  // namespace gradflow
