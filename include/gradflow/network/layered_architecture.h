#pragma once

#include <string>
#include <vector>

#include "gradflow/network/architecture.h"

namespace gradflow {

/// The shape of one example between two layers: features (rank 1), channels x length (rank 2), or channels x
/// height x width (rank 3). Its entries are in C order, as NumPy and PyTorch flatten an array.
struct TensorShape {
  Index channels = 1;
  Index height = 1;  ///< 1 below rank 3
  Index width = 1;   ///< length at rank 2; 1 below
  Index rank = 1;

  Index positions() const noexcept { return height * width; }
  Index size() const noexcept { return channels * height * width; }
  friend bool operator==(const TensorShape&, const TensorShape&) = default;
};
std::string to_string(const TensorShape& shape);  ///< "10", "3x50", "3x32x32"

enum class LayerKind { dense, activation, residual, layer_norm, conv1d, conv2d, flatten, average_pool };

/// One layer of a network:
///
///     dense         z = W a + b on features
///     conv1d/2d     z_p = sum_o W_o a_{stride p + o - padding} + b: cross-correlation with zeros around,
///                   floor((length + 2 padding - size) / stride) + 1 places, as PyTorch's Conv1d/2d
///     activation    phi, entry by entry
///     residual      a + g(a), g the layers of `inner`, which keep the shape
///     layer_norm    (a - mean) / sqrt(variance + layer_norm_epsilon), over the features or, of an array,
///                   over the channels at each place; affine: then gamma o that + beta, the same at each
///                   place, gamma trained from 1 and, in a network with biases, beta from 0
///     flatten       an array as features, in C order
///     average_pool  the mean over all places of an array: its channels as features
struct Layer {
  LayerKind kind = LayerKind::activation;
  Index width = 0;      ///< dense: units; convolutions: channels; >= 1
  Index size = 1;       ///< convolutions: of the patch, in every direction; >= 1
  Index stride = 1;     ///< convolutions; >= 1
  Index padding = 0;    ///< convolutions: zeros on each side; < size
  bool affine = false;  ///< layer_norm: with trainable scale and shift
  Activation activation{};
  std::vector<Layer> inner{};

  friend bool operator==(const Layer&, const Layer&) = default;
};

inline constexpr double layer_norm_epsilon = 1e-5;  ///< PyTorch's default

/// Text of one layer, as in the network's.
std::string to_string(const Layer& layer);
/// The shape that a layer gives; throws InputError, one sentence with the layer and the shape, if it cannot
/// take it.
TensorShape output_shape(const Layer& layer, const TensorShape& input);

/// A network as a sequence of layers, the last of them dense:K with an output for each class, dense:1 of a
/// number. Dense layers and convolutions draw and scale
/// their weights as architecture.h says, w_in being channels x size(s) of a convolution.
struct LayeredArchitecture {
  static constexpr Index any_outputs = 0;

  std::vector<Index> input{};  ///< features, channels x length, or channels x height x width; empty: features
  std::vector<Layer> layers{};
  bool bias = true;
  Parameterization parameterization = Parameterization::standard;
  double sw2 = 2.0;  ///< > 0, ntk only
  double sb2 = 0.1;  ///< >= 0, ntk only

  friend bool operator==(const LayeredArchitecture&, const LayeredArchitecture&) = default;
  /// The shape of an example of `features` entries. Throws InputError if `input` has another product.
  TensorShape input_shape(Index features) const;
  Index outputs() const noexcept { return layers.empty() ? 0 : layers.back().width; }  ///< K
  /// Throws InputError naming the field or layer, and unless the last is dense with so many outputs; with
  /// `input` also unless every layer fits the one before.
  void check(Index outputs = 1) const;
};

/// The same network as one dense description: relu:128x2 is dense:128 relu dense:128 relu dense:1.
LayeredArchitecture layered(const Architecture& architecture);

/// Text form: layers separated by blanks, then ",OPTION"s of architecture.h (no-bias, ntk, sw2=2, sb2=0.1):
///
///     dense:WIDTH, conv1d:CHANNELS:SIZE[:STRIDE[:PADDING]], conv2d:..., flatten, avgpool, layernorm,
///     layernorm:affine, res(LAYERS), or an activation's name;   first, if wanted, input:D, input:CxL or
///     input:CxHxW
///
/// Stride is 1 and padding (SIZE - 1) / 2 unless given. Example: conv2d:32:3 relu res(conv2d:32:3 relu
/// conv2d:32:3) relu avgpool dense:1,ntk   The two functions are inverse to each other. Throws InputError
/// with the text, the position of what it cannot read, and what is allowed there; `outputs` as check() takes
/// it.
LayeredArchitecture parse_layered_architecture(const std::string& text, Index outputs = 1);
std::string to_string(const LayeredArchitecture& architecture);
/// Whether a text is meant as that of layers, rather than ACTIVATION:WIDTHS.
bool is_layered_text(const std::string& text);

/// JSON: {"input": [3, 32, 32], "layers": [{"layer": "conv2d", "channels": 32, "size": 3, "stride": 1,
/// "padding": 1}, {"layer": "layernorm", "affine": true}, {"layer": "relu"}, {"layer": "res", "layers":
/// [...]}, ..., {"layer": "dense", "width": 1}],
/// "bias": true, "parameterization": "ntk", "sw2": 2, "sb2": 0.1}. Only "layers" must be there; "stride",
/// "padding" and "affine" have the text form's defaults. The two functions are inverse to each other. Throws
/// InputError naming the field.
LayeredArchitecture layered_architecture_from_json(const std::string& json, Index outputs = 1);
std::string to_json(const LayeredArchitecture& architecture);

}  // namespace gradflow
