#include "operators/jacobian_kernels.h"

#include <cblas.h>

#include <algorithm>

namespace gradflow {
namespace {

int leading(ConstPanel<float> A) { return static_cast<int>(std::max<Index>(1, A.outerStride())); }
CBLAS_TRANSPOSE code(Transpose t) { return t == Transpose::yes ? CblasTrans : CblasNoTrans; }

}  // namespace

void multiply(ConstPanel<float> A, Transpose a, ConstPanel<float> B, Transpose b, Panel<float> C,
              double alpha, double beta) {
  const Index inner = a == Transpose::no ? A.cols() : A.rows();
  cblas_sgemm(CblasColMajor, code(a), code(b), static_cast<int>(C.rows()), static_cast<int>(C.cols()),
              static_cast<int>(inner), static_cast<float>(alpha), A.data(), leading(A), B.data(), leading(B),
              static_cast<float>(beta), C.data(), leading(C));
}

template <typename T>
double dot(const T* a, const T* b, Index count) {
  constexpr Index lanes = 16;
  T partial[lanes] = {};
  Index i = 0;
  for (; i + lanes <= count; i += lanes)
    for (Index k = 0; k < lanes; ++k) partial[k] += a[i + k] * b[i + k];
  double sum = 0.0;
  for (; i < count; ++i) sum += static_cast<double>(a[i] * b[i]);
  for (const T value : partial) sum += static_cast<double>(value);
  return sum;
}

template <typename T>
void weighted_sum(const T* A, Index rows, Index columns, const T* v, bool keep, T* sum) {
  constexpr Index strip = 4;
  if (!keep) std::fill(sum, sum + rows, T(0));
  Index j = 0;
  for (; j + strip <= columns; j += strip) {
    const T *const a0 = A + j * rows, *const a1 = a0 + rows, *const a2 = a1 + rows, *const a3 = a2 + rows;
    const T v0 = v[j], v1 = v[j + 1], v2 = v[j + 2], v3 = v[j + 3];
    for (Index i = 0; i < rows; ++i) sum[i] += (a0[i] * v0 + a1[i] * v1) + (a2[i] * v2 + a3[i] * v3);
  }
  for (; j < columns; ++j) {
    const T* const a = A + j * rows;
    for (Index i = 0; i < rows; ++i) sum[i] += a[i] * v[j];
  }
}

template double dot<float>(const float*, const float*, Index);
template double dot<double>(const double*, const double*, Index);
template void weighted_sum<float>(const float*, Index, Index, const float*, bool, float*);
template void weighted_sum<double>(const double*, Index, Index, const double*, bool, double*);

}  // namespace gradflow
