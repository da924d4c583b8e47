#include "gradflow/operators/dense_operator.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"

namespace gradflow {
namespace {

/// Calls visit(i, j) for i > j in square tiles, so that H(i, j) and H(j, i) are both near at hand.
template <typename Visit>
void for_each_below_diagonal(Index n, Visit&& visit) {
  constexpr Index tile = 64;
  for (Index j0 = 0; j0 < n; j0 += tile)
    for (Index i0 = j0; i0 < n; i0 += tile)
      for (Index j = j0; j < std::min(n, j0 + tile); ++j)
        for (Index i = std::max(i0, j + 1); i < std::min(n, i0 + tile); ++i) visit(i, j);
}

void check_and_symmetrise(Matrix& H, const std::string& name) {
  if (H.rows() != H.cols())
    throw InputError(
        fmt::format("{} is {} x {}: a training operator must be square", name, H.rows(), H.cols()));
  if (H.rows() == 0)
    throw InputError(fmt::format("{} is empty: a training operator needs at least one row", name));
  double largest = 0.0;
  for (Index j = 0; j < H.cols(); ++j)
    for (Index i = 0; i < H.rows(); ++i) {
      if (!std::isfinite(H(i, j)))
        throw InputError(fmt::format("{} has the value {} in row {}, column {}: every entry must be finite",
                                     name, H(i, j), i + 1, j + 1));
      largest = std::max(largest, std::abs(H(i, j)));
    }
  for (Index j = 0; j < H.cols(); ++j)
    if (H(j, j) < -1e-10 * largest)
      throw InputError(fmt::format(
          "{} has {} on its diagonal in row {}: a training operator must be positive semidefinite", name,
          H(j, j), j + 1));
  for_each_below_diagonal(H.rows(), [&](Index i, Index j) {
    if (std::abs(H(i, j) - H(j, i)) > 1e-8 * largest)
      throw InputError(fmt::format("{} is not symmetric: entry ({}, {}) is {} and entry ({}, {}) is {}", name,
                                   i + 1, j + 1, H(i, j), j + 1, i + 1, H(j, i)));
    H(i, j) = H(j, i) = H(j, i) + 0.5 * (H(i, j) - H(j, i));
  });
}

}  // namespace

DenseOperator::DenseOperator(Matrix H, std::string name) : H_(std::move(H)), name_(std::move(name)) {
  check_and_symmetrise(H_, name_);
}

Matrix DenseOperator::do_entries(const std::vector<Index>& rows, const std::vector<Index>& cols) const {
  Matrix picked(static_cast<Index>(rows.size()), static_cast<Index>(cols.size()));
  parallel_for(picked.cols(), 64, [&](Index begin, Index end) {
    for (Index j = begin; j < end; ++j) picked.col(j) = H_.col(cols[static_cast<std::size_t>(j)])(rows);
  });
  return picked;
}

void DenseOperator::do_apply(ConstBlock X, Block Y) const {
  if (X.cols() == 1) {
    symmetric_multiply(H_, X.col(0), Y.col(0));
    return;
  }
  multiply(H_, Transpose::no, X, Transpose::no, Y);
}

}  // namespace gradflow
