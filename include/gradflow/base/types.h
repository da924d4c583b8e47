#pragma once

#include <Eigen/Core>

namespace gradflow {

/// Signed 64-bit index everywhere: n x n stays countable at any n.
using Index = Eigen::Index;
using Matrix = Eigen::MatrixXd;  ///< column-major, float64
using Vector = Eigen::VectorXd;

/// Views of column-major storage that an interface reads or fills without owning.
using ConstBlock = Eigen::Ref<const Matrix>;
using Block = Eigen::Ref<Matrix>;
using ConstVector = Eigen::Ref<const Vector>;

}  // namespace gradflow
