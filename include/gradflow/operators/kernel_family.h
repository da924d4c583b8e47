#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gradflow/operators/kernel_sum.h"
#include "gradflow/operators/operator_family.h"

namespace gradflow {

/// Which parameters of a sum of kernels are free, and where a search may go.
struct KernelFamilyOptions {
  struct Range {
    double lower, upper;  ///< 0 < lower < upper, in the parameter's own units; widened to hold the start
  };

  bool weights = true;
  bool relevances = true;
  bool sw2 = true;
  bool sb2 = true;  ///< sb2 = 0 stays 0
  /// Also the parameters that a likelihood with a free overall scale cannot tell apart; see KernelFamily.
  bool redundant = false;
  std::vector<Index> groups{};  ///< d, from 0: features of a group share a relevance; empty: each its own
  std::vector<std::string> features{};  ///< d, for names() only; empty: numbered from 0
  Range weight_range{1e-4, 1e4};
  Range relevance_range{1e-3, 1e2};
  Range sw2_range{1e-2, 1e2};
  Range sb2_range{1e-4, 1e2};
};

/// H(p) = Theta_p(X, X)/n for a sum of kernels (kernel_sum.h); p are natural logarithms, term by term in the
/// order
///
///     weight:LABEL       weight of a term; LABEL its kind (a network's: ntk or nngp)
///     relevance:FEATURE  of one feature, or of a group of features ("relevance:GROUP"; "relevance" if there
///                        is one group): the geometric mean of its relevances that are not 0. Ratios within a
///                        group are those of the kernel given, and 0 stays 0
///     sw2, sb2           of a network
///
/// With several terms the last three begin with "LABEL."; equal labels are numbered, "ntk#2".
///
/// The overall scale of H belongs to the likelihood (tau). So unless options.redundant, the weight of the
/// first term is fixed, and of homogeneous terms (linear; networks of depth 0 or of relu, leaky_relu, abs or
/// identity), whose scale is in their relevances as well, while weights are free or there is one term:
///
///     sw2           with sb2 = 0 or depth 0 it is a factor; otherwise it moves only the shares of the biases
///     sb2           where relevances are free: a common factor of sb2 and r^2 is a weight
///     the weight    of a later term without bias, where relevances are free
///     a relevance   of a first term without bias, where it is one for all features. With several, their
///                   common factor remains: a flat direction
///
/// Derivatives are those of the recursion, by reverse mode, exact up to rounding; where rows are equal or
/// proportional, and a relu's D has an infinite slope in rho, they are the limits along changes of p. Entries
/// with |rho| = 1 - e add an error of about 1e-16 / sqrt(e) relative to their scale. For tanh there are none:
/// InputError.
///
/// Cost of at(p): kernel_gram per term; of contract: about 3 times that, and 2 n^2 d flops per term with free
/// relevances. Memory of a point: H; beside it at(p) needs 2 n d doubles per term and contract 3 n (d +
/// depth), nothing n x n. Both give the same bits for any number of threads. Points refer to their family,
/// which has to outlive them.
class KernelFamily final : public OperatorFamily {
 public:
  /// X: n x d, n, d >= 1, finite. Throws InputError naming the term, option or feature.
  KernelFamily(KernelSum kernel, Matrix X, KernelFamilyOptions options = {});

  Index size() const noexcept override { return X_.rows(); }
  std::vector<std::string> names() const override;
  Vector start() const override;  ///< the kernel given
  Vector lower() const override;
  Vector upper() const override;
  std::unique_ptr<Point> at(const Vector& p) const override;

  /// The kernel at p: relevances are filled where they are free. Throws InputError on a wrong size, or where
  /// exp(p) is 0 or infinite.
  KernelSum sum_at(const Vector& p) const;
  /// The p of a kernel with the terms of this family's; what is not free is not looked at. Inverse of sum_at.
  Vector parameters_of(const KernelSum& kernel) const;

 private:
  enum class Kind { weight, relevance, sw2, sb2 };
  struct Parameter {
    Kind kind;
    std::size_t term;
    std::string name;
    std::vector<Index> features;  ///< of a relevance: those not 0
    Vector ratios;                ///< their relevances divided by the geometric mean
    double lower, upper;
  };
  class AtPoint;

  void add_term(std::size_t term, const std::vector<std::string>& labels, const KernelFamilyOptions& options);
  void add_relevances(std::size_t term, const std::string& prefix, const KernelFamilyOptions& options);
  bool one_group(const KernelFamilyOptions& options) const;
  static double value_of(const Parameter& parameter, const KernelSum& kernel);

  KernelSum kernel_;  ///< relevances filled where they are free
  Matrix X_;
  std::vector<Parameter> parameters_;
};

}  // namespace gradflow
