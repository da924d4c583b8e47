#pragma once

#include "gradflow/model/run_detail.h"

/// The parts of run_detail().
namespace gradflow {

/// `fit`: the components behind rule reml-risk.
TrainingCurves training_curves(const Job& job, const JobResult& result, const TwoComponentFit& fit);
std::vector<LikelihoodProfile> likelihood_profiles(const Job& job, const JobResult& result,
                                                   const TwoComponentFit& fit, const TrainingCurves& curves);
RowFits row_fits(const Job& job, const JobResult& result);
Directions directions_of(const Analysis& analysis);
std::vector<CoverageCount> coverage_of(const RowFits& rows, const Analysis& analysis, double level);
std::vector<Index> largest_residuals(const RowFits& rows);

/// Bounds of the searches that the run made.
RemlOptions reml_options(const Job& job, const Analysis& analysis);

}  // namespace gradflow
