#pragma once

#include "gradflow/network/layered_architecture.h"

namespace gradflow {

inline constexpr Index most_layers = 1000;  ///< of a network, those in blocks too
inline constexpr int most_nested = 50;      ///< residual blocks within each other

inline bool is_convolution(const Layer& layer) {
  return layer.kind == LayerKind::conv1d || layer.kind == LayerKind::conv2d;
}

}  // namespace gradflow
