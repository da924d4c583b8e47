// What a run may use of memory: refused beforehand where it would not do, kept to where it does.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <ostream>

#include "cli/process.h"
#include "support/json.h"

namespace gradflow::cli_test {
namespace {

using Words = std::vector<std::string>;

Words joined(Words first, const Words& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

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
    return Process(folder.path(), joined(stop, more), {.address_space = limit}).wait();
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
    const ProgramResult result = run_program(folder.path(), joined(stop, more));
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

  const Ended ended = Process(folder.path(), joined({"stop", "data.csv", "--target", "y", "--quiet",
                                                     "--engine", "krylov", "--json", "run.json"},
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

}  // namespace
}  // namespace gradflow::cli_test
