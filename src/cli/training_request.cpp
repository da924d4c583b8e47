#include "cli/training_request.h"

#include <algorithm>
#include <cstdio>

#include "cli/numbers.h"
#include "cli/output.h"
#include "cli/terminal_progress.h"
#include "gradflow/base/atomic_file.h"
#include "gradflow/base/error.h"
#include "gradflow/model/memory.h"

namespace gradflow::cli {
namespace {

double fraction_below_one(const std::string& option, const std::string& text) {
  const double value = nonnegative_number(option, text);
  if (value >= 1.0) throw InputError(fmt::format("{} {}: must be in [0, 1)", option, text));
  return value;
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

void require_stop(const char* option, TrainingStop its, TrainingStop given) {
  if (its == given) return;
  throw InputError(
      fmt::format("{} is for --stop {}, and the stop is {}", option, to_string(its), to_string(given)));
}

// How many trainings a stop makes; the library refuses what is too large.
void set_repetitions(const Settings& s, TrainRequest& request) {
  constexpr Index most = 1 << 20;
  if (!s.training_folds.empty()) {
    require_stop("--folds", TrainingStop::cross_validation, request.stop);
    request.folds = static_cast<int>(std::min(count_of("--folds", s.training_folds, 2), most));
  }
  if (s.training_twins.empty()) return;
  require_stop("--twins", TrainingStop::follow_gdf, request.stop);
  const Index twins = count_of("--twins", s.training_twins, 1);
  if (twins > TrainedGcvOptions::most_twins)
    throw InputError(
        fmt::format("--twins {}: must be at most {}", s.training_twins, TrainedGcvOptions::most_twins));
  request.twins = static_cast<int>(twins);
}

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

void check_training_files(const Settings& s) {
  const std::vector<std::string> inputs{s.table, s.features, s.response, s.weights, s.held_out};
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

// Says what much memory is for before it is taken, or that it is not there.
void check_memory(const TrainableNetwork& network, const TrainingContext& context, const Settings& s) {
  constexpr double spare = 0.9, worth_a_line = 0.5e9;
  const double available = spare * available_memory();
  if (available > 0.0 && context.memory > available)
    throw InputError(fmt::format(
        "training '{}' on {} rows needs about {:.3g} GB of memory, and {:.3g} GB are available: give fewer "
        "rows or a smaller network{}",
        context.network, context.rows, context.memory / 1e9, available / 1e9,
        network.precision() == Precision::float32 ? "" : ", or of a dense one --precision float32"));
  if (context.memory > worth_a_line && !s.quiet)
    std::fputs(fmt::format("gradflow: training {} parameters on {} rows; at most {:.2g} GB of memory\n",
                           context.parameters, context.rows, context.memory / 1e9)
                   .c_str(),
               stderr);
}

void check_no_cross(const Settings& s, const std::string& what) {
  if (!s.cross.empty() || !s.cross_diagonal.empty())
    throw InputError(fmt::format("--cross is for models of --operator, and '{}' is {}", s.model, what));
}

}  // namespace

Settings training_settings(const Settings& settings) {
  Settings s = settings;
  check_training_files(s);
  s.network = network_text(s);
  check_parameterization(s);
  return s;
}

double level_of_trained(const Settings& s, bool errors_known) {
  constexpr double usual = 0.95;
  if (!errors_known && s.interval == "cross-validated")
    throw InputError(
        fmt::format("'{}' is a trained network that no rows were left out of: its predictions come without "
                    "intervals unless it is trained with --stop cross-validation",
                    s.model));
  if (!errors_known) {
    check_trained_prediction(s, "a trained network");
    return usual;
  }
  if (!s.interval.empty() && s.interval != "cross-validated" && s.interval != "none")
    throw InputError(
        fmt::format("--interval {}: '{}' is a trained network, whose intervals are "
                    "cross-validated (the default) or none",
                    s.interval, s.model));
  check_no_cross(s, "a trained network");
  return s.level.empty() ? usual : open_fraction("--level", s.level);
}

void check_trained_prediction(const Settings& s, const std::string& what) {
  if (!s.level.empty() || (!s.interval.empty() && s.interval != "model" && s.interval != "none"))
    throw InputError(fmt::format("'{}' is {}: its predictions come without intervals", s.model, what));
  check_no_cross(s, what);
}

TrainRequest make_request(const Settings& s, Index rows) {
  TrainRequest request;
  request.trainer.optimiser = make_optimiser(s);
  const bool classes = s.target_is_class;
  const char* usual = classes ? "cross-entropy" : "half-mse";
  request.trainer.loss = parse_training_loss(s.training_loss.empty() ? usual : s.training_loss);
  const bool cross_entropy = request.trainer.loss == TrainingLoss::cross_entropy;
  if (cross_entropy && !classes) throw InputError("--loss cross-entropy is for classes: give --classes too");
  request.trainer.batch = s.batch.empty() || s.batch == "all" ? 0 : count_of("--batch", s.batch, 1);
  if (request.trainer.batch >= rows) request.trainer.batch = 0;
  request.trainer.seed = whole_number("--seed", s.seed);
  if (!s.learning_rate.empty()) request.learning_rate = positive_number("--learning-rate", s.learning_rate);
  if (!s.steps.empty() && !s.stop.empty() && s.stop != "steps")
    throw InputError("--steps and --stop: give one, a number of steps or a rule; --max-steps limits a rule");
  const TrainingStop rule = classes ? TrainingStop::validation : TrainingStop::reml_risk;
  request.stop =
      s.stop.empty() ? (s.steps.empty() ? rule : TrainingStop::steps) : parse_training_stop(s.stop);
  if (request.stop == TrainingStop::steps) {
    if (s.steps.empty()) throw InputError("--stop steps needs --steps");
    request.steps = count_of("--steps", s.steps, 1);
  }
  request.max_steps = count_of("--max-steps", s.max_steps, 1);
  request.trainer.schedule = make_schedule(s, request.steps);
  request.validation_fraction = open_fraction("--validation-fraction", s.validation_fraction);
  request.refit = !s.no_refit;
  if (s.no_refit) require_stop("--no-refit", TrainingStop::validation, request.stop);
  set_repetitions(s, request);
  request.watch = !s.no_watch;
  request.watching.seed = request.trainer.seed;
  request.checkpoint = s.checkpoint;
  request.seconds_between_checkpoints = nonnegative_number("--checkpoint-seconds", s.checkpoint_seconds);
  return request;
}

TrainReport train_with_progress(TrainableNetwork& network, const TrainingSet& set, TrainingContext& context,
                                const Settings& s) {
  context.memory = training_memory(network, set, context.request);
  check_memory(network, context, s);
  TerminalProgress progress(!s.quiet);
  context.request.progress = &progress;
  TrainReport report = train(network, set, context.request);
  context.request.progress = nullptr;
  return report;
}

bool has_weights(const TrainReport& report) {
  return usable(report.outcome) || report.run.end == TrainingEnd::diverged ||
         report.outcome == Outcome::iteration_limit;
}

int give_training(Invocation& invocation, const Settings& s, const TrainingContext& context,
                  const TrainReport& report, const std::string& note) {
  const bool is_usable = usable(report.outcome);
  invocation.document = json_training_report(invocation.record, context, report);
  if (!s.json.empty()) write_file_atomically(s.json, invocation.document);
  if (!s.watch.empty()) write_file_atomically(s.watch, json_watch_report(invocation.record, report));
  if (!s.quiet) print(text_training_report(context, report));
  if (!is_usable) std::fputs(fmt::format("gradflow: {}\n", report.reason).c_str(), stderr);
  if (has_weights(report) && !s.quiet) {
    if (!s.output.empty()) print(fmt::format("Weights written to {}.\n", s.output));
    if (!s.onnx.empty()) print(fmt::format("ONNX written to {}.\n", s.onnx));
    if (!s.output.empty() || !s.onnx.empty()) print(note);
  }
  return is_usable ? exit_usable : exit_not_usable;
}

}  // namespace gradflow::cli
