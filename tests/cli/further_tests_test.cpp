// The tests of `gradflow test` beside the score test: what they find, what they agree with, what they refuse.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "cli/bad_input.h"
#include "cli/run_program.h"
#include "gradflow/base/random.h"
#include "support/json.h"

namespace gradflow::cli_test {
namespace {

using nlohmann::json;

// Rows x1, x2, x3, y, w with y = f(x) + noise.
struct Sample {
  Matrix X;
  Vector y, w;

  std::string csv() const {
    std::string text = "x1,x2,x3,w,y\n";
    for (Index i = 0; i < y.size(); ++i)
      text += fmt::format("{},{},{},{},{}\n", X(i, 0), X(i, 1), X(i, 2), w(i), y(i));
    return text;
  }
};

using Function = std::function<double(double, double, double)>;

Sample draw_rows(Index n, const Function& f, double noise, std::uint64_t seed) {
  RandomStream random(seed, "further tests");
  Sample rows{random.normals(n, 3), Vector(n), Vector(n)};
  for (Index i = 0; i < n; ++i) {
    rows.w(i) = 1.0 + static_cast<double>(i % 3);
    rows.y(i) = f(rows.X(i, 0), rows.X(i, 1), rows.X(i, 2)) + noise * random.normal();
  }
  return rows;
}

double nothing(double, double, double) { return 0.0; }
double first_bends(double x1, double x2, double) { return 1.5 * std::abs(x1) + 0.5 * x2; }
double straight(double x1, double x2, double) { return x1 - x2; }

class FurtherTests : public testing::Test {
 protected:
  void write(const Sample& rows) const { folder.write("data.csv", rows.csv()); }

  ProgramResult run(const Words& more) const {
    return run_program(folder.path(), with({"test", "data.csv", "--target", "y", "--exclude", "w"}, more));
  }

  json report(const Words& more) const {
    const ProgramResult result = run(with(more, {"--json", "run.json"}));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return parse_json(folder.read("run.json"));
  }

  // The p-value of one test's entry in the JSON.
  double p_value(const Words& more, const char* entry) const { return report(more)[entry]["p_value"]; }

