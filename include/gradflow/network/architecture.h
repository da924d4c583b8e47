#pragma once

#include <string>
#include <vector>

#include "gradflow/network/activation.h"

namespace gradflow {

/// How a dense layer turns its inputs a (w_in) into z (w_out), and how its entries are drawn:
///
///     standard  z = W a + b;   W, b ~ U(-1/sqrt(w_in), 1/sqrt(w_in)), PyTorch's default for nn.Linear
///     ntk       z = sqrt(sw2 / w_in) W a + sqrt(sb2) b;   W, b ~ N(0, 1)
///
/// Under `ntk` the training operator has a limit as the widths grow: operators/infinite_ntk.h.
enum class Parameterization { standard, ntk };

/// A dense network with one output. Every layer but the last is followed by the activation.
struct Architecture {
  Activation activation;
  std::vector<Index> widths;  ///< of the hidden layers; none gives a linear network
  bool bias = true;
  Parameterization parameterization = Parameterization::standard;
  double sw2 = 2.0;  ///< > 0, ntk only
  double sb2 = 0.1;  ///< >= 0, ntk only

  friend bool operator==(const Architecture&, const Architecture&) = default;
  void check() const;  ///< throws InputError naming the field
};

/// Text form: ACTIVATION:WIDTHS[,OPTION...] or linear[,OPTION...]. WIDTHS is a width (128), a width and a
/// number of layers (128x2), or one width per layer (100-50-20). Options: no-bias, ntk, sw2=2, sb2=0.1 (the
/// last two with ntk). Examples: relu:128x2   leaky-relu@0.2:100-50-20,no-bias   erf:512x3,ntk,sw2=1.5 The
/// two functions are inverse to each other. Throws InputError that shows the text and a valid example.
Architecture parse_architecture(const std::string& text);
std::string to_string(const Architecture& architecture);

}  // namespace gradflow
