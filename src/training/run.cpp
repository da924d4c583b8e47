#include "gradflow/training/run.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>

#include "gradflow/base/error.h"

namespace gradflow {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double landed = 1.0 - 1e-12;  // of a time: the last step's rounding
constexpr const char* fingerprint_key = "gradflow_training";

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class Run {
 public:
  Run(Trainer& trainer, const RunOptions& options) : trainer_(trainer), options_(options) {}

  TrainingRun go() {
    const auto start = Clock::now();
    resume();
    last_checkpoint_ = Clock::now();
    while (!ended()) {
      if (!trainer_.step(time_left())) {
        end(TrainingEnd::diverged,
            fmt::format("the loss was no longer finite, or {:g} times that at the start, at step {}; the "
                        "weights are those of step {}",
                        trainer_.options().divergence, trainer_.diverged_at(), trainer_.steps()));
        break;
      }
      checkpoint();
      progress();
    }
    if (!options_.checkpoint.empty()) {
      std::error_code ignored;
      std::filesystem::remove(options_.checkpoint, ignored);
    }
    run_.steps = trainer_.steps();
    run_.time = trainer_.time();
    run_.seconds = seconds_since(start);
    return run_;
  }

 private:
  void resume() {
    const auto file = read_checkpoint(options_.checkpoint, fingerprint_key, options_.fingerprint);
    if (!file) return;
    trainer_.restore(*file);
    for (Monitor* monitor : options_.monitors) monitor->restore(*file);
    run_.resumed_at = trainer_.steps();
  }

  void end(TrainingEnd why, std::string reason) {
    run_.end = why;
    run_.reason = std::move(reason);
  }

  bool ended() {
    for (Monitor* monitor : options_.monitors) {
      const Due due = monitor->due();
      if (trainer_.steps() < due.step && !(trainer_.time() >= due.time * landed)) continue;
      const auto start = Clock::now();
      std::string reason = monitor->look(trainer_);
      run_.monitor_seconds += seconds_since(start);
      double factor = 1.0;
      for (const Monitor* each : options_.monitors) factor = std::min(factor, each->rate_factor());
      trainer_.set_rate_factor(factor);
      if (reason.empty()) continue;
      end(TrainingEnd::monitor, std::move(reason));
      return true;
    }
    if (trainer_.time() >= options_.stop_time * landed) {
      end(TrainingEnd::time, fmt::format("flow time {:.6g} was reached", options_.stop_time));
      return true;
    }
    if (trainer_.steps() < options_.max_steps) return false;
    end(TrainingEnd::steps, fmt::format("{} steps were done", options_.max_steps));
    return true;
  }

  double time_left() const {
    double next = options_.stop_time;
    for (const Monitor* monitor : options_.monitors) next = std::min(next, monitor->due().time);
    return std::isnan(trainer_.time()) ? std::numeric_limits<double>::infinity() : next - trainer_.time();
  }

  void checkpoint() {
    if (options_.checkpoint.empty()) return;
    if (seconds_since(last_checkpoint_) < options_.seconds_between_checkpoints) return;
    TensorFile file;
    file.metadata[fingerprint_key] = options_.fingerprint;
    trainer_.save(file);
    for (const Monitor* monitor : options_.monitors) monitor->save(file);
    write_safetensors(options_.checkpoint, file);
    last_checkpoint_ = Clock::now();
  }

  void progress() const {
    if (options_.progress == nullptr) return;
    double fraction = options_.max_steps > 0
                          ? static_cast<double>(trainer_.steps()) / static_cast<double>(options_.max_steps)
                          : 1.0;
    if (std::isfinite(options_.stop_time) && options_.stop_time > 0.0 && !std::isnan(trainer_.time()))
      fraction = std::max(fraction, trainer_.time() / options_.stop_time);
    report_progress(options_.progress, "training the network", std::min(fraction, 1.0));
  }

  Trainer& trainer_;
  const RunOptions& options_;
  TrainingRun run_;
  Clock::time_point last_checkpoint_{};
};

}  // namespace

std::string_view to_string(TrainingEnd end) {
  switch (end) {
    case TrainingEnd::steps: return "steps";
    case TrainingEnd::time: return "time";
    case TrainingEnd::monitor: return "stopped";
    case TrainingEnd::diverged: return "diverged";
  }
  throw InternalError("unnamed end of training");
}

TrainingRun run_training(Trainer& trainer, const RunOptions& options) {
  require(options.max_steps >= 0, "steps", options.max_steps, "must be >= 0");
  require(options.stop_time >= 0.0, "stop_time", options.stop_time, "must be >= 0");
  return Run(trainer, options).go();
}

std::optional<TensorFile> read_checkpoint(const std::string& path, const std::string& key,
                                          const std::string& fingerprint) {
  std::error_code ignored;
  if (path.empty() || !std::filesystem::exists(path, ignored)) return std::nullopt;
  TensorFile file = read_safetensors(path);
  const auto found = file.metadata.find(key);
  if (found == file.metadata.end() || found->second != fingerprint)
    throw InputError(fmt::format(
        "the checkpoint '{}' is of other data or options: give those again, or another file", path));
  return file;
}

void write_state(TensorFile& file, const std::string& name, const Matrix& values) {
  // Column by column: only read_state() reads it.
  Array array;
  array.shape = {values.cols(), values.rows()};
  array.values.assign(values.data(), values.data() + values.size());
  file.tensors[name] = std::move(array);
}

Matrix read_state(const TensorFile& file, const std::string& name) {
  const auto found = file.tensors.find(name);
  if (found == file.tensors.end() || found->second.shape.size() != 2)
    throw InputError(fmt::format("the checkpoint has no array '{}': it is another training's", name));
  const Array& array = found->second;
  return Eigen::Map<const Matrix>(array.values.data(), array.shape[1], array.shape[0]);
}

}  // namespace gradflow
