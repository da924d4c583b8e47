#pragma once

#include "gradflow/inference/classification.h"

namespace gradflow {

/// The two methods of classify(), on checked input of at least two classes. They fill all of `fit` but
/// method, classes and frequencies.
void fit_laplace(const TrainingOperator& H, const Matrix& response, const Labels& labels,
                 const ClassOptions& options, ClassFit& fit);
void fit_one_hot(const TrainingOperator& H, const Matrix& response, const Labels& labels,
                 const ClassOptions& options, ClassFit& fit);

/// log of the frequencies of n rows and half a row more of each class: finite where a class has no row.
Vector smoothed_log_frequencies(const Matrix& response);

}  // namespace gradflow
