#include "gradflow/training/run.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "training/test_problems.h"

namespace gradflow {
namespace {

using namespace training_tests;

TrainerOptions adam() {
  TrainerOptions options;
  options.optimiser.kind = OptimiserKind::adam;
  options.optimiser.learning_rate = 1e-3;
  options.batch = 16;
  return options;
}

std::string file_name(const char* name) {
  return (std::filesystem::temp_directory_path() / fmt::format("gradflow-{}-{}", name, getpid())).string();
}

TEST(Run, EndsAtItsStepsOrItsTime) {
  const TrainingSet set = small_set(30, 4);
  const auto network = network_of("tanh:5", 4);
  TrainerOptions options;
  options.optimiser.learning_rate = 0.03;
  Trainer trainer(*network, set, options);

  const TrainingRun first = run_training(trainer, {.max_steps = 7});
  const TrainingRun second = run_training(trainer, {.stop_time = 1.0});

  EXPECT_EQ(first.end, TrainingEnd::steps);
  EXPECT_EQ(first.steps, 7);
  EXPECT_EQ(second.end, TrainingEnd::time);
  EXPECT_DOUBLE_EQ(second.time, 1.0);
  EXPECT_EQ(second.steps, 34);  // 33 whole steps and a part
}

TEST(Run, ReportsDivergenceAsAnEnd) {
  const TrainingSet set = small_set(30, 4);
  const auto network = network_of("linear", 4);
  TrainerOptions options;
  options.optimiser.learning_rate = 50.0;
  Trainer trainer(*network, set, options);

  const TrainingRun run = run_training(trainer, {.max_steps = 1000});

  EXPECT_EQ(run.end, TrainingEnd::diverged);
  EXPECT_TRUE(network->parameters().allFinite());
  EXPECT_NE(run.reason.find("step"), std::string::npos);
}

// A child trains with a checkpoint after every step and is killed; its checkpoint is then finished by
// another.
TEST(Run, KilledAtAnyMomentItGoesOnWithTheSameBits) {
  const TrainingSet set = small_set(60, 4);
  constexpr Index steps = 400;
  const auto whole = network_of("relu:10x2", 4);
  Trainer reference(*whole, set, adam());
  run_training(reference, {.max_steps = steps});
  const std::string path = file_name("killed");
  int resumed = 0;
  for (const int milliseconds : {2, 5, 9, 14, 20, 27, 35, 44, 54, 65}) {
    std::filesystem::remove(path);
    const pid_t child = fork();
    if (child == 0) {
      set_threads(1);
      const auto network = network_of("relu:10x2", 4);
      Trainer trainer(*network, set, adam());
      run_training(trainer,
                   {.max_steps = 1000000000, .checkpoint = path, .seconds_between_checkpoints = 0.0});
      _exit(0);
    }
    usleep(static_cast<useconds_t>(1000 * milliseconds));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);

    const auto network = network_of("relu:10x2", 4);
    Trainer trainer(*network, set, adam());
    const TrainingRun run = run_training(trainer, {.max_steps = steps, .checkpoint = path});

    if (run.resumed_at >= 0) ++resumed;
    if (run.resumed_at <= steps) {
      EXPECT_EQ(network->parameters(), whole->parameters()) << run.resumed_at;
    }
    EXPECT_FALSE(std::filesystem::exists(path));
  }
  EXPECT_GT(resumed, 0);
}

TEST(Run, RefusesACheckpointOfAnotherTraining) {
  const TrainingSet set = small_set(60, 4);
  const std::string path = file_name("other");
  const auto network = network_of("tanh:5", 4);
  Trainer trainer(*network, set, adam());
  TensorFile file;
  file.metadata["gradflow_training"] = "one";
  trainer.save(file);
  write_safetensors(path, file);

  EXPECT_THROW(run_training(trainer, {.checkpoint = path, .fingerprint = "two"}), InputError);
  EXPECT_NO_THROW(run_training(trainer, {.max_steps = 1, .checkpoint = path, .fingerprint = "one"}));
}

}  // namespace
}  // namespace gradflow
