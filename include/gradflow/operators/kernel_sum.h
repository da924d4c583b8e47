#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "gradflow/operators/infinite_ntk.h"

namespace gradflow {

/// One kernel of a sum, on features of its own scaling:
///
///     kappa(r o x, r o x'),  r = relevance (elementwise product; empty: all ones)
///
///     kind       kappa(u, u')                                      d features
///     network    the tangent kernel or covariance of infinite_ntk.h
///     linear     u.u' / d
///     rbf        exp(-s^2 / 2)                                     s^2 = |u - u'|^2 / d
///     matern32   (1 + sqrt(3) s) exp(-sqrt(3) s)
///     matern52   (1 + sqrt(5) s + 5 s^2 / 3) exp(-sqrt(5) s)
///
/// d is the number of features (columns of X), those of relevance 0 included. Sources: Rasmussen and
/// Williams (2006), chapters 4 and 5.
struct KernelTerm {
  enum class Kind { network, linear, rbf, matern32, matern52 };

  Kind kind = Kind::network;
  InfiniteArchitecture network{};  ///< kind network
  double weight = 1.0;             ///< > 0, finite: the term enters as weight * kappa
  Vector relevance{};              ///< d, >= 0, finite, not all 0; empty: all ones
};

std::string_view to_string(KernelTerm::Kind kind);

/// Theta(x, x') = sum_k weight_k kappa_k(r_k o x, r_k o x'): a kernel as likelihood can choose it.
struct KernelSum {
  std::vector<KernelTerm> terms;  ///< at least one

  KernelSum() = default;
  KernelSum(InfiniteArchitecture network);  // NOLINT: one network is a sum of one term

  /// Throws InputError naming the term and the field. `inputs`: number of features.
  void check(Index inputs) const;
};

/// Whether any term has relevances.
bool is_scaled(const KernelSum& kernel);

/// Equal kinds, weights, relevances and, for networks, networks.
bool operator==(const KernelTerm& a, const KernelTerm& b);
bool operator==(const KernelSum& a, const KernelSum& b);

/// Text form: terms joined by " + ", each [NUMBER*]TERM with TERM linear, rbf, matern32, matern52, or a
/// network as in infinite_ntk.h: "ntk:relu:2 + 0.3*linear". Relevances are not part of the text. The two
/// functions are inverse to each other for sums without relevances; spaces may be left out.  Throws
/// InputError that shows the text and a valid example.
KernelSum parse_kernel_sum(const std::string& text);
std::string to_string(const KernelSum& kernel);

/// Kernel matrices of the rows of X (n x d) and X_new. Squared distances are sums of squared differences:
/// equal rows have kappa = 1 exactly for rbf and Matern, wherever they lie; exp never falls below exp(-708).
/// Costs and errors as kernel_gram of infinite_ntk.h, for every term, and those of check().
Matrix kernel_gram(const KernelSum& kernel, ConstBlock X);                     ///< n x n, exactly symmetric
Matrix kernel_cross(const KernelSum& kernel, ConstBlock X_new, ConstBlock X);  ///< n_new x n
Vector kernel_diagonal(const KernelSum& kernel, ConstBlock X);                 ///< n

}  // namespace gradflow
