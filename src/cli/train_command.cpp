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

constexpr const char* network_group = "Network";
constexpr const char* training_group = "Training";
constexpr const char* output_group = "Output";

TrainingSet make_set(const Dataset& data, bool intercept) {
  TrainingSet set{data.X, data.y, Matrix(data.X.rows(), data.Z.cols() + (intercept ? 1 : 0))};
  if (intercept) set.design.col(0).setOnes();
  set.design.rightCols(data.Z.cols()) = data.Z;
  return set;
}

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

}  // namespace

void add_training_options(CLI::App& command, Settings& s) {
  const auto option = [&](const std::string& names, std::string& target, const std::string& help,
                          const char* type, const char* group = training_group) {
    command.add_option(names, target, help)->group(group)->type_name(type)->capture_default_str();
  };
  const auto flag = [&](const std::string& names, bool& target, const std::string& help,
                        const char* group = training_group) {
    command.add_flag(names, target, help)->group(group);
  };
  option("--network", s.network,
         "ACTIVATION:WIDTHxLAYERS (default: relu:128x2), layers as 'dense:64 relu dense:1', or FILE.json",
         "TEXT", network_group);
  option("--width", s.width, "Of the hidden layers, instead of --network", "INTEGER", network_group);
  option("--depth", s.depth, "Number of hidden layers, instead of --network", "INTEGER", network_group);
  option("--activation", s.activation, "Instead of --network", "NAME", network_group);
  option("--weights", s.weights, "Start from these: NPZ or safetensors", "FILE", network_group);
  option("--parameterization", s.parameterization, "standard (PyTorch's default) or ntk", "KIND",
         network_group);
  flag("--no-bias", s.no_bias, "A network without biases", network_group);
  option("--sw2", s.sw2, "Weight variance under ntk (default: 2)", "NUMBER", network_group);
  option("--sb2", s.sb2, "Bias variance under ntk (default: 0.1)", "NUMBER", network_group);
  option("--center", s.center, "Output zero at the start: none, copies or zero-last-layer", "HOW",
         network_group);
  option("--seed", s.seed, "Of weights, batches, held-out rows and probes", "INTEGER", network_group);
  flag("--no-intercept", s.no_intercept, "No intercept beside the network", network_group);

  option("--optimizer", s.optimizer, "gd, momentum, nesterov, adam or adamw", "NAME");
  option("--learning-rate,--lr", s.learning_rate,
         "Default: from the operator's largest eigenvalue; 0.001 for adam and adamw", "NUMBER");
  option("--momentum", s.momentum, "Of momentum and nesterov (default: 0.9)", "NUMBER");
  option("--weight-decay", s.weight_decay, "d >= 0", "NUMBER");
  option("--decay-to", s.decay_to, "Where weight decay draws to: zero or initial", "WHERE");
  option("--schedule", s.schedule, "Of the learning rate: constant, step (a tenth each period) or cosine",
         "NAME");
  option("--schedule-period", s.schedule_period, "Steps (default: from --steps)", "INTEGER");
  option("--warm-up", s.warm_up, "Steps over which the learning rate rises", "INTEGER");
  option("--batch", s.batch, "Rows of a step (default: all)", "INTEGER");
  flag("--classes", s.target_is_class, "The target column is a class: one output for each", "Classes");
  option(
      "--loss", s.training_loss,
      "half-mse, 1/(2n) sum (f-y)^2 (default), or mse, without 1/2; of classes cross-entropy (default), or "
      "these on the indicators",
      "NAME");
  option("--precision", s.training_precision, "Of the passes: float64 or float32", "TYPE");
  option("--stop", s.stop,
         "reml-risk (default), reml-flow, follow, follow-flow, follow-gcv, validation or steps; of classes "
         "validation (default), steps, and with squared loss reml-risk or reml-flow",
         "RULE");
  option("--steps", s.steps, "Stop after so many steps", "INTEGER");
  option("--max-steps", s.max_steps, "Most steps of a rule", "INTEGER");
  option("--validation-fraction", s.validation_fraction, "Part of the rows that stop validation holds out",
         "NUMBER");
  flag("--no-refit", s.no_refit, "Stop validation: keep the weights trained without the rows held out");
  option("--checkpoint", s.checkpoint, "State of the training: the same command goes on from it", "FILE");
  option("--checkpoint-seconds", s.checkpoint_seconds, "Between two checkpoints", "NUMBER");

  option("-o,--output,--out", s.output, "Weights as a PyTorch state_dict, safetensors, in raw units", "FILE",
         output_group);
  option("--onnx", s.onnx, "The same network as ONNX", "FILE", output_group);
  option("--watch", s.watch, "What was seen of the training, as JSON", "FILE", output_group);
  flag("--no-watch", s.no_watch, "Do not watch", output_group);
}

int train_command(Invocation& invocation) {
  if (invocation.settings.target_is_class) return train_classes(invocation);
  Settings s = invocation.settings;
  check_outputs(s);
  s.network = network_text(s);
  check_parameterization(s);
  Settings data_settings = s;  // make_job() checks the options of inference too: only those of data are ours
  data_settings.learning_rate.clear();
  data_settings.checkpoint.clear();
  const Job job = make_job(data_settings, Purpose::inference);
  check_supported(s);
  const Dataset data = load(job, s);
  const auto network = make_network(s, job, data);
  const TrainingSet set = make_set(data, !s.no_intercept);
  TrainingContext context{.request = make_request(s, data.X.rows()),
                          .data = data.report,
                          .response = data.recipe.options.target,
                          .network = network->description(),
                          .rows = data.X.rows(),
                          .features = data.X.cols(),
                          .parameters = network->parameters().size(),
                          .response_scale = data.recipe.target_scale};
  invocation.record.seed = context.request.trainer.seed;
  const TrainReport report = train_with_progress(*network, set, context, s);
  std::string written;
  if (has_weights(report)) {
    const double intercept = s.no_intercept ? 0.0 : report.coefficients(0, 0);
    written = write_network(s, job, data, *network, intercept);
    context.weights_written = !s.output.empty();
  }
  const int status = give_training(invocation, s, context, report);
  if (!s.quiet) print(written);
  return status;
}

int predict_trained(Invocation& invocation) {
  const Settings& s = invocation.settings;
  if (!s.level.empty() || s.interval == "jackknife+" || s.interval == "leave-one-out")
    throw InputError(
        fmt::format("'{}' is a trained network: its predictions come without intervals", s.model));
  if (!s.cross.empty() || !s.cross_diagonal.empty())
    throw InputError(
        fmt::format("--cross is for models of --operator, and '{}' is a trained network", s.model));
  const auto give = [&](const auto& model) {
    const NewRows rows = read_new_rows(s, model.recipe);
    const Predictions predictions = predict(model, rows);
    if (!s.json.empty())
      write_file_atomically(
          s.json, json_trained_prediction_report(invocation.record, model.network.text(), predictions));
    warn(predictions.warnings);
    give_predictions(s, rows, predictions_csv(predictions));
  };
  if (is_trained_layers(s.model))
    give(TrainedLayers::load(s.model));
  else
    give(TrainedModel::load(s.model));
  return exit_usable;
}

}  // namespace gradflow::cli
