// What a run may use of memory: refused beforehand where it would not do, kept to where it does.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <ostream>

#include "cli/process.h"
#include "support/json.h"

namespace gradflow::cli_test {
namespace {

class Memory : public testing::Test {
 protected:
  void SetUp() override { folder.write("data.csv", csv_of(small_data(rows))); }

  const Index rows = 3000;
  TemporaryFolder folder;
  const Words stop{"stop", "data.csv", "--target", "y", "--quiet", "--threads", "2"};
};

// 2 threads take 0.67 GB of addresses and the program's own libraries 0.06 to 0.35; the dense engine needs
// 0.36 GB for 3000 rows, reml-flow alone 0.03.
TEST_F(Memory, ALimitOnTheAddressSpaceIsKeptTo) {
  if (sanitized) GTEST_SKIP() << "sanitizers take address space of their own";
  const auto run = [&](double limit, const Words& more) {
    return Process(folder.path(), with(stop, more), {.address_space = limit}).wait();
  };

  const Ended none = run(0.5e9, {});
  const Ended dense = run(1.08e9, {"--engine", "dense"});
  const Ended krylov = run(1.08e9, {"--engine", "krylov", "--rule", "reml-flow", "--rules", "chosen"});

  EXPECT_EQ(none.exit_code, 2);
  EXPECT_EQ(none.err.find("gradflow: error: the limit on the address space (ulimit -v) leaves "), 0U)
      << none.err;
  EXPECT_NE(none.err.find("raise the limit or give --threads 1"), std::string::npos) << none.err;
  EXPECT_EQ(dense.exit_code, 2);
  EXPECT_EQ(
      dense.err.find("gradflow: error: n = 3000 rows need about 0.362 GB of memory (5 matrices of n x n "
                     "for --engine dense), and "),
      0U)
      << dense.err;
  EXPECT_NE(dense.err.find("--engine krylov needs none"), std::string::npos) << dense.err;
  EXPECT_EQ(krylov.exit_code, 0) << krylov.err;
}

TEST_F(Memory, ASmallerLimitThanNeededNamesWhatFits) {
  const auto refused = [&](const Words& more) {
    const ProgramResult result = run_program(folder.path(), with(stop, more));
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_EQ(result.err.find(fmt::format("gradflow: error: n = {} rows need about ", rows)), 0U)
        << result.err;
    return result.err;
  };

  EXPECT_NE(refused({"--engine", "dense", "--max-memory", "1M"}).find("--engine krylov needs none"),
            std::string::npos);
  EXPECT_NE(refused({"--engine", "krylov", "--storage", "memory", "--max-memory", "1M"})
                .find("--storage none keeps no entries"),
            std::string::npos);
  EXPECT_NE(
      refused({"--engine", "krylov", "--storage", "memory", "--network", "relu:8", "--max-memory", "1M"})
          .find("--storage none never forms the matrix"),
      std::string::npos);
  EXPECT_NE(refused({"--engine", "krylov", "--max-memory", "100K"}).find("raise --max-memory"),
            std::string::npos);
}

struct Form {
  const char* name;
  Words options;
};

void PrintTo(const Form& form, std::ostream* stream) { *stream << form.name; }

class Peak : public testing::TestWithParam<Form> {};

TEST_P(Peak, StaysBelowThePlan) {
  if (sanitized) GTEST_SKIP() << "sanitizers take memory of their own";
  const TemporaryFolder folder;
  folder.write("data.csv", csv_of(small_data(3000)));

  const Ended ended = Process(folder.path(), with({"stop", "data.csv", "--target", "y", "--quiet", "--engine",
                                                   "krylov", "--json", "run.json"},
                                                  GetParam().options))
                          .wait();

  ASSERT_EQ(ended.exit_code, 0) << ended.err;
  const double planned = parse_json(folder.read("run.json"))["plan"]["memory_bytes"];
  constexpr double program = 60e6;
  EXPECT_LT(ended.peak_resident, planned + program);
}

INSTANTIATE_TEST_SUITE_P(
    Forms, Peak,
    testing::Values(Form{"TilesKept", {"--storage", "memory"}},
                    Form{"TilesEvaluated", {"--storage", "none", "--rule", "reml-flow", "--rules", "chosen"}},
                    Form{"Jacobian", {"--storage", "none", "--network", "relu:128"}}),
    [](const testing::TestParamInfo<Form>& tested) { return tested.param.name; });

class TrainingPeak : public testing::TestWithParam<Form> {};

TEST_P(TrainingPeak, StaysBelowWhatIsSaidAndAboveAThird) {
  if (sanitized) GTEST_SKIP() << "sanitizers take memory of their own";
  const TemporaryFolder folder;
  folder.write("data.csv", csv_of(small_data(20000)));

  const Ended ended = Process(folder.path(), with({"train", "data.csv", "--target", "y", "--quiet",
                                                   "--no-watch", "--max-steps", "3", "--json", "run.json"},
                                                  GetParam().options))
                          .wait();

  ASSERT_TRUE(folder.exists("run.json")) << ended.err;
  const double planned = parse_json(folder.read("run.json"))["memory_bytes"];
  constexpr double program = 60e6;
  EXPECT_LT(ended.peak_resident, planned + program);
  EXPECT_GT(ended.peak_resident, planned / 3.0);
}

INSTANTIATE_TEST_SUITE_P(
    Forms, TrainingPeak,
    testing::Values(Form{"Dense", {"--network", "relu:128x2", "--steps", "3"}},
                    Form{"Float32", {"--network", "relu:256x2", "--steps", "3", "--precision", "float32"}},
                    Form{"Batches", {"--network", "relu:128x2", "--steps", "3", "--batch", "100"}},
                    Form{"Validation", {"--network", "relu:128x2", "--stop", "validation"}},
                    Form{"Folds", {"--network", "relu:128x2", "--stop", "cross-validation"}},
                    Form{"Twins", {"--network", "relu:128x2", "--stop", "follow-gdf"}},
                    Form{"Copies", {"--network", "relu:96x2", "--steps", "3", "--center", "copies"}},
                    Form{"Layers",
                         {"--network", "dense:64 layernorm relu dense:64 relu dense:1", "--steps", "3"}}),
    [](const testing::TestParamInfo<Form>& tested) { return tested.param.name; });

TEST(TrainingMemory, ThatIsNotThereIsNamedBeforeTheTraining) {
  if (sanitized) GTEST_SKIP() << "sanitizers take address space of their own";
  const TemporaryFolder folder;
  folder.write("data.csv", csv_of(small_data(20000)));

  const Ended ended = Process(folder.path(),
                              {"train", "data.csv", "--target", "y", "--network", "relu:1024x2", "--steps",
                               "3", "--threads", "1", "-o", "w"},
                              {.address_space = 1.2e9})
                          .wait();

  EXPECT_EQ(ended.exit_code, 2);
  EXPECT_NE(ended.err.find("training 'relu:1024x2' on 20000 rows needs about "), std::string::npos)
      << ended.err;
  EXPECT_FALSE(folder.exists("w"));
}

}  // namespace
}  // namespace gradflow::cli_test
