#pragma once

#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/types.h"

namespace gradflow {

template <typename T>
using MatrixOf = Eigen::MatrixX<T>;
template <typename T>
using ConstPanel = Eigen::Ref<const MatrixOf<T>>;
template <typename T>
using Panel = Eigen::Ref<MatrixOf<T>>;

/// C <- op(A) op(B) + beta C in float32; as linear_algebra.h in float64.
void multiply(ConstPanel<float> A, Transpose a, ConstPanel<float> B, Transpose b, Panel<float> C,
              double alpha = 1.0, double beta = 0.0);

/// The kernels below sum in an order that depends on the sizes only, never on the alignment of storage. T is
/// float or double; products and up to 16 partial sums are in T.

/// sum_i a_i b_i
template <typename T>
double dot(const T* a, const T* b, Index count);

/// sum <- (keep ? sum : 0) + A v;  A is rows x columns without gaps.
template <typename T>
void weighted_sum(const T* A, Index rows, Index columns, const T* v, bool keep, T* sum);

}  // namespace gradflow
