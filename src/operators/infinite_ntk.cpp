#include "gradflow/operators/infinite_ntk.h"

#include <algorithm>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"
#include "operators/kernel_tiles.h"

namespace gradflow {
namespace {

void check(const InfiniteArchitecture& arch, ConstBlock X) {
  arch.check();
  require(X.cols() >= 1, "number of features", X.cols(), "a kernel needs at least one");
}

}  // namespace

Matrix kernel_gram(const InfiniteArchitecture& arch, ConstBlock X) {
  check(arch, X);
  const EvaluatedTiles<double> tiles(arch, PaddedRows(arch, X));
  Matrix kernel(X.rows(), X.rows());
  for_each_tile(tiles.blocks(), [&](Index I, Index J) {
    alignas(64) double tile[tile_entries];
    tiles.evaluate(I, J, tile);
    store_tile(static_cast<const double*>(tile), I, J, 1.0, kernel);
  });
  return kernel;
}

Matrix kernel_cross(const InfiniteArchitecture& arch, ConstBlock X_new, ConstBlock X) {
  check(arch, X);
  if (X_new.cols() != X.cols())
    throw InputError(
        fmt::format("the new features have {} columns: the first have {}", X_new.cols(), X.cols()));
  const KernelDiagonals rows(arch, X_new), columns(arch, X);
  const KernelRecursion<double> recursion(arch, rows, columns);
  Matrix kernel(X_new.rows(), X.rows());
  multiply(X_new, Transpose::no, X, Transpose::yes, kernel, arch.sw2 / static_cast<double>(X.cols()));
  constexpr Index most_rows = KernelRecursion<double>::most_rows;
  constexpr Index most_columns = KernelRecursion<double>::most_columns;
  parallel_for(X.rows(), most_columns, [&](Index begin, Index end) {
    for (Index i = 0; i < X_new.rows(); i += most_rows)
      recursion.evaluate(begin, end - begin, i, std::min(most_rows, X_new.rows() - i), &kernel(i, begin),
                         X_new.rows());
  });
  return kernel;
}

Vector kernel_diagonal(const InfiniteArchitecture& arch, ConstBlock X) {
  check(arch, X);
  return KernelDiagonals(arch, X).kernel(arch);
}

}  // namespace gradflow
