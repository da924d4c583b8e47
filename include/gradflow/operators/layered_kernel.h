#pragma once

#include <memory>
#include <string>

#include "gradflow/network/layered_architecture.h"
#include "gradflow/operators/dense_operator.h"
#include "gradflow/operators/infinite_ntk.h"

namespace gradflow {

/// The limit of a network of layers with `ntk` parameterization, as all widths and channels but the last grow
/// one after another from the first: the covariance K of its outputs at initialisation, or its tangent kernel
/// T. Between places p of x and q of x', with K_0 = sum_c x_cp x'_cq / channels, T_0 = 0:
///
///     dense         K <- sw2 K + sb2,                                   T <- K + sw2 T
///     conv          K_pq <- sw2 mean_o K_{p+o, q+o} + sb2 (0 outside),  T_pq <- K_pq + sw2 mean_o T_{p+o,
///     q+o} activation    K_pq <- E[phi(u) phi(v)],  T_pq <- T_pq E[phi'(u) phi'(v)]    (dual_activation.h)
///     layer norm    K_pq, T_pq divided by sqrt((K_pp(x, x) + epsilon) (K_qq(x', x') + epsilon))
///     residual      K + K of the block,  T + T of the block (which begins with this T)
///     flatten       mean_p K_pp, mean_p T_pp;      average_pool    mean_pq K_pq, mean_pq T_pq
///
/// A limit of this form needs: activations and layer norms of Gaussian values (right after dense, conv, layer
/// norm, pooling of those, or a sum of those); blocks not on the data themselves, with a dense or conv layer
/// of their own and, where what they are added to is not Gaussian, a Gaussian result. check() names the layer
/// for which that does not hold. Widths are not used.
///
/// Cost per pair of examples: with S places, S evaluations of each dual and size^2 S additions for each
/// convolution; S^2 where average_pool needs the covariances between places. Sources: Novak et al. (2019);
/// Garriga-Alonso et al. (2019); Arora et al. (2019); Huang et al. (2020) on residual tangent kernels.
struct LayeredKernel {
  LayeredArchitecture architecture;  ///< parameterization ntk
  InfiniteArchitecture::KernelKind kind = InfiniteArchitecture::KernelKind::ntk;

  friend bool operator==(const LayeredKernel&, const LayeredKernel&) = default;
  /// Throws InputError naming the layer without a limit, or that does not fit examples of `inputs` entries.
  void check(Index inputs) const;
};

/// Text form: KIND(LAYERS[,no-bias][,sw2=NUMBER][,sb2=NUMBER]), KIND ntk or nngp, with the text of
/// layered_architecture.h: "ntk(input:1x8x8 conv2d:32:3 relu avgpool dense:1,sb2=0)". The two functions are
/// inverse to each other. Throws InputError.
LayeredKernel parse_layered_kernel(const std::string& text);
std::string to_string(const LayeredKernel& kernel);
/// Whether a text is meant so, rather than as a kernel of infinite_ntk.h: it starts with KIND and "(".
bool is_layered_kernel_text(const std::string& text);

/// Kernel matrices of the rows of X (n x entries of an example) and X_new. Memory: the result, S (with
/// pooling S^2) doubles per row, and 32 MB per thread. The same bits for any number of threads.
Matrix kernel_gram(const LayeredKernel& kernel, ConstBlock X);  ///< n x n, exactly symmetric
Matrix kernel_cross(const LayeredKernel& kernel, ConstBlock X_new, ConstBlock X);  ///< n_new x n
Vector kernel_diagonal(const LayeredKernel& kernel, ConstBlock X);                 ///< n

/// Flops of an entry, about; and bytes beside the result while a gram matrix of n rows is computed.
double entry_flops(const LayeredKernel& kernel, Index inputs);
double working_bytes(const LayeredKernel& kernel, Index inputs, Index n);

/// "infinite-width NTK of conv2d:32:3 relu avgpool dense:1, sw2 = 2, sb2 = 0.1"
std::string describe(const LayeredKernel& kernel);
std::unique_ptr<DenseOperator> make_operator(const LayeredKernel& kernel, ConstBlock X);

}  // namespace gradflow
