#include "cli/train_command.h"

#include <fmt/format.h>

#include "cli/make_job.h"
#include "cli/new_rows.h"
#include "cli/output.h"
#include "cli/train_classes.h"
#include "cli/train_network.h"
#include "cli/training_request.h"
#include "gradflow/base/atomic_file.h"
#include "gradflow/base/error.h"
#include "gradflow/model/trained_layers.h"
#include "gradflow/model/trained_model.h"
#include "gradflow/report/training_report.h"

namespace gradflow::cli {
namespace {

// What the other commands take and training does not.
void check_supported(const Settings& s) {
  if (!s.row_weights.empty())
    throw InputError("--row-weights is not for gradflow train, which takes every row alike");
}

Dataset load(const Job& job, const Settings& s) {
  DatasetOptions options = job.dataset;
  options.feature_shape = job.operator_spec.array_shape();
  Dataset data = load_dataset(job.source, options);
  if (data.weights.size() > 0) throw InputError("--row-weights has no part in gradflow train");
  if (!data.recipe.covariates.empty() && !(s.output.empty() && s.onnx.empty()))
    throw InputError(
        "--covariates with -o or --onnx: they are fitted beside the network, whose weights alone do not "
        "predict");
  return data;
}

// The options of one group.
class Group {
 public:
  Group(CLI::App& command, const char* name) : command_(command), name_(name) {}

  void option(const std::string& names, std::string& target, const std::string& help, const char* type) {
    command_.add_option(names, target, help)->group(name_)->type_name(type)->capture_default_str();
  }
  void flag(const std::string& names, bool& target, const std::string& help) {
    command_.add_flag(names, target, help)->group(name_);
  }

