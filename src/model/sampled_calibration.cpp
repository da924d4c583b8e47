#include "model/sampled_calibration.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/operators/dense_operator.h"
#include "gradflow/operators/scaled_operator.h"

namespace gradflow {
namespace {

ErrorCalibration not_known(std::string reason) {
  ErrorCalibration unknown;
  unknown.reason = std::move(reason);
  return unknown;
}

std::vector<Index> sample_of(Index n, Index count, std::uint64_t seed) {
  std::vector<Index> rows = RandomStream(seed, "rows for calibration").permutation(n);
  rows.resize(static_cast<std::size_t>(std::min(n, count)));
  std::sort(rows.begin(), rows.end());
  return rows;
}

// H(rows, rows), in float64 whatever the precision of the operator's own entries.
DenseOperator operator_of(const PreparedJob& prepared, const std::vector<Index>& rows) {
  if (!prepared.kernel) return DenseOperator(prepared.H->entries(rows, rows), prepared.H->description());
  const std::unique_ptr<DenseOperator> part =
      prepared.kernel->training(Matrix(prepared.dataset.X(rows, Eigen::all)));
  const double share = static_cast<double>(rows.size()) / static_cast<double>(prepared.H->size());
  return DenseOperator(share * part->matrix(), part->description());
}

}  // namespace

ErrorCalibration calibrate_sample(const PreparedJob& prepared, const Analysis& analysis,
                                  const AnalysisOptions& options) {
  if (!has_variance_components(analysis)) return not_known("the variance components have no estimate");
  const Index n = prepared.H->size(), count = prepared.plan.calibration_rows;
  if (count == 0)
    return not_known(
        "the plan has no rows for it, as with a network too large for standard deviations, an operator "
        "given by its products, and too little memory");
  report_progress(options.progress, "calibrating errors", 0.0);
  const std::vector<Index> rows = sample_of(n, count, options.seed);
  const Observations& observations = prepared.observations;
  Vector response = (observations.y - observations.f0)(rows), scale = Vector::Ones(response.size());
  double factor = 1.0;
  if (observations.weights.size() > 0) {
    scale = observations.weights(rows).cwiseSqrt();
    factor = static_cast<double>(n) / observations.total_weight();
    response.array() *= scale.array();
  }
  try {
    const FixedEffects fixed(Matrix(analysis.fixed.design()(rows, Eigen::all)), analysis.fixed.names());
    const DenseOperator H = operator_of(prepared, rows);
    const ProjectedSpectrum spectrum = project(ScaledOperator(H, scale, factor), fixed);
    const SpectralData data{spectrum.values, spectrum.coordinates(response).col(0)};
    ErrorCalibration found = calibrate(standardised_errors(analysis, spectrum, data));
    if (found.known() && found.rows < n) found.sampled_from = n;
    return found;
  } catch (const InputError& error) {  // fixed effects that the sample does not determine
    return not_known(error.what());
  }
}

}  // namespace gradflow
