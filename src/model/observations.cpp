#include "model/observations.h"

namespace gradflow {

Observations observe(const Dataset& dataset, const WithinGroups& within, const Vector& output) {
  Observations observations;
  const double scale = dataset.recipe.target_scale;
  observations.weights = dataset.weights;
  observations.pure = {scale * scale * within.squares, within.dof};
  observations.y = unstandardize_response(dataset.recipe, dataset.y);
  observations.f0 = unstandardize_response(dataset.recipe, output);
  observations.covariates = dataset.Z;
  for (const EncodedColumn& column : dataset.recipe.covariates)
    observations.covariate_names.push_back(column.name);
  observations.test_direction = output;
  return observations;
}

}  // namespace gradflow