 private:
  CLI::App& command_;
  const char* name_;
};

void add_network_options(Group group, Settings& s) {
  group.option(
      "--network", s.network,
      "ACTIVATION:WIDTHxLAYERS (default: relu:128x2), layers as 'dense:64 relu dense:1' (dense:K of K "
      "classes), or FILE.json",
      "TEXT");
  group.option("--width", s.width, "Of the hidden layers, instead of --network", "INTEGER");
  group.option("--depth", s.depth, "Number of hidden layers, instead of --network", "INTEGER");
  group.option("--activation", s.activation, "Instead of --network", "NAME");
  group.option("--weights", s.weights, "Start from these: NPZ or safetensors", "FILE");
  group.option("--parameterization", s.parameterization, "standard (PyTorch's default) or ntk", "KIND");
  group.flag("--no-bias", s.no_bias, "A network without biases");
  group.option("--sw2", s.sw2, "Weight variance under ntk (default: 2)", "NUMBER");
  group.option("--sb2", s.sb2, "Bias variance under ntk (default: 0.1)", "NUMBER");
  group.option("--center", s.center, "Output zero at the start: none, copies or zero-last-layer", "HOW");
  group.option("--seed", s.seed, "Of weights, batches, held-out rows and probes", "INTEGER");
  group.flag("--no-intercept", s.no_intercept, "No intercept beside the network");
}

void add_optimiser_options(Group group, Settings& s) {
  group.option("--optimizer", s.optimizer, "gd, momentum, nesterov, adam or adamw", "NAME");
  group.option("--learning-rate,--lr", s.learning_rate,
               "Default: from the operator's largest eigenvalue; 0.001 for adam and adamw", "NUMBER");
  group.option("--momentum", s.momentum, "Of momentum and nesterov (default: 0.9)", "NUMBER");
  group.option("--weight-decay", s.weight_decay, "d >= 0", "NUMBER");
  group.option("--decay-to", s.decay_to, "Where weight decay draws to: zero or initial", "WHERE");
  group.option("--schedule", s.schedule,
               "Of the learning rate: constant, step (a tenth each period) or cosine", "NAME");
  group.option("--schedule-period", s.schedule_period, "Steps (default: from --steps)", "INTEGER");
  group.option("--warm-up", s.warm_up, "Steps over which the learning rate rises", "INTEGER");
  group.option("--batch", s.batch, "Rows of a step (default: all)", "INTEGER");
  group.option(
      "--loss", s.training_loss,
      "half-mse, 1/(2n) sum (f-y)^2 (default), or mse, without 1/2; of classes cross-entropy (default), or "
      "these on the indicators",
      "NAME");
  group.option("--precision", s.training_precision, "Of the passes: float64 or float32", "TYPE");
  group.option("--stop", s.stop,
               "reml-risk (default), reml-flow, follow, follow-flow, follow-gcv, follow-gdf, validation, "
               "cross-validation or steps; "
               "of classes validation (default), cross-validation, steps, and with squared loss reml-risk or "
               "reml-flow",
               "RULE");
  group.option("--steps", s.steps, "Stop after so many steps", "INTEGER");
  group.option("--max-steps", s.max_steps, "Most steps of a rule", "INTEGER");
  group.option("--validation-fraction", s.validation_fraction,
               "Part of the rows that stop validation holds out", "NUMBER");
  group.option("--folds", s.training_folds,
               "Of stop cross-validation, which trains without each of them (default: 5)", "INTEGER");
  group.option("--twins", s.training_twins,
               "Of stop follow-gdf, trainings on disturbed responses (default: 3)", "INTEGER");
  group.flag("--no-refit", s.no_refit, "Stop validation: keep the weights trained without the rows held out");
  group.option("--checkpoint", s.checkpoint, "State of the training: the same command goes on from it",
               "FILE");
  group.option("--checkpoint-seconds", s.checkpoint_seconds, "Between two checkpoints", "NUMBER");
}

void add_training_outputs(Group group, Settings& s) {
  group.option("-o,--output,--out", s.output, "Weights as a PyTorch state_dict, safetensors, in raw units",
               "FILE");
  group.option("--onnx", s.onnx, "The same network as ONNX", "FILE");
  group.option("--watch", s.watch, "What was seen of the training, as JSON", "FILE");
  group.flag("--no-watch", s.no_watch, "Do not watch");
  group.option(
      "--held-out", s.held_out,
      "Rows with responses whose loss is watched and which are not trained on: a table like the data, "
      "or arrays FEATURES,RESPONSE",
      "FILE");
}

Predictions without_intervals(Predictions predictions) {
  predictions.lower.setConstant(std::numeric_limits<double>::quiet_NaN());
  predictions.upper = predictions.lower;
  predictions.interval = IntervalKind::none;
  predictions.statements.clear();
  return predictions;
}

}  // namespace

void add_training_options(CLI::App& command, Settings& s) {
  add_network_options({command, "Network"}, s);
  Group(command, "Classes")
      .flag("--classes", s.target_is_class, "The target column is a class: one output for each");
  add_optimiser_options({command, "Training"}, s);
  add_training_outputs({command, "Output"}, s);
}

int train_command(Invocation& invocation) {
  if (invocation.settings.target_is_class) return train_classes(invocation);
  const Settings s = training_settings(invocation.settings);
  const Job job = make_job(s, Purpose::training);
  check_supported(s);
  const Dataset data = load(job, s);
  const auto network = make_network(s, job, data);
  const TrainingSet set{data.X, data.y, design_of(data.Z, !s.no_intercept)};
  TrainingContext context{.request = make_request(s, data.X.rows()),
                          .data = data.report,
                          .response = data.recipe.options.target,
                          .network = network->description(),
                          .rows = data.X.rows(),
                          .features = data.X.cols(),
                          .parameters = network->parameters().size(),
                          .response_scale = data.recipe.target_scale};
  context.request.held_out = held_out_rows(s, data.recipe, !s.no_intercept, {}, context.data.warnings);
  invocation.record.seed = context.request.trainer.seed;
  const TrainReport report = train_with_progress(*network, set, context, s);
  std::string note;
  if (has_weights(report)) {
    const double intercept = s.no_intercept ? 0.0 : report.coefficients(0, 0);
    LeftOutErrors errors;
    if (const auto& cross = report.cross_validation)
      errors = left_out_errors(data.recipe, data.y, cross->left_out.col(0), cross->folds);
    note = write_network(s, job, data, *network, intercept, errors);
  }
  return give_training(invocation, s, context, report, note);
}

int predict_trained(Invocation& invocation) {
  const Settings& s = invocation.settings;
  const auto give = [&](const auto& model) {
    const double level = level_of_trained(s, model.errors.known());
    const NewRows rows = read_new_rows(s, model.recipe);
    Predictions predictions = predict(model, rows, level);
    if (s.interval == "none") predictions = without_intervals(std::move(predictions));
    if (!s.json.empty())
      write_file_atomically(
          s.json, json_trained_prediction_report(invocation.record, model.network.text(), predictions));
    warn(predictions.warnings);
    give_predictions(s, rows, predictions_csv(predictions), predictions.statements);
  };
  if (is_trained_layers(s.model))
    give(TrainedLayers::load(s.model));
  else
    give(TrainedModel::load(s.model));
  return exit_usable;
}

}  // namespace gradflow::cli
