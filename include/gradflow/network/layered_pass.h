#pragma once

#include <vector>

#include "gradflow/network/layered_network.h"

namespace gradflow {

/// Forward and reverse passes of a network of layers (layered_network.h) one after another, at the parameters
/// that it has at the forward pass:
///
///     forward(X) = f(X),   pull_back(u) = J'u  at the X of the last forward()
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

  /// n. Throws InputError if X has not the network's inputs.
  Vector forward(ConstBlock X);
  /// Throws InputError unless u has as many entries as the last forward() had rows.
  Parameters pull_back(ConstVector u);

 private:
  const LayeredNetwork& network_;
  double most_kept_;
  Index rows_ = 0;
  bool kept_ = false;
  Matrix X_;                                   // unless kept_
  std::vector<std::vector<LayerTape>> tapes_;  // of each block, if kept_
};

}  // namespace gradflow
