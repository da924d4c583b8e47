#include "model/sampled_calibration.h"

#include <memory>
#include <vector>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/operators/dense_operator.h"
#include "gradflow/operators/scaled_operator.h"

namespace gradflow {
ErrorCalibration calibrate_sample(const PreparedJob& prepared, const Analysis& analysis,
                                  const AnalysisOptions& options) {
  ErrorCalibration found;
  const Index n = prepared.H->size();
  if (prepared.plan.calibration_rows == 0) {
    found.reason =
        "the plan has no rows for it, as with a network too large for standard deviations, an operator given "
        "by its products, and too little memory";
    return found;
  }
  report_progress(options.progress, "calibrating errors", 0.0);
  const std::vector<Index> rows =
      RandomStream(options.seed, "rows for calibration").sample(n, prepared.plan.calibration_rows);
  const Observations& observations = prepared.observations;
  Vector response = (observations.y - observations.f0)(rows), scale = Vector::Ones(response.size());
  double factor = 1.0;
  if (observations.weights.size() > 0) {
    scale = observations.weights(rows).cwiseSqrt();
    factor = static_cast<double>(n) / observations.total_weight();
    response.array() *= scale.array();
  }
  // Entries anew in float64, Theta / (rows of the sample), whatever the precision of those that are kept.
  std::unique_ptr<DenseOperator> H;
  if (prepared.kernel) {
    H = prepared.kernel->training(Matrix(prepared.dataset.X(rows, Eigen::all)));
    factor *= static_cast<double>(rows.size()) / static_cast<double>(n);
  } else {
    H = std::make_unique<DenseOperator>(prepared.H->entries(rows, rows), prepared.H->description());
  }
  try {
    const FixedEffects fixed(Matrix(analysis.fixed.design()(rows, Eigen::all)), analysis.fixed.names());
    const ProjectedSpectrum spectrum = project(ScaledOperator(*H, scale, factor), fixed);
    found = calibrate(analysis, spectrum, {spectrum.values, spectrum.coordinates(response).col(0)});
  } catch (const InputError& error) {  // fixed effects that the sample does not determine
    found.reason = error.what();
  }
  if (found.known() && found.rows < n) found.sampled_from = n;
  return found;
}

}  // namespace gradflow
