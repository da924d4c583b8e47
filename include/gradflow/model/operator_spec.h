#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "gradflow/network/dense_network.h"
#include "gradflow/network/layered_network.h"
#include "gradflow/operators/dense_operator.h"
#include "gradflow/operators/kernel_sum.h"
#include "gradflow/operators/layered_kernel.h"

namespace gradflow {

/// finite: a network with weights; infinite: a sum of kernels, those of infinite-width networks among them;
/// matrix: the user's own.
enum class OperatorKind { finite, infinite, matrix };

std::string_view to_string(OperatorKind kind);

/// Which training operator, as the options say it.
struct OperatorSpec {
  OperatorKind kind = OperatorKind::infinite;
  Architecture network;                         ///< finite; widths may be empty when `weights` is given
  std::optional<LayeredArchitecture> layered;   ///< finite: in place of `network`
  std::string weights;                          ///< finite: file with the weights; empty: drawn with `seed`
  std::uint64_t seed = 1;                       ///< finite without `weights`
  KernelSum kernel{InfiniteArchitecture{}};     ///< infinite
  std::optional<LayeredKernel> layered_kernel;  ///< infinite: in place of `kernel`
  std::string matrix;          ///< matrix: NPY (or NPZ) file with H, n x n, already divided by n
  bool products_only = false;  ///< matrix: only products with H are to be had; nothing of it is kept

  /// Text of the network or kernel as the options take it (relevances are not in it), or the matrix's file
  /// name.
  std::string text() const;
  /// The array that a network or kernel of layers takes; empty where it takes features or whatever comes.
  std::vector<Index> array_shape() const;
  /// The shape of the data's arrays, for a network or kernel of layers that does not say its own.
  void take_shape(const std::vector<Index>& shape);
};

/// What a kernel says of m new rows, beside n rows of training.
struct CrossKernel {
  Matrix H_cross;  ///< m x n, Theta(x, X)/n
  Vector H_self;   ///< m, Theta(x, x)/n
  Vector output;  ///< m, the network's output at initialization (0 at infinite width), in the network's units
};

/// A function's kernel, ready to be evaluated: a finite network with its weights (dense or of layers), or at
/// infinite width a sum of kernels or the kernel of a network of layers.
/// A user's matrix has no kernel function: every member but kind() then throws InputError.
class KernelSource {
 public:
  /// Draws or reads the weights for `inputs` features. Throws InputError when a weights file, or the
  /// relevances of a kernel, do not fit.
  static KernelSource make(const OperatorSpec& spec, Index inputs);
  explicit KernelSource(DenseNetwork network);
  explicit KernelSource(LayeredNetwork network);
  explicit KernelSource(KernelSum kernel);
  explicit KernelSource(LayeredKernel kernel);

  OperatorKind kind() const noexcept;
  std::string description() const;  ///< one line
  std::string text() const;         ///< of the network or kernel, as OperatorSpec::text()
  const std::optional<DenseNetwork>& network() const noexcept { return network_; }
  const std::optional<LayeredNetwork>& layered() const noexcept { return layered_; }
  /// network() or layered(); null of kind infinite.
  const Network* finite() const noexcept;
  const std::optional<KernelSum>& kernel() const noexcept { return kernel_; }  ///< of kind infinite
  const std::optional<LayeredKernel>& layered_kernel() const noexcept {
    return layered_kernel_;
  }  ///< likewise

  std::unique_ptr<DenseOperator> training(ConstBlock X) const;  ///< H = Theta(X, X)/n
  Vector output(ConstBlock X) const;                            ///< f(X) at initialization
  CrossKernel cross(ConstBlock X_new, ConstBlock X) const;

 private:
  KernelSource() = default;
  std::optional<DenseNetwork> network_;
  std::optional<LayeredNetwork> layered_;
  std::optional<KernelSum> kernel_;
  std::optional<LayeredKernel> layered_kernel_;
};

/// Reads a user's training operator; `name` of the result is the file's. Throws InputError: not square, not
/// symmetric, not finite, and, unless rows is 0, not rows x rows.
Matrix read_operator_matrix(const std::string& path, Index rows);

}  // namespace gradflow
