#pragma once

#include "gradflow/network/network.h"

/// What in_raw_units() of dense networks and of networks of layers share (training/export.h).
namespace gradflow {

/// Throws InputError unless there is a center and a scale for every input.
void check_input_units(const Network& network, const Vector& center, const Vector& scale);

/// The network's entries in parameterisation `standard`, with biases in every layer.
Parameters standard_entries(const Network& network);

/// The first layer, dense, takes x where it took (x - center) / scale.
void fold_input_units(const Vector& center, const Vector& scale, Parameters& parameters);

/// The last layer gives center + scale (f + intercept) where it gave f; an intercept for each output.
void fold_output_units(double center, double scale, const Vector& intercept, Parameters& parameters);

}  // namespace gradflow
