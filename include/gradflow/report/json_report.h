#pragma once

#include <string>

#include "gradflow/model/fitted_model.h"
#include "gradflow/model/further_tests.h"
#include "gradflow/model/simulate.h"
#include "gradflow/report/run_record.h"

namespace gradflow {

/// JSON documents, indented by two, ending in a line end. A quantity that is not finite is null. Text that is
/// not UTF-8 has its stray bytes replaced.

/// Of `stop`, `fit` and `spectrum`: everything the run found.
///
///     test.p_value, test.log10_p_value, test.p_value_satterthwaite, rules.NAME.time, chosen.rule,
///     chosen.time, noise_variance (squared units of y), effective_dof (without the fixed effects), ...
///
/// and what a report draws (model/run_detail.h): curves, profiles, directions, rows, coverage.
std::string json_report(const RunRecord& record, const Job& job, const JobResult& result);

/// What of such a document a model file keeps: all but what depends on the moment (times, free memory, number
/// of threads), on one line, so that equal runs write equal files.
std::string run_for_model(const std::string& document);

/// Of `test`: the data, the operator, the score test and the tests that were asked for beside it.
std::string json_test_report(const RunRecord& record, const Job& job, const PreparedJob& prepared,
                             const ScoreTest& test, const FurtherTests& further = {});

/// Of `predict`: the model's description and the predictions.
std::string json_prediction_report(const RunRecord& record, const FittedModel& model,
                                   const Predictions& predictions);

/// Of `kernel`: the data and the operator.
std::string json_kernel_report(const RunRecord& record, const DataReport& data,
                               const std::string& description, Index rows, Index cols);

/// Of `simulate`: what was drawn, without the data.
std::string json_simulation_report(const RunRecord& record, const SimulationOptions& options,
                                   const SimulatedData& data);

}  // namespace gradflow
