#include "model/fit_rows.h"

#include <utility>

#include "model/observations.h"

namespace gradflow {

Dataset part_of(const Dataset& data, const std::vector<Index>& rows) {
  Dataset part;
  part.recipe = data.recipe;
  part.X = data.X(rows, Eigen::all);
  part.Z = data.Z(rows, Eigen::all);
  part.y = data.y(rows);
  if (data.weights.size() > 0) part.weights = data.weights(rows);
  for (const Index row : rows) part.ids.push_back(data.ids[static_cast<std::size_t>(row)]);
  return part;
}

FittedRows fit_rows(Dataset data, const KernelSum& kernel, const ResponseTransform& transform,
                    const AnalysisOptions& analysis) {
  Job job;
  job.analysis = analysis;
  job.analysis.engine = Engine::dense;
  job.analysis.diagnostics = false;
  job.analysis.progress = nullptr;
  job.operator_spec.kernel = kernel;
  JobResult result;
  PreparedJob& prepared = result.prepared;
  prepared.transform = transform;
  transform_response(data, prepared.transform);
  const WithinGroups within = merge_replicates(data);
  prepared.kernel = KernelSource(kernel);
  prepared.H = prepared.kernel->training(data.X);
  prepared.observations = observe(data, within, Vector::Zero(data.y.size()));
  prepared.dataset = std::move(data);
  result.analysis = analyse(*prepared.H, prepared.observations, job.analysis);
  result.calibration = calibrate(result.analysis);
  Vector errors;
  if (result.calibration.known()) errors = standardised_errors(result.analysis);
  return {make_model(job, std::move(result)), std::move(errors)};
}

}  // namespace gradflow
