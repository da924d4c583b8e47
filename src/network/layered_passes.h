#pragma once

#include <functional>
#include <vector>

#include "gradflow/network/layered_network.h"

namespace gradflow {

/// What a forward pass keeps of a layer for the passes after it.
struct LayerTape {
  Matrix inputs;  ///< dense: n x w_in; convolution: patches; layer norm: normalised entries, before
                  ///< scale and shift (rows: place, example)
  Matrix slopes;  ///< activation: phi'; layer norm: 1/sd, one per row of `inputs`
  std::vector<LayerTape> inner;
};

/// Equations and storage in layered_network.h; all on the calling thread but for BLAS. A is n x entries of an
/// example.
struct LayerPasses {
  const Parameters& parameters;
  double bias_scale;

  /// Called for a layer with weights: its number, A and df/dz, as LayerSweep. It may move from both.
  using Visitor = std::function<void(Index layer, Matrix& inputs, Matrix& gradients)>;

  /// The layers' result; `tapes` (one per layer) is filled unless it is null.
  Matrix forward(const std::vector<PlacedLayer>& layers, Matrix A, std::vector<LayerTape>* tapes) const;
  /// From df/d(result) to df/dA, which is empty unless it is wanted.
  Matrix reverse(const std::vector<PlacedLayer>& layers, std::vector<LayerTape>& tapes, Matrix D, bool wanted,
                 const Visitor& visit) const;
  /// The derivative of the result along dA (empty: 0) and a direction of the parameters.
  Matrix tangent(const std::vector<PlacedLayer>& layers, const std::vector<LayerTape>& tapes, Matrix dA,
                 const Parameters& direction) const;
};

}  // namespace gradflow
