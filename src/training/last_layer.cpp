#include "gradflow/training/trainable.h"

namespace gradflow {

Matrix TrainableNetwork::last_weights() const {
  const LayerEntries last = layers().back();
  return last.weight_scale *
         parameters().segment(last.weights, last.rows * last.columns).reshaped(last.rows, last.columns);
}

}  // namespace gradflow
