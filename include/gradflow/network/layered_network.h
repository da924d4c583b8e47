#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "gradflow/data/array_file.h"
#include "gradflow/network/layered_architecture.h"
#include "gradflow/network/network.h"

namespace gradflow {

/// A layer of a network with all that its passes need: shapes, and which weights are its own.
struct PlacedLayer {
  Layer layer{};
  TensorShape input{}, output{};
  Index parameters = -1;      ///< its number among the layers with weights, or -1
  double weight_scale = 1.0;  ///< of its weights
  std::string name{};         ///< as PyTorch's nn.Sequential counts modules, "3" or "2.block.0"
  std::vector<PlacedLayer> inner{};
};

struct LayerTape;  // what a forward pass keeps of a layer

/// A network of layers (layered_architecture.h) and its derivatives in theta. As a Network it has one output;
/// of K, scores() and LayeredPass take all, one_output() one, and the functions of Network throw InputError.
/// An example is a row of X: features, or an array in C order. Inside, an array over n examples is a matrix n
/// x (channels positions) whose columns are in C order; in storage that is also (n positions) x channels, so
/// a convolution is a product of its patches with its weights, and flattening costs nothing.
///
/// The forward pass keeps for each layer what its derivative needs (dense, convolution: inputs or patches;
/// activation: phi'; layer norm: normalised entries and 1/sd); the reverse and the tangent pass run over it:
///
///     dense, conv    D -> weight_scale D W, at every place a patch covers;   da -> weight_scale (V a + W da)
///                    + bias_scale dv
///     layer norm     t -> (t - mean t - xhat mean(xhat t)) / sd, in both directions; affine: D -> gamma o D
///                    before it, da -> gamma o da + xhat o dgamma + bias_scale dbeta after it
///     residual       t -> t + g'(t)
///
/// An affine layer norm is a layer with weights W = gamma (w_out x 1) and biases beta. Its gradients, G =
/// sum_p D_p o xhat_p and B = sum_p D_p, are in LayerSweep those of two places, (A, D) = (1, G) and (0, B -
/// G), so that D'A = G and D'1 = B; of one, (1, G), without biases.
///
/// Everything is float64. Cost per example: 2 flops per weight and place and pass; the kept entries are
/// size^2 times those of an array for a 2-d convolution. Blocks of examples are independent, and sums over
/// them have one order: the same bits for any number of threads, except sweep(), which leaves that to BLAS.
class LayeredNetwork final : public Network {
 public:
  /// Throws InputError unless the shapes agree with the architecture, whose `input` must be given, and every
  /// entry is finite.
  LayeredNetwork(LayeredArchitecture architecture, Parameters parameters);

  /// Random entries; a dense description has the bits of DenseNetwork::initialise. `inputs` is the number of
  /// features or, of arrays, of entries of an example.
  static LayeredNetwork initialise(const LayeredArchitecture& architecture, Index inputs, std::uint64_t seed);

  /// Given entries, from an NPZ or safetensors file with the arrays of a PyTorch state_dict: state_name() +
  /// ".weight" of weight_shape(), and ".bias", under any common prefix. Biases are there for all layers or
  /// for none, as the architecture says. Throws InputError naming the file, the array and its shape.
  static LayeredNetwork from_file(const std::string& path, const LayeredArchitecture& architecture,
                                  Index inputs);
  /// The same arrays, by name, as from_file() reads them.
  std::map<std::string, Array> state_dict() const;

  const LayeredArchitecture& architecture() const noexcept { return architecture_; }
  std::string text() const override { return to_string(architecture_); }
  Index outputs() const noexcept { return architecture_.outputs(); }  ///< K
  /// Output k alone: that row of the last layer. Throws InputError for k out of range.
  LayeredNetwork one_output(Index k) const;
  const Parameters& parameters() const noexcept override { return parameters_; }
  Index inputs() const noexcept override { return layers_.front().input.size(); }
  Index layers() const noexcept override { return static_cast<Index>(parameters_.weights.size()); }
  double weight_scale(Index layer) const override { return weighted(layer).weight_scale; }
  double bias_scale() const noexcept override;
  Index positions(Index layer) const override;
  const std::vector<PlacedLayer>& sequence() const noexcept { return layers_; }
  /// Throws InputError as the constructor.
  void set_parameters(Parameters parameters);

  /// PyTorch's name of a layer in a state_dict of nn.Sequential, in which a residual block is a module whose
  /// nn.Sequential is called block: "0" of "0.weight" and "0.bias", "2.block.0". A weight there is the row of
  /// `weights` in C order: (out, in), (out, in, size) or (out, in, size, size); of an affine
  /// layer norm (channels).
  const std::string& state_name(Index layer) const { return weighted(layer).name; }
  std::vector<Index> weight_shape(Index layer) const;

  Matrix scores(ConstBlock X) const;  ///< n x K
  Vector output(ConstBlock X) const override;
  /// On the calling thread but for BLAS. Memory: all that the layers keep for all rows of X.
  Sweep sweep(ConstBlock X) const override;
  Vector jvp(ConstBlock X, const Parameters& direction) const override;
  Parameters vjp(ConstBlock X, ConstVector u) const override;
  /// What the hidden layers make of the rows: the inputs, n x entries, of each layer or block of the sequence
  /// that has weights, but the first.
  std::vector<Matrix> features(ConstBlock X) const;

  /// Examples whose passes are one piece of work; it depends on the architecture only.
  Index block_rows() const noexcept;

 private:
  friend class LayeredPass;
  /// The tapes of rows begin ... begin + rows, which may be computed into `own`.
  using TapesOf =
      std::function<std::vector<LayerTape>&(Index begin, Index rows, std::vector<LayerTape>& own)>;
  Parameters pull_back(ConstBlock U, const TapesOf& tapes_of) const;
  Parameters pull_back_at(ConstBlock X, ConstBlock U) const;
  const PlacedLayer& weighted(Index layer) const { return weighted_[static_cast<std::size_t>(layer)]; }
  void check_inputs(ConstBlock X) const;
  void check_one_output() const;

  LayeredArchitecture architecture_;
  Parameters parameters_;
  std::vector<PlacedLayer> layers_;
  std::vector<PlacedLayer> weighted_;
  Index kept_entries_ = 0;
};

/// What the costs of a network's passes depend on.
struct LayeredSizes {
  double parameters = 0.0;     ///< P
  double kept = 0.0;           ///< numbers that a forward pass keeps per example
  double swept = 0.0;          ///< numbers in LayerSweep per example
  double convolved = 0.0;      ///< parameters of layers that act at several places
  double multiply_adds = 0.0;  ///< of a forward pass, per example
  double gram = 0.0;           ///< multiply-adds of the tangent kernel, per pair of examples
};
/// Throws InputError unless the layers fit examples of `inputs` entries.
LayeredSizes sizes_of(const LayeredArchitecture& architecture, Index inputs);

}  // namespace gradflow
