#pragma once

#include <vector>

#include "gradflow/network/layered_network.h"

namespace gradflow {

/// Forward and reverse passes of a network of layers (layered_network.h) one after another, at the parameters
/// that it has at the forward pass:
///
///     forward(X) = F(X), n x K,   pull_back(U) = the gradient of sum_ik U_ik F_ik  at the last forward()'s X
///
/// What the layers keep between the two stays in memory while it is at most `most_kept` numbers; otherwise
/// the reverse pass makes the forward one again, in blocks of examples, from a copy of X. The same bits
/// either way, those of LayeredNetwork::output() and vjp(), and for any number of threads. The network
/// outlives it.
class LayeredPass {
 public:
  static constexpr double usual_most_kept = 1.3e8;  ///< 1 GB

  explicit LayeredPass(const LayeredNetwork& network, double most_kept = usual_most_kept);
  ~LayeredPass();
  LayeredPass(const LayeredPass&) = delete;
  LayeredPass& operator=(const LayeredPass&) = delete;

  /// n x K. Throws InputError if X has not the network's inputs.
  Matrix forward(ConstBlock X);
  /// Throws InputError unless U has the shape of what the last forward() gave.
  Parameters pull_back(ConstBlock U);

 private:
  const LayeredNetwork& network_;
  double most_kept_;
  Index rows_ = 0;
  bool kept_ = false;
  Matrix X_;                                   // unless kept_
  std::vector<std::vector<LayerTape>> tapes_;  // of each block, if kept_
};

}  // namespace gradflow
