#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gradflow/network/architecture.h"
#include "gradflow/network/network.h"

namespace gradflow {

/// A dense network f(x; theta) with one output, and its derivatives in theta:
///
///     a_0 = x,   z_l = weight_scale(l) W_l a_l + bias_scale() b_l,   a_{l+1} = phi(z_l),   f = z_L
///
/// The scales are 1 under `standard`, sqrt(sw2 / w_in) and sqrt(sb2) under `ntk`. Rows of X are examples.
/// Every function of X throws InputError if X does not have inputs() columns. Costs below count multiply-adds
/// for n examples and P parameters.
class DenseNetwork final : public Network {
 public:
  /// Throws InputError unless the shapes agree with the architecture and every entry is finite.
  DenseNetwork(Architecture architecture, Parameters parameters);

  /// Random entries as architecture.h says; the same seed gives the same bits everywhere.
  static DenseNetwork initialise(const Architecture& architecture, Index inputs, std::uint64_t seed);

  /// Given entries, from an NPZ or safetensors file with arrays W0, b0, W1, b1, ... or, as in a PyTorch
  /// state_dict, 0.weight, 0.bias, 2.weight, ..., under any prefix; layers are ordered by their numbers.
  /// Weights are w_out x w_in and the last layer has one output; without biases the network has none.
  /// Activation and parameterization are those of `settings`; its widths must be the file's unless there are
  /// none. Throws InputError naming the file, the array and its shape.
  static DenseNetwork from_file(const std::string& path, const Architecture& settings);

  const Architecture& architecture() const noexcept { return architecture_; }
  std::string text() const override { return to_string(architecture_); }
  const Parameters& parameters() const noexcept override { return parameters_; }
  Index inputs() const noexcept override { return parameters_.weights.front().cols(); }
  Index layers() const noexcept override { return static_cast<Index>(parameters_.weights.size()); }
  double weight_scale(Index layer) const override;
  double bias_scale() const noexcept override;  ///< 0 without biases
  Index positions(Index) const override { return 1; }

  /// f(X), n. Cost n P; memory O(width) per example for blocks of examples.
  Vector output(ConstBlock X) const override;
  /// Forward and reverse pass; the last layer has gradients of ones. Cost 2 n P; memory 2 n doubles per unit.
  Sweep sweep(ConstBlock X) const override;

  /// J v, n: the derivative of f(X) along `direction`, by one forward pass. Cost 2 n P.
  Vector jvp(ConstBlock X, const Parameters& direction) const override;
  /// J' u: the gradient of u'f(X), by one forward and one reverse pass. Cost 3 n P.
  Parameters vjp(ConstBlock X, ConstVector u) const override;

 private:
  void check_inputs(ConstBlock X) const;
  Matrix layer_output(std::size_t layer, ConstBlock A) const;

  Architecture architecture_;
  Parameters parameters_;
};

}  // namespace gradflow
