// A run that is killed, interrupted, out of disk or overtaken by a change of its data.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "cli/process.h"
#include "gradflow/base/random.h"
#include "support/json.h"

namespace gradflow::cli_test {
namespace {

using Names = std::vector<std::string>;

class Interruption : public testing::Test {
 protected:
  void SetUp() override { folder.write("data.csv", csv_of(small_data(rows))); }

  // A checkpoint of a run that was killed in the middle; returns its bytes.
  std::string killed_checkpoint() const {
    Process process(folder.path(), fit);
    EXPECT_TRUE(process.has_written(folder / "run.checkpoint", 100e3)) << process.wait().err;
    process.send(SIGKILL);
    EXPECT_EQ(process.wait().signal, SIGKILL);
    return folder.read("run.checkpoint");
  }

  const Index rows = sanitized ? 200 : 1000;
  TemporaryFolder folder;
  const Words fit{"fit",       "data.csv", "--target", "y",      "--engine",     "krylov",
                  "--storage", "none",     "--seed",   "3",      "--network",    "relu:32x2",
                  "-o",        "m.model",  "--json",   "m.json", "--checkpoint", "run.checkpoint"};
};

// The JSON without what depends on the moment: times, and the memory and speed that the machine has then.
std::string timeless(const std::string& written) {
  auto report = nlohmann::ordered_json::parse(written);
  report.erase("seconds");
  for (const char* name : {"text", "available_bytes", "expected_seconds"}) report["plan"].erase(name);
  return report.dump(2);
}

// Kills the run up to ten times at random moments of its `seconds` and lets it finish; returns how often it
// was hit.
int kill_and_resume(const std::string& folder, const Words& arguments, double seconds, RandomStream& random) {
  for (int hits = 0; hits < 10; ++hits) {
    Process process(folder, arguments);
    std::this_thread::sleep_for(std::chrono::duration<double>(random.uniform() * seconds / 4.0));
    process.send(SIGKILL);
    const Ended ended = process.wait();
    if (ended.signal != SIGKILL) return hits;  // it was through
  }
  EXPECT_EQ(run_program(folder, arguments).exit_code, 0);
  return 10;
}

TEST_F(Interruption, AKilledRunGoesOnToTheSameBytes) {
  RandomStream random(11, "moments");
  for (const char* threads : {"1", "2"}) {
    const Words arguments = with(fit, {"--threads", threads});
    const TemporaryFolder whole;
    whole.write("data.csv", folder.read("data.csv"));
    const auto start = std::chrono::steady_clock::now();
    ASSERT_EQ(run_program(whole.path(), arguments).exit_code, 0);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

    const int hits = kill_and_resume(folder.path(), arguments, seconds, random);

    EXPECT_GE(hits, 3);
    EXPECT_EQ(timeless(folder.read("m.json")), timeless(whole.read("m.json")));
    EXPECT_TRUE(folder.read("m.model") == whole.read("m.model"));
    EXPECT_EQ(folder.names(), (Names{"data.csv", "m.json", "m.model"}));
  }
}

TEST_F(Interruption, AnotherRunDoesNotTakeTheCheckpoint) {
  const std::string checkpoint = killed_checkpoint(), data = folder.read("data.csv");
  const std::string refusal =
      "gradflow: error: the checkpoint 'run.checkpoint' belongs to another run (its data, its options or the "
      "program differ): remove it or name another file\n";
  const auto expect_refused = [&](const Words& arguments) {
    const ProgramResult result = run_program(folder.path(), with(arguments, {"--quiet"}));
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_EQ(result.err, refusal);
    EXPECT_TRUE(folder.read("run.checkpoint") == checkpoint);  // bytes that are not worth printing
  };
  const auto replaced = [&](const std::string& option, const std::string& value) {
    Words arguments = fit;
    *(std::find(arguments.begin(), arguments.end(), option) + 1) = value;
    return arguments;
  };

  expect_refused(with(fit, {"--rule", "reml-flow"}));
  expect_refused(replaced("--seed", "4"));
  expect_refused(replaced("--network", "tanh:32x2"));
  SmallData changed = small_data(rows);
  changed.y(rows / 2) += 1e-6;
  folder.write("data.csv", csv_of(changed));
  expect_refused(fit);

  folder.write("data.csv", data);
  EXPECT_EQ(run_program(folder.path(), fit).exit_code, 0);
  EXPECT_FALSE(folder.exists("run.checkpoint"));
}

TEST_F(Interruption, TwoRunsDoNotShareACheckpoint) {
  Process first(folder.path(), fit);
  ASSERT_TRUE(first.has_written(folder / "run.checkpoint", 10e3));

  const ProgramResult second = run_program(folder.path(), with(fit, {"--quiet"}));

  EXPECT_EQ(second.exit_code, 2);
  EXPECT_EQ(second.err,
            "gradflow: error: the checkpoint 'run.checkpoint' is in use by another run: wait until that ends "
            "or name another file\n");
  EXPECT_EQ(first.wait().exit_code, 0);
}

TEST_F(Interruption, AFullDiskEndsTheRecordAndNotTheRun) {
  const TemporaryFolder whole;
  whole.write("data.csv", folder.read("data.csv"));
  ASSERT_EQ(run_program(whole.path(), fit).exit_code, 0);

  const Ended full = Process(folder.path(), fit, {.file_size = 400e3}).wait();

  EXPECT_EQ(full.exit_code, 0) << full.err;
  EXPECT_NE(full.out.find("recording to the checkpoint 'run.checkpoint' stopped after product "),
            std::string::npos)
      << full.out;
  const auto report = parse_json(folder.read("m.json"));
  const auto expected = parse_json(whole.read("m.json"));
  EXPECT_EQ(report["rules"], expected["rules"]);
  EXPECT_EQ(report["warnings"].size(), expected["warnings"].size() + 1);
  EXPECT_TRUE(folder.exists("run.checkpoint"));
  EXPECT_EQ(run_program(folder.path(), fit).exit_code, 0);  // there is room again
  EXPECT_TRUE(folder.read("m.model") == whole.read("m.model"));
  EXPECT_FALSE(folder.exists("run.checkpoint"));
}

TEST_F(Interruption, AChangeOfTheDataDuringTheRunIsSaid) {
  const Words options(fit.begin() + 1, fit.begin() + 12);  // without outputs
  for (const Words& command : {with({"test"}, options), with({"stop"}, options)}) {
    folder.write("data.csv", csv_of(small_data(rows)));
    Process process(folder.path(), with(command, {"--json", "m.json", "--probes", "300"}));
    ASSERT_TRUE(process.says("gradflow: n = "));
    std::ofstream(folder / "data.csv", std::ios::app) << "1,2,3\n";

    const Ended ended = process.wait();

    const std::string sentence =
        "'data.csv' changed while the run was going on: the results are of the data as they were read first";
    EXPECT_EQ(ended.exit_code, 0) << ended.err;
    EXPECT_NE(ended.out.find(sentence), std::string::npos) << ended.out;
    const auto warnings = parse_json(folder.read("m.json"))["warnings"];
    EXPECT_NE(std::find(warnings.begin(), warnings.end(), sentence), warnings.end()) << warnings;
  }
}

TEST_F(Interruption, ASignalDuringTheRunLeavesTheCheckpointAlone) {
  for (const int signal : {SIGINT, SIGTERM}) {
    Process process(folder.path(), fit);
    ASSERT_TRUE(process.has_written(folder / "run.checkpoint", 100e3));
    process.send(signal);

    EXPECT_EQ(process.wait().signal, signal);
    EXPECT_EQ(folder.names(), (Names{"data.csv", "run.checkpoint"}));
    std::filesystem::remove(folder / "run.checkpoint");
  }
}

TEST_F(Interruption, ASignalDuringWritingLeavesNoFile) {
  folder.write("many.csv", csv_of(small_data(sanitized ? 500 : 2000)));
  for (const int signal : {SIGINT, SIGTERM}) {
    int ended_by_signal = 0;
    for (int attempt = 0; attempt < 10 && ended_by_signal == 0; ++attempt) {
      Process process(folder.path(), {"kernel", "many.csv", "--exclude", "y", "-o", "H.npy"});
      while (process.running() && folder.names().size() == 2)
        std::this_thread::sleep_for(std::chrono::microseconds(200));
      process.send(signal);
      const Ended ended = process.wait();
      ended_by_signal = ended.signal;
      if (ended_by_signal != 0) continue;
      EXPECT_EQ(ended.exit_code, 0);  // it was through
      std::filesystem::remove(folder / "H.npy");
    }

    EXPECT_EQ(ended_by_signal, signal);
    Names left = folder.names();
    std::erase(left, "H.npy");  // whole, where the signal came between its appearance and the end
    EXPECT_EQ(left, (Names{"data.csv", "many.csv"}));
    std::filesystem::remove(folder / "H.npy");
  }
}

}  // namespace
}  // namespace gradflow::cli_test