  TemporaryFolder folder;
};

const Words likelihood_ratio{"--likelihood-ratio", "--draws", "2000"}, permutations{"--permutations", "999"},
    also{"--also", "rbf", "--also", "linear + 0.5*ntk:relu:1"}, group{"--group", "x1", "--draws", "999"},
    given_linear{"--given", "linear", "--draws", "999"};

struct Asked {
  const char* entry;
  Words options;
};

const std::vector<Asked> every_test{{"likelihood_ratio_test", likelihood_ratio},
                                    {"permutation_test", permutations},
                                    {"grid_test", also},
                                    {"component_test", group},
                                    {"component_test", given_linear}};

TEST_F(FurtherTests, EachFindsABentSignal) {
  write(draw_rows(80, first_bends, 0.3, 11));
  for (const Asked& asked : every_test)
    EXPECT_LT(p_value(asked.options, asked.entry), 0.0021) << asked.options.front();
}

TEST_F(FurtherTests, NoneRejectsNoiseAtTheseSeeds) {
  for (const std::uint64_t seed : {1, 2, 3}) {
    write(draw_rows(60, nothing, 1.0, seed));
    for (const Asked& asked : every_test)
      EXPECT_GT(p_value(asked.options, asked.entry), 0.02) << asked.options.front() << ", seed " << seed;
  }
}

TEST_F(FurtherTests, AGroupWithoutSignalAndACurvelessFunctionAreNotFoundGivenTheRest) {
  write(draw_rows(80, first_bends, 0.3, 12));
  const double other_group = p_value({"--group", "x3", "--draws", "999"}, "component_test");
  const double both = p_value({"--group", "x3,#1", "--draws", "999"}, "component_test");
  write(draw_rows(80, straight, 0.3, 13));
  const double bend = p_value(given_linear, "component_test");

  EXPECT_GT(other_group, 0.02);
  EXPECT_LE(both, 0.001);
  EXPECT_GT(bend, 0.02);
}

TEST_F(FurtherTests, BinaryFindsClassesThatFollowFeaturesAndNotOthers) {
  Sample rows = draw_rows(80, straight, 0.3, 14);
  const Vector latent = rows.y;
  rows.y = (latent.array() > 0.0).select(Vector::Constant(80, 2.0), Vector::Ones(80));
  write(rows);
  const json found = report({"--binary"})["binary_test"];
  const json beside = report({"--binary", "--covariates", "x2"})["binary_test"];
  for (Index i = 0; i < 80; ++i) rows.y(i) = static_cast<double>(i % 2);
  write(rows);

  EXPECT_LT(found["p_value"], 1e-4);
  EXPECT_EQ(found["zero"], 1.0);
  EXPECT_EQ(found["one"], 2.0);
  EXPECT_EQ(found["ones"], (latent.array() > 0.0).count());
  EXPECT_EQ(found["resampling"], "permutation");
  EXPECT_LT(beside["p_value"], 1e-3);
  EXPECT_EQ(beside["resampling"], "bootstrap");
  EXPECT_GT(p_value({"--binary"}, "binary_test"), 0.02);
}

TEST_F(FurtherTests, BinaryWithASmallClassHasNoAnswerAndSaysWhy) {
  Sample rows = draw_rows(40, nothing, 1.0, 15);
  rows.y.setZero();
  rows.y.head(3).setOnes();
  write(rows);

  const ProgramResult result = run({"--binary"});

  EXPECT_EQ(result.exit_code, 3);
  EXPECT_NE(
      result.out.find("no answer          only 3 of 40 responses are in the smaller class: at least 5 are "
                      "needed (unidentified)\n"),
      std::string::npos)
      << result.out;
}

TEST_F(FurtherTests, TwoValuesAndOnlyTwoAreHintedAt) {
  const std::string hint = "The response has two values: --binary tests it with a logistic null model.\n";
  Sample rows = draw_rows(40, nothing, 1.0, 16);
  for (Index i = 0; i < 40; ++i) rows.y(i) = static_cast<double>(i % 2);
  rows.X.bottomRows(20) = rows.X.topRows(20);  // replicates: their means have more values
  rows.y.tail(4).setOnes();
  write(rows);
  const std::string two = run({}).out, asked = run({"--binary"}).out;
  rows.y(0) = 3.0;
  write(rows);
  const std::string three = run({}).out;

  EXPECT_NE(two.find(hint), std::string::npos);
  EXPECT_EQ(asked.find(hint), std::string::npos);
  EXPECT_EQ(three.find(hint), std::string::npos);
}

TEST_F(FurtherTests, TheSameSeedGivesTheSameJsonAndAnotherOneOtherDraws) {
  write(draw_rows(50, straight, 3.0, 17));
  const Words all{
      "--likelihood-ratio", "--permutations", "200", "--also", "rbf", "--group", "x1", "--draws", "200"};
  json first = report(all), second = report(all);
  const json other = report(with(all, {"--seed", "2"}));
  for (json* each : {&first, &second})  // the machine's: its load and its free memory
    for (const char* entry : {"seconds", "plan"}) each->erase(entry);

  EXPECT_EQ(first, second);
  for (const char* entry : {"likelihood_ratio_test", "permutation_test", "component_test"}) {
    EXPECT_NE(first[entry]["exceedances"], other[entry]["exceedances"]) << entry;
    EXPECT_EQ(other[entry]["seed"], 2) << entry;
    const double error = std::hypot(first[entry]["standard_error"].get<double>(),
                                    other[entry]["standard_error"].get<double>());
    EXPECT_NEAR(first[entry]["p_value"], other[entry]["p_value"], 5.0 * error) << entry;
  }
}

// With weights and replicates every test sees the same whitened rows as the score test and the likelihood.
TEST_F(FurtherTests, WeightsAndReplicatesAreThoseOfTheScoreTestAndOfStop) {
  Sample rows = draw_rows(60, first_bends, 0.5, 18);
  rows.X.bottomRows(20) = rows.X.topRows(20);
  write(rows);
  for (const Words& weights : {Words{}, Words{"--row-weights", "w"}}) {
    const Words data = weights.empty() ? Words{"--exclude", "w"} : weights;
    const auto all = [&](Words command, const Words& more) {
      command = with(with(std::move(command), {"data.csv", "--target", "y", "--json", "run.json"}),
                     with(data, more));
      EXPECT_EQ(run_program(folder.path(), command).exit_code, 0);
      return parse_json(folder.read("run.json"));
    };

    const json merged = all({"test"}, {}), stopped = all({"stop"}, {});
    const json tested =
        all({"test"}, {"--likelihood-ratio", "--permutations", "99", "--also", "rbf", "--draws", "99"});

    EXPECT_EQ(merged["n"], 40);
    EXPECT_EQ(tested["n"], 60);
    const double log10_p = merged["test"]["log10_p_value"], statistic = merged["test"]["statistic"];
    EXPECT_NEAR(tested["test"]["log10_p_value"], log10_p, 1e-8 * std::abs(log10_p));
    EXPECT_NEAR(tested["permutation_test"]["statistic"], statistic, 1e-8 * statistic);
    EXPECT_NEAR(tested["grid_test"]["kernels"][0]["log10_p_value"], log10_p, 1e-8 * std::abs(log10_p));
    const double ratio = stopped["fits"]["ridge"]["likelihood_ratio"];
    EXPECT_GT(ratio, 0.0);
    EXPECT_NEAR(tested["likelihood_ratio_test"]["statistic"], ratio, 1e-6 * ratio);
  }
}

TEST_F(FurtherTests, TheJsonHasEveryFieldAndTheTextItsBounds) {
  write(draw_rows(80, first_bends, 0.2, 19));
  const json tested = report(
      {"--likelihood-ratio", "--permutations", "99", "--also", "rbf", "--group", "x1", "--draws", "99"});
  for (const char* entry : {"likelihood_ratio_test", "permutation_test", "component_test"}) {
    for (const char* field : {"statistic", "p_value", "log10_p_value", "standard_error"})
      EXPECT_TRUE(tested[entry][field].is_number()) << entry << ' ' << field;
    EXPECT_EQ(tested[entry]["draws"], 99) << entry;
    EXPECT_EQ(tested[entry]["upper_bound"], true) << entry;
    EXPECT_DOUBLE_EQ(tested[entry]["p_value"], 0.01) << entry;
    EXPECT_EQ(tested[entry]["outcome"], "converged") << entry;
  }
  const json& grid = tested["grid_test"];
  EXPECT_EQ(grid["kernels"].size(), 2);
  EXPECT_GE(grid["log10_p_value"], grid["log10_smallest_p_value"]);
  EXPECT_LE(grid["log10_p_value"], grid["log10_bonferroni"]);
  for (const char* field : {"time", "zero_mass", "zero_mass_standard_error", "critical_value"})
    EXPECT_TRUE(tested["likelihood_ratio_test"][field].is_number()) << field;
  EXPECT_EQ(tested["component_test"]["group"], json({"x1"}));
  EXPECT_TRUE(tested["component_test"]["given_null_time"]["log10_p_value"].is_number());
  EXPECT_FALSE(tested.contains("binary_test"));
  EXPECT_EQ(tested["options"]["also"], "rbf");

  const std::string text = run({"--permutations", "99"}).out;
  EXPECT_NE(text.find("  p                  < 0.01 (log10 p < -2; none of 99 permutations reached the "
                      "statistic)\n"),
            std::string::npos)
      << text;
}

TEST_F(FurtherTests, MoreRowsThanTheDenseEngineTakesAreRefused) {
  std::string text = "x,y\n";
  for (Index i = 0; i < 4001; ++i) text += fmt::format("{},{}\n", i, (i * i) % 7);
  folder.write("long.csv", text);

  const ProgramResult result =
      run_program(folder.path(), {"test", "long.csv", "--target", "y", "--quiet", "--permutations", "9"});

  EXPECT_EQ(result.exit_code, 2);
  EXPECT_EQ(
      result.err,
      error("n = 4001 rows: the tests beside the score test take every eigenvalue, which is done for at "
            "most 4000 rows; --engine dense does it for more, in time that grows as n^3"));
}

Words test(const Words& more) { return with({"test", "good.csv", "--target", "y", "--quiet"}, more); }

INSTANTIATE_TEST_SUITE_P(
    FurtherTests, BadInput,
    testing::Values(
        Case{"DrawsOfNothing", test({"--draws", "9"}), 2,
             error("--draws is for --likelihood-ratio, --also, --group, --given and --binary, and "
                   "none of them "
                   "is given")},
        Case{"DrawsOfPermutations", test({"--draws", "9", "--permutations", "9"}), 2,
             error("--draws and --permutations: the number of permutations is --permutations N itself")},
        Case{"DrawsZero", test({"--likelihood-ratio", "--draws", "0"}), 2,
             error("--draws 0: must be between 1 and 100000000")},
        Case{"DrawsNotANumber", test({"--likelihood-ratio", "--draws", "many"}), 2,
             usage("--draws many: must be a whole number >= 0", "test ")},
        Case{"PermutationsZero", test({"--permutations", "0"}), 2,
             error("--permutations 0: must be between 1 and 100000000")},
        Case{"PermutationsNegative", test({"--permutations", "-1"}), 2,
             usage("--permutations -1: must be a whole number >= 0", "test ")},
        Case{"KrylovBesideOthers", test({"--likelihood-ratio", "--engine", "krylov"}), 2,
             error("--engine krylov: only the score test works from products; the other tests take every "
                   "eigenvalue")},
        Case{"PaperBesideOthers", test({"--permutations", "9", "--paper"}), 2,
             error("--paper: the paper's method has the score test alone, and none of the others")},
        Case{"GroupAndGiven", test({"--group", "x1", "--given", "linear"}), 2,
             error("--group and --given: give one, both say which operator is tested given "
                   "which (with --group "
                   "it is the kernel of the other features)")},
        Case{"GroupAbsent", test({"--group", "x3"}), 2,
             error("--group 'x3': is none of the features, which are x1, x2")},
        Case{"GroupPositionTooLarge", test({"--group", "#9"}), 2,
             error("--group '#9': is none of the features, which are x1, x2")},
        Case{"GroupIsTheResponse", test({"--group", "y"}), 2,
             error("--group 'y': is none of the features, which are x1, x2")},
        Case{"GroupTwice", test({"--group", "x1,#1"}), 2, error("--group 'x1': the column is named twice")},
        Case{"GroupOfAll", test({"--group", "x1,x2"}), 2,
             error("--group names all features: none is left to be given (without --group, gradflow "
                   "test tests "
                   "all)")},
        Case{"GroupOfANetwork", test({"--group", "x1", "--network", "relu:4"}), 2,
             error("--group and a finite network: only a kernel (--kernel) can be taken of some features")},
        Case{
            "AlsoUnknown", test({"--also", "relu:2"}), 2,
            error("kernel 'relu:2': not three parts; write KIND:ACTIVATION:LAYERS with KIND ntk or nngp, for "
                  "example ntk:relu:2")},
        Case{"AlsoWithoutValue", test({"--also"}), 2, usage("--also needs a value", "test ")},
        Case{"AlsoOfAMatrix",
             {"test", "--response", "y.npy", "--operator", "H.npy", "--also", "rbf"},
             2,
             error("--also and --operator: a matrix of your own has no features to take a kernel of")},
        Case{"GivenOfAMatrix",
             {"test", "--response", "y.npy", "--operator", "H.npy", "--given", "rbf"},
             2,
             error("--given and --operator: a matrix of your own has no features to take a kernel of")},
        Case{"BinaryOfManyValues", test({"--binary"}), 2,
             error("--binary: the response has more than two values in the 30 rows used")},
        Case{"BinaryWithWeights", test({"--binary", "--row-weights", "x2"}), 2,
             error("--binary and --row-weights: the logistic null model has no weights")},
        Case{"LikelihoodRatioOfStop", with(stop("good.csv"), {"--likelihood-ratio"}), 2,
             usage("unknown option --likelihood-ratio", "stop ")}),
    case_name);

}  // namespace
}  // namespace gradflow::cli_test
