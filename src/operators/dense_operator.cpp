#include "gradflow/operators/dense_operator.h"

#include <cmath>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"

namespace gradflow {
namespace {

void check_and_symmetrise(Matrix& H, const std::string& name) {
  if (H.rows() != H.cols())
    throw InputError(fmt::format("{} is {} x {}: a training operator must be square", name, H.rows(), H.cols()));
  if (H.rows() == 0) throw InputError(fmt::format("{} is empty: a training operator needs at least one row", name));
  double largest = 0.0;
  for (Index j = 0; j < H.cols(); ++j)
    for (Index i = 0; i < H.rows(); ++i) {
      if (!std::isfinite(H(i, j)))
        throw InputError(fmt::format("{} has the value {} in row {}, column {}: every entry must be finite", name,
                                     H(i, j), i + 1, j + 1));
      largest = std::max(largest, std::abs(H(i, j)));
    }
  for (Index j = 0; j < H.cols(); ++j) {
    if (H(j, j) < -1e-10 * largest)
      throw InputError(fmt::format("{} has {} on its diagonal in row {}: a training operator must be positive semidefinite",
                                   name, H(j, j), j + 1));
    for (Index i = j + 1; i < H.rows(); ++i) {
      if (std::abs(H(i, j) - H(j, i)) > 1e-8 * largest)
        throw InputError(fmt::format("{} is not symmetric: entry ({}, {}) is {} and entry ({}, {}) is {}", name, i + 1,
                                     j + 1, H(i, j), j + 1, i + 1, H(j, i)));
      H(i, j) = H(j, i) = 0.5 * (H(i, j) + H(j, i));
    }
  }
}

}  // namespace

DenseOperator::DenseOperator(Matrix H, std::string name) : H_(std::move(H)), name_(std::move(name)) {
  check_and_symmetrise(H_, name_);
}

void DenseOperator::do_apply(ConstBlock X, Block Y) const {
  if (X.cols() == 1) {
    symmetric_multiply(H_, X.col(0), Y.col(0));
    return;
  }
  multiply(H_, Transpose::no, X, Transpose::no, Y);
}

}  // namespace gradflow
