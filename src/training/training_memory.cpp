#include <algorithm>

#include "gradflow/training/initial_flow.h"
#include "gradflow/training/train.h"
#include "training/dense_pass.h"
#include "training/training_stop.h"

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
  const bool twins = request.stop == TrainingStop::follow_gdf;
  const bool in_turn = twins || request.stop == TrainingStop::cross_validation;
  const bool held_out = in_turn || request.stop == TrainingStop::validation;
  const bool rule = needs_operator(request.stop);
  // The trainer's own pass, and another while the largest eigenvalue or other rows are looked at.
  double bytes = 2.0 * set + 2.0 * pass + states * real * static_cast<double>(network.parameters().size());
  if (request.trainer.batch > 0) bytes += network.pass_bytes(request.trainer.batch);
  if (held_out) bytes += 2.0 * set + pass;
  if (in_turn) {
    constexpr double turn_states = 4.0;  // of the size of theta
    const double trainings = twins ? request.twins + 1 : request.folds;
    const double looks = twins ? 45.0 * trainings : 8.0;  // at all rows, whose predictions are kept
    bytes += looks * real * rows * static_cast<double>(data.Y.cols()) +
             turn_states * real * trainings * static_cast<double>(network.parameters().size());
  }
  if (n <= InitialFlow::most_rows && (rule || request.watch)) bytes += matrices * real * rows * rows;
  if (n > InitialFlow::most_rows && rule)
    bytes += std::min(pass, kept_sweep_bytes) + krylov_vectors * real * rows;
  return bytes;
}

}  // namespace gradflow
