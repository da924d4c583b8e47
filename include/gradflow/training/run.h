#pragma once

#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "gradflow/base/progress.h"
#include "gradflow/training/trainer.h"

namespace gradflow {

/// When a monitor wants to look next: at a step or at a flow time, whichever is first. Training lands on the
/// time exactly, by shortening a step, where the optimiser has a flow time.
struct Due {
  static constexpr Index never = std::numeric_limits<Index>::max();
  Index step = never;
  double time = std::numeric_limits<double>::infinity();
};

/// Something that looks at a training at points of its own choosing, and may end it.
class Monitor {
 public:
  virtual ~Monitor() = default;
  virtual Due due() const = 0;
  /// Called at theta_0 where due() says so, and whenever the next look is due. A sentence ends the training:
  /// why; "" lets it go on.
  virtual std::string look(const Trainer& trainer) = 0;
  /// What it wants the learning rate multiplied by; the least of all monitors' holds.
  virtual double rate_factor() const { return 1.0; }
  /// All that decides what it does next, under names of its own.
  virtual void save(TensorFile& file) const = 0;
  virtual void restore(const TensorFile& file) = 0;
};

enum class TrainingEnd { steps, time, monitor, diverged };
std::string_view to_string(TrainingEnd end);

struct RunOptions {
  Index max_steps = 100000;                                    ///< >= 0
  double stop_time = std::numeric_limits<double>::infinity();  ///< flow time; for optimisers that have one
  std::vector<Monitor*> monitors{};
  /// File of the state, written atomically; where it exists the training goes on from there, with the same
  /// bits as without the interruption. Removed at the end. Empty: none.
  std::string checkpoint{};
  double seconds_between_checkpoints = 20.0;  ///< 0: after every step
  std::string fingerprint{};                  ///< of data and options: a checkpoint of another is refused
  Progress* progress = nullptr;
};

struct TrainingRun {
  TrainingEnd end = TrainingEnd::steps;
  std::string reason{};
  Index steps = 0;
  double time = std::numeric_limits<double>::quiet_NaN();  ///< flow time; NaN for adam and adamw
  Index resumed_at = -1;                                   ///< step of the checkpoint; -1: there was none
  double seconds = 0.0, monitor_seconds = 0.0;             ///< wall, of this run
};

/// Steps until a limit, a monitor or divergence ends it; divergence is a result, with the last good weights
/// in the network. Throws InputError for a checkpoint of another training, and what monitors and `progress`
/// throw.
TrainingRun run_training(Trainer& trainer, const RunOptions& options);

/// A checkpoint whose metadata have this fingerprint under `key`; nothing where there is no such file or no
/// path. Throws InputError for one of another training.
std::optional<TensorFile> read_checkpoint(const std::string& path, const std::string& key,
                                          const std::string& fingerprint);

/// Vectors and numbers in a checkpoint. read_state() throws InputError when the name is missing.
void write_state(TensorFile& file, const std::string& name, const Matrix& values);
Matrix read_state(const TensorFile& file, const std::string& name);

}  // namespace gradflow
