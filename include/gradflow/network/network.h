#pragma once

#include <string>
#include <vector>

#include "gradflow/base/types.h"

namespace gradflow {

/// The trainable entries of a network, or a direction or gradient in their space. Layers are those that have
/// weights, in the order of the network's text.
struct Parameters {
  std::vector<Matrix> weights;  ///< layer l: w_out x w_in; of a convolution, w_in = channels x size(s)
  std::vector<Vector> biases;   ///< layer l: w_out; empty when the network has no biases

  Index count() const noexcept;  ///< P
  /// All entries in the order W_0 (column by column), b_0, W_1, b_1, ...; the columns of jacobian().
  Vector flatten() const;
  /// The inverse of flatten() for the shapes of this. Throws InputError unless flat has count() entries.
  Parameters unflatten(ConstVector flat) const;
};

/// What one forward and one reverse pass over n examples leave behind for a layer with weights:
///
///     df/dW_l = weight_scale(l) D' A  (per example: sums of outer products of its rows)
///     df/db_l = bias_scale() D'1
///
/// A layer that acts at positions(l) places of an array has a row for each: row p n + i is place p of example
/// i.
struct LayerSweep {
  Matrix inputs;     ///< A: (n positions) x w_in, the layer's inputs a; for a convolution, patches
  Matrix gradients;  ///< D: (n positions) x w_out, df/dz of the layer's result z before what follows it
};

struct Sweep {
  Vector output;                   ///< f(X), n
  std::vector<LayerSweep> layers;  ///< first to last, those with weights
};

/// A network f(x; theta) with one output, and its derivatives in theta, J = df(X)/dtheta (n x P). Layers with
/// weights compute z = weight_scale(l) W_l a + bias_scale() b_l; what is between them has no parameters. Rows
/// of X are examples. Every function of X throws InputError if X does not have inputs() columns.
class Network {
 public:
  virtual ~Network() = default;

  virtual std::string text() const = 0;  ///< of the architecture, as its parser takes it
  virtual const Parameters& parameters() const noexcept = 0;
  virtual Index inputs() const noexcept = 0;
  virtual Index layers() const noexcept = 0;  ///< those with weights
  virtual double weight_scale(Index layer) const = 0;
  virtual double bias_scale() const noexcept = 0;  ///< 0 without biases
  /// Places at which the layer acts; 1 for a dense layer.
  virtual Index positions(Index layer) const = 0;

  virtual Vector output(ConstBlock X) const = 0;                            ///< f(X), n
  virtual Sweep sweep(ConstBlock X) const = 0;                              ///< forward and reverse
  virtual Vector jvp(ConstBlock X, const Parameters& direction) const = 0;  ///< J v, n
  virtual Parameters vjp(ConstBlock X, ConstVector u) const = 0;            ///< J' u

  /// J, n x P. For tests and small networks only: n P doubles.
  Matrix jacobian(ConstBlock X) const;

 protected:
  Network() = default;
  Network(const Network&) = default;
  Network(Network&&) = default;
  Network& operator=(const Network&) = default;
  Network& operator=(Network&&) = default;
};

}  // namespace gradflow
