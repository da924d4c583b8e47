#pragma once

#include <cmath>
#include <cstdint>

#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"

namespace gradflow {

/// Thousands of tests of a few dozen rows each: starting threads would cost more than they save.
struct OneThread {
  int before = threads();
  OneThread() { set_threads(1); }
  ~OneThread() { set_threads(before); }
};

/// GG'/n of n x rank normal numbers G.
inline Matrix random_kernel(Index n, Index rank, std::uint64_t seed) {
  const Matrix G = RandomStream(seed, "kernel").normals(n, rank);
  return G * G.transpose() / static_cast<double>(n);
}

/// exp(-|a - b|^2/2) of rows a of A and b of B: smooth, positive definite.
inline Matrix gaussian_kernel(const Matrix& A, const Matrix& B) {
  Matrix K(A.rows(), B.rows());
  for (Index i = 0; i < A.rows(); ++i)
    for (Index j = 0; j < B.rows(); ++j) K(i, j) = std::exp(-0.5 * (A.row(i) - B.row(j)).squaredNorm());
  return K;
}

}  // namespace gradflow
