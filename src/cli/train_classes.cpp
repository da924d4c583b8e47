#include "cli/train_classes.h"

#include "cli/class_command.h"
#include "cli/make_job.h"
#include "cli/new_rows.h"
#include "cli/output.h"
#include "cli/train_network.h"
#include "cli/training_request.h"
#include "gradflow/base/atomic_file.h"
#include "gradflow/base/error.h"
#include "gradflow/model/class_job.h"
#include "gradflow/model/trained_class_model.h"

namespace gradflow::cli {
namespace {

ClassDataset load(const Job& job) {
  DatasetOptions options = job.dataset;
  options.feature_shape = job.operator_spec.array_shape();
  return load_class_dataset(job.source, options);
}

// Squared loss has an intercept for each class beside the network, cross-entropy none.
TrainingSet make_set(const ClassDataset& data, bool intercept) {
  return {data.data.X, indicators(data.labels, static_cast<Index>(data.classes.size())),
          design_of(data.data.Z, intercept)};
}

TrainingContext make_context(const ClassDataset& data, TrainRequest request,
                             const TrainableNetwork& network) {
  TrainingContext context{.request = std::move(request),
                          .data = data.data.report,
                          .response = data.data.recipe.options.target,
                          .network = network.description(),
                          .rows = data.data.X.rows(),
                          .features = data.data.X.cols(),
                          .parameters = network.parameters().size(),
                          .classes = data.classes,
                          .class_rows = std::vector<Index>(data.classes.size(), 0)};
  context.data.warnings = warnings_of(data);
  for (const Index label : data.labels) ++context.class_rows[static_cast<std::size_t>(label)];
  return context;
}

}  // namespace

int train_classes(Invocation& invocation) {
  const Settings s = training_settings(invocation.settings);
  const Job job = make_job(s, Purpose::training);
  const ClassDataset data = load(job);
  TrainRequest request = make_request(s, data.data.X.rows());
  const bool logits = request.trainer.loss == TrainingLoss::cross_entropy;
  if (logits && s.no_intercept)
    throw InputError("--no-intercept is for squared loss: cross-entropy has no intercept beside the network");
  const auto K = static_cast<Index>(data.classes.size());
  const auto network = make_class_network(s, job, data);
  const TrainingSet set = make_set(data, !logits && !s.no_intercept);
  TrainingContext context = make_context(data, std::move(request), *network);
  context.request.held_out =
      held_out_rows(s, data.data.recipe, set.design.cols() > 0, data.classes, context.data.warnings);
  invocation.record.seed = context.request.trainer.seed;
  const TrainReport report = train_with_progress(*network, set, context, s);
  std::string note;
  if (has_weights(report) && !(s.output.empty() && s.onnx.empty())) {
    const Vector intercept =
        set.design.cols() > 0 ? Vector(report.coefficients.row(0).transpose()) : Vector(Vector::Zero(K));
    const TrainedClassModel model =
        make_trained_class_model(data, *network, context.request.trainer.loss, intercept);
    if (!s.output.empty()) model.save(s.output);
    if (!s.onnx.empty()) model.save_onnx(s.onnx);
    note = standardising_note(network->layered(), model.network);
    if (!logits)
      note += "Their predictions are classes without probabilities, which squared loss does not give.\n";
  }
  return give_training(invocation, s, context, report, note);
}

int predict_trained_classes(Invocation& invocation) {
  const Settings& s = invocation.settings;
  check_trained_prediction(s, "a trained network of classes");
  const TrainedClassModel model = TrainedClassModel::load(s.model);
  const NewRows rows = read_new_rows(s, model.recipe);
  const ClassPredictions predictions = predict(model, rows);
  if (!s.json.empty())
    write_file_atomically(s.json,
                          json_trained_class_prediction_report(invocation.record, model, predictions));
  warn(predictions.warnings);
  give_predictions(s, rows, class_predictions_csv(model.classes, predictions));
  return exit_usable;
}

}  // namespace gradflow::cli
