#include "gradflow/operators/infinite_ntk.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"
#include "gradflow/operators/dual_activation.h"

namespace gradflow {
namespace {

constexpr Index tile = 64;

/// K_0(x, x), ..., K_depth(x, x) and T_depth(x, x) of every row.
struct Diagonals {
  std::vector<Vector> K;
  Vector T;
};

Diagonals diagonals(const InfiniteArchitecture& arch, ConstBlock X) {
  Diagonals result;
  result.K.emplace_back(
      (arch.sw2 / static_cast<double>(X.cols()) * X.rowwise().squaredNorm().array() + arch.sb2).matrix());
  result.T = result.K.front();
  Vector value, derivative;
  for (Index l = 0; l < arch.depth; ++l) {
    DualActivation(arch.activation, result.K.back()).diagonal(value, derivative);
    result.K.emplace_back((arch.sw2 * value.array() + arch.sb2).matrix());
    result.T = result.K.back() + arch.sw2 * result.T.cwiseProduct(derivative);
  }
  return result;
}

Vector kernel_of(const InfiniteArchitecture& arch, const Diagonals& diagonal) {
  return arch.kind == InfiniteArchitecture::KernelKind::ntk ? diagonal.T : diagonal.K.back();
}

/// Turns `count` <= tile products sw2 x.x'/d in `entries` (one column, rows from `first`) into kernel
/// entries.
void recurse(const InfiniteArchitecture& arch, const std::vector<DualActivation>& layers, Index column,
             Index first, Index count, double* entries) {
  std::array<double, tile> K, T, value, derivative;
  for (Index i = 0; i < count; ++i) K[static_cast<std::size_t>(i)] = entries[i] + arch.sb2;
  T = K;
  for (const DualActivation& layer : layers) {
    layer.column(column, first, count, K.data(), value.data(), derivative.data());
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
      K[i] = arch.sw2 * value[i] + arch.sb2;
      T[i] = K[i] + arch.sw2 * T[i] * derivative[i];
    }
  }
  const auto& kernel = arch.kind == InfiniteArchitecture::KernelKind::ntk ? T : K;
  std::copy_n(kernel.data(), count, entries);
}

void check(const InfiniteArchitecture& arch, ConstBlock X) {
  arch.check();
  require(X.cols() >= 1, "number of features", X.cols(), "a kernel needs at least one");
}

}  // namespace

Matrix kernel_gram(const InfiniteArchitecture& arch, ConstBlock X) {
  check(arch, X);
  const Index n = X.rows(), tiles = (n + tile - 1) / tile;
  const Diagonals diagonal = diagonals(arch, X);
  std::vector<DualActivation> layers;
  for (Index l = 0; l < arch.depth; ++l)
    layers.emplace_back(arch.activation, diagonal.K[static_cast<std::size_t>(l)]);
  Matrix kernel(n, n);
  rank_update_lower(X, kernel, arch.sw2 / static_cast<double>(X.cols()));
  kernel.diagonal() = kernel_of(arch, diagonal);
  // Tiles of the lower triangle, counted row by row: tile k is in block row r with r (r + 1) / 2 <= k.
  parallel_for(tiles * (tiles + 1) / 2, 1, [&](Index k, Index) {
    Index r = static_cast<Index>(std::sqrt(2.0 * static_cast<double>(k)));
    while (r * (r + 1) / 2 > k) --r;
    while ((r + 1) * (r + 2) / 2 <= k) ++r;
    const Index i0 = r * tile, j0 = (k - r * (r + 1) / 2) * tile;
    const Index i1 = std::min(n, i0 + tile), j1 = std::min(n, j0 + tile);
    for (Index j = j0; j < j1; ++j) {
      const Index first = std::max(i0, j + 1);
      if (first < i1) recurse(arch, layers, j, first, i1 - first, &kernel(first, j));
    }
    for (Index i = i0; i < i1; ++i)
      for (Index j = j0; j < std::min(j1, i); ++j) kernel(j, i) = kernel(i, j);
  });
  return kernel;
}

Matrix kernel_cross(const InfiniteArchitecture& arch, ConstBlock X_new, ConstBlock X) {
  check(arch, X);
  if (X_new.cols() != X.cols())
    throw InputError(
        fmt::format("the new features have {} columns: the first have {}", X_new.cols(), X.cols()));
  const Diagonals rows = diagonals(arch, X_new), columns = diagonals(arch, X);
  std::vector<DualActivation> layers;
  for (std::size_t l = 0; l < static_cast<std::size_t>(arch.depth); ++l)
    layers.emplace_back(arch.activation, rows.K[l], columns.K[l]);
  Matrix kernel(X_new.rows(), X.rows());
  multiply(X_new, Transpose::no, X, Transpose::yes, kernel, arch.sw2 / static_cast<double>(X.cols()));
  parallel_for(X.rows(), tile, [&](Index begin, Index end) {
    for (Index i = 0; i < X_new.rows(); i += tile)
      for (Index j = begin; j < end; ++j)
        recurse(arch, layers, j, i, std::min(tile, X_new.rows() - i), &kernel(i, j));
  });
  return kernel;
}

Vector kernel_diagonal(const InfiniteArchitecture& arch, ConstBlock X) {
  check(arch, X);
  return kernel_of(arch, diagonals(arch, X));
}

}  // namespace gradflow
