#pragma once

#include <map>
#include <string>

#include "gradflow/data/safetensors.h"
#include "gradflow/training/trainable.h"

namespace gradflow {

/// A dense network with K outputs as a value, in parameterisation `standard` with biases in every layer: the
/// scores of K classes from features in their own units.
struct ClassNetwork {
  Architecture architecture;
  Parameters parameters;  ///< the last W is K x w

  Index inputs() const { return parameters.weights.front().cols(); }
  Index outputs() const { return parameters.weights.back().rows(); }  ///< K
  /// m x K. Throws InputError for features that are not m x inputs().
  Matrix scores(ConstBlock X) const;
};

/// g(x) = f((x - center) / scale) + intercept of a trained network f (dense, or two copies of one), K
/// intercepts; center and scale are d, scale > 0. Rounding apart it is the same function. Throws InputError
/// for networks that are not dense and sizes that disagree.
ClassNetwork class_network(const TrainableNetwork& network, const Vector& center, const Vector& scale,
                           const Vector& intercept);

/// From the tensors 0.weight, 0.bias, 2.weight, ... that write_state_dict() of its parameters writes; widths
/// are the file's. Throws InputError naming `source` and the tensor where one is missing, of wrong shape or
/// not finite.
ClassNetwork class_network_from(const TensorFile& file, const Architecture& architecture,
                                const std::string& source);

}  // namespace gradflow
