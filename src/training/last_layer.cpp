#include "gradflow/base/error.h"
#include "gradflow/training/trainable.h"

namespace gradflow {

DenseNetwork TrainableNetwork::dense_output(Index k) const {
  require(k >= 0 && k < outputs(), "output", k, "must be one of the network's");
  return dense();
}

Matrix TrainableNetwork::last_weights() const {
  const LayerEntries last = layers().back();
  return last.weight_scale *
         parameters().segment(last.weights, last.rows * last.columns).reshaped(last.rows, last.columns);
}

}  // namespace gradflow
