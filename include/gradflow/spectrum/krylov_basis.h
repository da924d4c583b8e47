#pragma once

#include <vector>

#include "gradflow/base/types.h"

namespace gradflow {

/// In which precision the vectors of a Krylov space are kept. float32 halves the memory: what is formed from
/// them is then exact to 6e-8 of its size, and the recurrence, whose own vectors stay in float64, is not
/// touched.
enum class BasisPrecision { float64, float32 };

/// The vectors V = (v_1 ... v_k) of a Krylov space, n x k, which grows by one column at a time.
///
/// All products run over fixed blocks of rows on threads(): the same bits for any number of threads. Memory
/// 8 (or 4) n k bytes, taken 16 columns at a time.
class KrylovBasis {
 public:
  KrylovBasis(Index rows, BasisPrecision precision);

  Index rows() const noexcept { return rows_; }
  Index size() const noexcept { return size_; }  ///< k

  void append(ConstVector v);
  Matrix inner(ConstBlock X, Index columns) const;              ///< of V's first columns only
  Matrix inner(ConstBlock X) const { return inner(X, size_); }  ///< V'X, k x b; 2 n k b flops
  void subtract(const Matrix& C, Block X) const;                ///< X <- X - V C
  Matrix times(const Matrix& C) const;  ///< V C, n x b; C may have fewer rows than k: V's first columns
  void orthogonalise(Block X, int passes = 2) const;  ///< X <- (I - VV') X

 private:
  static constexpr Index chunk_columns = 16;
  using Single = Eigen::MatrixXf;

  template <typename Body>
  void for_each_block(Body&& body) const;
  template <typename Body>
  void for_each_chunk(Index begin, Index count, Index columns, Body&& body) const;
  Index chunks(Index columns) const { return (columns + chunk_columns - 1) / chunk_columns; }

  Index rows_, size_ = 0;
  BasisPrecision precision_;
  std::vector<Matrix> doubles_;
  std::vector<Single> singles_;
};

}  // namespace gradflow
