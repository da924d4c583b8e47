#pragma once

#include <string>

#include "gradflow/model/class_model.h"
#include "gradflow/report/run_record.h"

namespace gradflow {

/// Of a run on classes: the verdict, how good the left-out rows' probabilities are beside those of the class
/// frequencies, the classes, the reliability table, the data and the warnings.
std::string text_class_report(const ClassJob& job, const ClassResult& result);

/// Everything the run found: test.p_value, chosen.time, classes, leave_one_out.log_loss, reliability (of
/// every class too: of_class), ...
std::string json_class_report(const RunRecord& record, const ClassJob& job, const ClassResult& result);

/// Of `predict`: the model's description and the probabilities, a list for each class.
std::string json_class_prediction_report(const RunRecord& record, const ClassModel& model,
                                         const ClassPredictions& predictions);

}  // namespace gradflow
