#pragma once

#include <string>

#include "gradflow/data/dataset.h"
#include "gradflow/model/fitted_model.h"
#include "gradflow/model/trained_class_model.h"
#include "gradflow/report/run_record.h"
#include "gradflow/training/train.h"

namespace gradflow {

/// What was trained on what; the report's numbers of the training itself are TrainReport's.
struct TrainingContext {
  TrainRequest request;
  DataReport data;
  std::string response;
  std::string network;  ///< one line
  Index rows = 0, features = 0, parameters = 0;
  double memory = 0.0;                 ///< bytes at most, about (training_memory()); 0: not known
  double response_scale = 1.0;         ///< losses are of the response divided by this
  std::vector<std::string> classes{};  ///< names; empty: the response is a number
  std::vector<Index> class_rows{};     ///< rows of each
};

/// The end of the training, its time in steps and along the flow, the losses, the verdict of the watch, the
/// following stop's looks, and the warnings; of classes the accuracies, and whether they collapsed.
std::string text_training_report(const TrainingContext& context, const TrainReport& report);

/// Everything: training.outcome, training.steps, training.time, learning_rate, verdict.lazy,
/// cross_validation, trained_gcv, follow, watch...
std::string json_training_report(const RunRecord& record, const TrainingContext& context,
                                 const TrainReport& report);

/// Of a trained network's predictions: their sd is null, and so are intervals where no rows were left out.
std::string json_trained_prediction_report(const RunRecord& record, const std::string& network,
                                           const Predictions& predictions);

/// Of a trained network's class predictions; of squared loss the probabilities are null.
std::string json_trained_class_prediction_report(const RunRecord& record, const TrainedClassModel& model,
                                                 const ClassPredictions& predictions);

/// The watch alone: a list of looks and the verdict.
std::string json_watch_report(const RunRecord& record, const TrainReport& report);

}  // namespace gradflow
