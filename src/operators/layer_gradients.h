#pragma once

#include "gradflow/network/network.h"

namespace gradflow {

/// Gradients of n examples in the parameters of one layer, n x P_l in the order of Parameters::flatten():
///
///     G_i = sum_p D_ip (x) [weight_scale A_ip, bias_scale],     p over the layer's places
///
/// The last term only when bias_scale is not 0. Cost n places P_l multiply-adds; memory n P_l doubles. Inside
/// a parallel_for a SerialBlas must live.
Matrix layer_gradients(const LayerSweep& layer, Index n, double weight_scale, double bias_scale);

/// |G_i|^2, n. For one place |d_i|^2 (weight_scale^2 |a_i|^2 + bias_scale^2), without G.
Vector squared_layer_gradients(const LayerSweep& layer, Index n, double weight_scale, double bias_scale);

}  // namespace gradflow
