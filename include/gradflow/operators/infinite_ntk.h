#pragma once

#include <string>

#include "gradflow/network/activation.h"

namespace gradflow {

/// The infinite-width limit of a dense network with `ntk` parameterization (network/architecture.h): the
/// covariance of its outputs at initialisation (nngp) or its tangent kernel (ntk). With inputs of dimension
/// d,
///
///     K_0 = sw2 x.x'/d + sb2,   T_0 = K_0,
///     K_l = sw2 E[phi(u) phi(v)] + sb2,   T_l = K_l + sw2 T_{l-1} E[phi'(u) phi'(v)],   (u, v) ~ N(0,
///     K_{l-1})
///
/// for l = 1, ..., depth; the kernel is T_depth or K_depth. The expectations are in dual_activation.h.
/// Sources: Neal (1996); Jacot, Gabriel and Hongler (2018).
struct InfiniteArchitecture {
  enum class KernelKind { ntk, nngp };

  Activation activation;
  Index depth = 2;   ///< hidden layers, 0 to 1000
  double sw2 = 2.0;  ///< > 0
  double sb2 = 0.1;  ///< >= 0
  KernelKind kind = KernelKind::ntk;

  friend bool operator==(const InfiniteArchitecture&, const InfiniteArchitecture&) = default;
  void check() const;  ///< throws InputError naming the field
};

/// Text form: KIND:ACTIVATION:DEPTH[,sw2=NUMBER][,sb2=NUMBER], for example ntk:relu:2 or nngp:erf:3,sw2=1.5.
/// The two functions are inverse to each other. Throws InputError that shows the text and a valid example.
InfiniteArchitecture parse_infinite_architecture(const std::string& text);
std::string to_string(const InfiniteArchitecture& architecture);

/// Kernel matrices of the rows of X (n x d) and X_new. Cost n n' (d + about 40 depth) flops, half for the
/// Gram matrix; memory: the result (tanh: and up to 2050 doubles per row and layer). Finite for every finite
/// input, rows of zeros included. Throw InputError when the numbers of columns differ or are 0.
Matrix kernel_gram(const InfiniteArchitecture& architecture, ConstBlock X);  ///< n x n, exactly symmetric
Matrix kernel_cross(const InfiniteArchitecture& architecture, ConstBlock X_new, ConstBlock X);  ///< n_new x n
Vector kernel_diagonal(const InfiniteArchitecture& architecture, ConstBlock X);                 ///< n

}  // namespace gradflow
