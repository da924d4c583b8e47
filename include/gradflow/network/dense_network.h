#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gradflow/network/architecture.h"

namespace gradflow {

/// The trainable entries of a dense network, or a direction or gradient in their space.
struct Parameters {
  std::vector<Matrix> weights;  ///< layer l: w_out x w_in
  std::vector<Vector> biases;   ///< layer l: w_out; empty when the network has no biases

  Index count() const noexcept;  ///< P
  /// All entries in the order W_0 (column by column), b_0, W_1, b_1, ...; the columns of jacobian().
  Vector flatten() const;
};

/// What one forward and one reverse pass over n examples leave behind for a layer:
///
///     df/dW_l = weight_scale(l) D' A  (per example: outer products of rows),     df/db_l = bias_scale() D
struct LayerSweep {
  Matrix inputs;     ///< A: n x w_in, the layer's inputs a; for layer 0 the features
  Matrix gradients;  ///< D: n x w_out, df/dz of the layer's result z before the activation
};

struct Sweep {
  Vector output;                   ///< f(X), n
  std::vector<LayerSweep> layers;  ///< first to last; the last has gradients of ones
};

/// A dense network f(x; theta) with one output, and its derivatives in theta:
///
///     a_0 = x,   z_l = weight_scale(l) W_l a_l + bias_scale() b_l,   a_{l+1} = phi(z_l),   f = z_L
///
/// The scales are 1 under `standard`, sqrt(sw2 / w_in) and sqrt(sb2) under `ntk`. Rows of X are examples.
/// Every function of X throws InputError if X does not have inputs() columns. Costs below count multiply-adds
/// for n examples and P parameters.
class DenseNetwork {
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
  const Parameters& parameters() const noexcept { return parameters_; }
  Index inputs() const noexcept { return parameters_.weights.front().cols(); }
  Index layers() const noexcept { return static_cast<Index>(parameters_.weights.size()); }
  double weight_scale(Index layer) const;
  double bias_scale() const noexcept;  ///< 0 without biases

  /// f(X), n. Cost n P; memory O(width) per example for blocks of examples.
  Vector output(ConstBlock X) const;
  /// Forward and reverse pass. Cost 2 n P; memory 2 n doubles per unit.
  Sweep sweep(ConstBlock X) const;

  /// J v, n: the derivative of f(X) along `direction`, by one forward pass. Cost 2 n P.
  Vector jvp(ConstBlock X, const Parameters& direction) const;
  /// J' u: the gradient of u'f(X), by one forward and one reverse pass. Cost 3 n P.
  Parameters vjp(ConstBlock X, ConstVector u) const;
  /// J, n x P. For tests and small networks only: n P doubles.
  Matrix jacobian(ConstBlock X) const;

 private:
  void check_inputs(ConstBlock X) const;
  Matrix layer_output(std::size_t layer, ConstBlock A) const;

  Architecture architecture_;
  Parameters parameters_;
};

}  // namespace gradflow
