#include "cli/train_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "cli/make_job.h"
#include "cli/new_rows.h"
#include "cli/numbers.h"
#include "cli/output.h"
#include "cli/terminal_progress.h"
#include "gradflow/base/atomic_file.h"
#include "gradflow/base/error.h"
#include "gradflow/model/trained_model.h"
#include "gradflow/operators/make_operator.h"
#include "gradflow/report/training_report.h"

namespace gradflow::cli {
namespace {

constexpr const char* network_group = "Network";
constexpr const char* training_group = "Training";
constexpr const char* output_group = "Output";

Index count_of(const std::string& option, const std::string& text, Index least) {
  constexpr std::uint64_t most = std::uint64_t{1} << 40;
  const auto count = static_cast<Index>(std::min(whole_number(option, text), most));
  if (count < least) throw InputError(fmt::format("{} {}: must be >= {}", option, text, least));
  return count;
}

double fraction_below_one(const std::string& option, const std::string& text) {
  const double value = nonnegative_number(option, text);
  if (value >= 1.0) throw InputError(fmt::format("{} {}: must be in [0, 1)", option, text));
  return value;
}

// --width, --depth and --activation are another way to say --network.
std::string network_text(const Settings& s) {
  const bool parts = !s.width.empty() || !s.depth.empty() || !s.activation.empty();
  if (!s.network.empty() && parts)
    throw InputError("--network and --width, --depth or --activation: give one or the other");
  if (!s.network.empty() || (!s.weights.empty() && !parts)) return s.network;
  const Index width = s.width.empty() ? 128 : count_of("--width", s.width, 1);
  const Index depth = s.depth.empty() ? 2 : count_of("--depth", s.depth, 0);
  if (depth == 0) return "linear";
  return fmt::format("{}:{}x{}", s.activation.empty() ? "relu" : s.activation, width, depth);
}

void check_parameterization(const Settings& s) {
  if (!s.parameterization.empty() && s.parameterization != "standard" && s.parameterization != "ntk")
    throw InputError(fmt::format("--parameterization {}: must be standard or ntk", s.parameterization));
}

OptimiserOptions make_optimiser(const Settings& s) {
  OptimiserOptions optimiser;
  optimiser.kind = parse_optimiser(s.optimizer);
  const bool adam = !has_flow_time(optimiser.kind);
  if (!s.momentum.empty()) {
    if (adam || optimiser.kind == OptimiserKind::gd)
      throw InputError(
          fmt::format("--momentum is for --optimizer momentum and nesterov, and it is {}", s.optimizer));
    optimiser.momentum = fraction_below_one("--momentum", s.momentum);
  }
  optimiser.weight_decay = nonnegative_number("--weight-decay", s.weight_decay);
  if (s.decay_to != "zero" && s.decay_to != "initial")
    throw InputError(fmt::format("--decay-to {}: must be zero or initial", s.decay_to));
  optimiser.anchor = s.decay_to == "zero" ? DecayAnchor::zero : DecayAnchor::initial;
  return optimiser;
}

Schedule make_schedule(const Settings& s, Index steps) {
  Schedule schedule;
  schedule.kind = parse_schedule(s.schedule);
  schedule.warm_up = count_of("--warm-up", s.warm_up, 0);
  if (!s.schedule_period.empty())
    schedule.period = count_of("--schedule-period", s.schedule_period, 1);
  else if (steps > 0)
    schedule.period = schedule.kind == ScheduleKind::step ? std::max<Index>(1, steps / 3) : steps;
  else if (schedule.kind != ScheduleKind::constant)
    throw InputError(fmt::format("--schedule {} needs --schedule-period or --steps", s.schedule));
  return schedule;
}

TrainRequest make_request(const Settings& s, Index rows) {
  TrainRequest request;
  request.trainer.optimiser = make_optimiser(s);
  request.trainer.loss = parse_training_loss(s.loss);
  if (request.trainer.loss == TrainingLoss::cross_entropy)
    throw InputError(
        "--loss cross-entropy is for classes, which gradflow train does not take yet: the library does");
  request.trainer.batch = s.batch.empty() || s.batch == "all" ? 0 : count_of("--batch", s.batch, 1);
  if (request.trainer.batch >= rows) request.trainer.batch = 0;
  request.trainer.seed = whole_number("--seed", s.seed);
  if (!s.learning_rate.empty()) request.learning_rate = positive_number("--learning-rate", s.learning_rate);
  if (!s.steps.empty() && !s.stop.empty() && s.stop != "steps")
    throw InputError("--steps and --stop: give one, a number of steps or a rule; --max-steps limits a rule");
  request.stop = s.stop.empty() ? (s.steps.empty() ? TrainingStop::reml_risk : TrainingStop::steps)
                                : parse_training_stop(s.stop);
  if (request.stop == TrainingStop::steps) {
    if (s.steps.empty()) throw InputError("--stop steps needs --steps");
    request.steps = count_of("--steps", s.steps, 1);
  }
  request.max_steps = count_of("--max-steps", s.max_steps, 1);
  request.trainer.schedule = make_schedule(s, request.steps);
  request.validation_fraction = open_fraction("--validation-fraction", s.validation_fraction);
  request.refit = !s.no_refit;
  request.watch = !s.no_watch;
  request.watching.seed = request.trainer.seed;
  request.checkpoint = s.checkpoint;
  request.seconds_between_checkpoints = nonnegative_number("--checkpoint-seconds", s.checkpoint_seconds);
  return request;
}

TrainingSet make_set(const Dataset& data, bool intercept) {
  TrainingSet set{data.X, data.y, Matrix(data.X.rows(), data.Z.cols() + (intercept ? 1 : 0))};
  if (intercept) set.design.col(0).setOnes();
  set.design.rightCols(data.Z.cols()) = data.Z;
  return set;
}

// What the other commands take and training does not.
void check_supported(const Settings& s, const Job& job) {
  if (job.operator_spec.layered)
    throw InputError(
        fmt::format("--network {}: gradflow train takes dense networks, as relu:128x2; those of layers are "
                    "for test, stop "
                    "and fit",
                    s.network));
  if (!s.row_weights.empty())
    throw InputError("--row-weights is not for gradflow train, which takes every row alike");
}

void check_outputs(const Settings& s) {
  const std::vector<std::string> inputs{s.table, s.features, s.response, s.weights};
  const std::vector<std::pair<std::string, std::string>> outputs{{"-o", s.output},
                                                                 {"--onnx", s.onnx},
                                                                 {"--json", s.json},
                                                                 {"--watch", s.watch},
                                                                 {"--checkpoint", s.checkpoint}};
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    require_writable(outputs[i].second, inputs);
    for (std::size_t j = 0; j < i; ++j)
      if (same_file(outputs[i].second, outputs[j].second))
        throw InputError(fmt::format("{} and {} name the same file, '{}'", outputs[j].first, outputs[i].first,
                                     outputs[i].second));
  }
  if (!s.watch.empty() && s.no_watch) throw InputError("--watch and --no-watch: give one");
}

Dataset load(const Job& job, const Settings& s) {
  Dataset data = load_dataset(job.source, job.dataset);
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
  option("--network", s.network, "ACTIVATION:WIDTHxLAYERS (default: relu:128x2)", "TEXT", network_group);
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
  option("--loss", s.loss, "half-mse, 1/(2n) sum (f-y)^2, or mse, without 1/2", "NAME");
  option("--precision", s.training_precision, "Of the passes: float64 or float32", "TYPE");
  option("--stop", s.stop,
         "reml-risk (default), reml-flow, follow, follow-flow, follow-gcv, validation or steps", "RULE");
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
  Settings s = invocation.settings;
  check_outputs(s);
  s.network = network_text(s);
  check_parameterization(s);
  if (s.training_precision != "float64" && s.training_precision != "float32")
    throw InputError(fmt::format("--precision {}: must be float64 or float32", s.training_precision));
  const Precision precision = s.training_precision == "float32" ? Precision::float32 : Precision::float64;
  Settings data_settings = s;  // make_job() checks the options of inference too: only those of data are ours
  data_settings.learning_rate.clear();
  data_settings.checkpoint.clear();
  data_settings.loss = "half-mse";
  const Job job = make_job(data_settings, Purpose::inference);
  check_supported(s, job);
  const Dataset data = load(job, s);
  const KernelSource source = KernelSource::make(job.operator_spec, data.X.cols());
  const auto network = make_trainable(*source.network(), parse_centring(s.center), precision);
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
  const TrainReport report = [&] {
    TerminalProgress progress(!s.quiet);
    context.request.progress = &progress;
    return train(*network, set, context.request);
  }();
  context.request.progress = nullptr;
  const bool is_usable = usable(report.outcome);
  const bool diverged = report.run.end == TrainingEnd::diverged;
  if (is_usable || diverged || report.outcome == Outcome::iteration_limit) {
    const double intercept = s.no_intercept ? 0.0 : report.coefficients(0, 0);
    if (!s.output.empty()) make_trained_model(data.recipe, network->dense(), intercept).save(s.output);
    if (!s.onnx.empty()) make_trained_model(data.recipe, network->dense(), intercept).save_onnx(s.onnx);
    context.weights_written = !s.output.empty();
  }
  invocation.document = json_training_report(invocation.record, context, report);
  if (!s.json.empty()) write_file_atomically(s.json, invocation.document);
  if (!s.watch.empty()) write_file_atomically(s.watch, json_watch_report(invocation.record, report));
  if (!s.quiet) print(text_training_report(context, report));
  if (!is_usable) std::fputs(fmt::format("gradflow: {}\n", report.reason).c_str(), stderr);
  if (context.weights_written && !s.quiet) print(fmt::format("Weights written to {}.\n", s.output));
  return is_usable ? exit_usable : exit_not_usable;
}

int predict_trained(Invocation& invocation) {
  const Settings& s = invocation.settings;
  if (!s.level.empty() || s.interval == "jackknife+" || s.interval == "leave-one-out")
    throw InputError(
        fmt::format("'{}' is a trained network: its predictions come without intervals", s.model));
  if (!s.cross.empty() || !s.cross_diagonal.empty())
    throw InputError(
        fmt::format("--cross is for models of --operator, and '{}' is a trained network", s.model));
  const TrainedModel model = TrainedModel::load(s.model);
  const NewRows rows = read_new_rows(s, model.recipe);
  const Predictions predictions = predict(model, rows);
  if (!s.json.empty())
    write_file_atomically(
        s.json, json_trained_prediction_report(invocation.record, to_string(model.network.architecture()),
                                               predictions));
  warn(predictions.warnings);
  give_predictions(s, rows, predictions_csv(predictions));
  return exit_usable;
}

}  // namespace gradflow::cli
