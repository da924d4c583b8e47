#include "operators/kernel_recursion.h"

#include <algorithm>

#include "operators/kernel_lanes.h"

namespace gradflow {

KernelDiagonals::KernelDiagonals(const InfiniteArchitecture& arch, ConstBlock X, Index features) {
  K.emplace_back(
      (arch.sw2 / static_cast<double>(features) * X.rowwise().squaredNorm().array() + arch.sb2).matrix());
  T = K.front();
  Vector value, derivative;
  for (Index l = 0; l < arch.depth; ++l) {
    DualActivation(arch.activation, K.back()).diagonal(value, derivative);
    K.emplace_back((arch.sw2 * value.array() + arch.sb2).matrix());
    T = K.back() + arch.sw2 * T.cwiseProduct(derivative);
  }
}

const Vector& KernelDiagonals::kernel(const InfiniteArchitecture& arch) const {
  return arch.kind == InfiniteArchitecture::KernelKind::ntk ? T : K.back();
}

template <typename Real>
KernelRecursion<Real>::KernelRecursion(const InfiniteArchitecture& arch, const KernelDiagonals& rows,
                                       const KernelDiagonals& columns)
    : tangent_(arch.kind == InfiniteArchitecture::KernelKind::ntk),
      sw2_(static_cast<Real>(arch.sw2)),
      sb2_(static_cast<Real>(arch.sb2)) {
  for (std::size_t l = 0; l < static_cast<std::size_t>(arch.depth); ++l)
    layers_.emplace_back(arch.activation, rows.K[l], columns.K[l]);
}

template <typename Real>
KernelRecursion<Real>::KernelRecursion(const InfiniteArchitecture& arch, const KernelDiagonals& both)
    : tangent_(arch.kind == InfiniteArchitecture::KernelKind::ntk),
      sw2_(static_cast<Real>(arch.sw2)),
      sb2_(static_cast<Real>(arch.sb2)) {
  for (std::size_t l = 0; l < static_cast<std::size_t>(arch.depth); ++l)
    layers_.emplace_back(arch.activation, both.K[l]);
}

template <typename Real>
void KernelRecursion<Real>::evaluate(Index column, Index columns, Index first, Index count, Real* entries,
                                     Index stride) const {
  alignas(64) Real K[most_rows * most_columns], T[most_rows * most_columns];
  const Real bias = sb2_;
  lanes::dispatch([&](auto) __attribute__((always_inline)) {
    for (Index j = 0; j < columns; ++j)
      for (Index i = 0; i < count; ++i) K[j * count + i] = T[j * count + i] = entries[j * stride + i] + bias;
  });
  for (const BasicDualActivation<Real>& layer : layers_)
    layer.advance(column, columns, first, count, sw2_, sb2_, K, T);
  for (Index j = 0; j < columns; ++j)
    std::copy_n((tangent_ ? T : K) + j * count, count, entries + j * stride);
}

template class KernelRecursion<double>;
template class KernelRecursion<float>;

}  // namespace gradflow
