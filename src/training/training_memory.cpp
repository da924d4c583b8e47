#include <algorithm>

#include "gradflow/training/initial_flow.h"
#include "gradflow/training/train.h"
#include "training/dense_pass.h"

namespace gradflow {

double training_memory(const TrainableNetwork& network, const TrainingSet& data,
                       const TrainRequest& request) {
  constexpr double matrices = 5.0;  // n x n, of the operator and its eigendecomposition
  constexpr double krylov_vectors = 300.0;
  constexpr double states = 8.0;  // of the size of theta: moments, start, best, last good
  constexpr double real = sizeof(double);
  const Index n = data.X.rows();
  const auto rows = static_cast<double>(n);
  const double set = real * rows * static_cast<double>(data.X.cols() + data.Y.cols() + data.design.cols());
  const double pass = network.pass_bytes(n);
  const bool rule = request.stop != TrainingStop::steps && request.stop != TrainingStop::validation;
  // The trainer's own pass, and another while the largest eigenvalue or other rows are looked at.
  double bytes = 2.0 * set + 2.0 * pass + states * real * static_cast<double>(network.parameters().size());
  if (request.trainer.batch > 0) bytes += network.pass_bytes(request.trainer.batch);
  if (request.stop == TrainingStop::validation) bytes += 2.0 * set + pass;
  if (n <= InitialFlow::most_rows && (rule || request.watch)) bytes += matrices * real * rows * rows;
  if (n > InitialFlow::most_rows && rule)
    bytes += std::min(pass, kept_sweep_bytes) + krylov_vectors * real * rows;
  return bytes;
}

}  // namespace gradflow
