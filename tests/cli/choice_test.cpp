// What is left to the likelihood (--select, --transform), row weights and copies, and the intervals of
// predictions: planted answers through the program, and what is refused.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <sstream>

#include "cli/bad_input.h"
#include "cli/run_program.h"
#include "gradflow/base/random.h"
#include "support/json.h"

namespace gradflow::cli_test {
namespace {

using nlohmann::json;

class Choice : public testing::Test {
 protected:
  // y = exp(1 + sin 2 x1 + noise): of six features one matters, and the logarithm is smooth.
  void write(Index n, std::uint64_t seed, const std::string& name) const {
    RandomStream random(seed, "choice");
    const Matrix X = random.normals(n, 6);
    std::string text = "x1,x2,x3,x4,x5,x6,w,y\n";
    for (Index i = 0; i < n; ++i)
      text += fmt::format("{},{},{},{},{},{},{},{}\n", X(i, 0), X(i, 1), X(i, 2), X(i, 3), X(i, 4), X(i, 5),
                          1.0 + static_cast<double>(i % 3),
                          std::exp(1.0 + std::sin(2.0 * X(i, 0)) + 0.2 * random.normal()));
    folder.write(name, text);
  }
  ProgramResult run(const Words& arguments) const { return run_program(folder.path(), arguments); }
  json report(const Words& arguments) const {
    const ProgramResult result = run(with(arguments, {"--json", "run.json"}));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return parse_json(folder.read("run.json"));
  }
  // Share of the responses of a table inside the intervals of a CSV of predictions, and their RMSE.
  std::pair<double, double> coverage_and_rmse(const std::string& csv, const std::string& table) const {
    std::istringstream predictions(csv), rows(folder.read(table));
    std::string line, row;
    std::getline(predictions, line);
    std::getline(rows, row);
    int count = 0, inside = 0;
    double square = 0.0;
    while (std::getline(predictions, line) && std::getline(rows, row)) {
      double id = 0.0, mean = 0.0, sd = 0.0, lower = 0.0, upper = 0.0;
      EXPECT_EQ(std::sscanf(line.c_str(), "%lf,%lf,%lf,%lf,%lf", &id, &mean, &sd, &lower, &upper), 5) << line;
      const double y = std::stod(row.substr(row.rfind(',') + 1));
      ++count;
      inside += lower <= y && y <= upper ? 1 : 0;
      square += (mean - y) * (mean - y);
    }
    return {static_cast<double>(inside) / count, std::sqrt(square / count)};
  }

  const Words data{"data.csv", "--target", "y", "--exclude", "w"};
  TemporaryFolder folder;
};

TEST_F(Choice, SelectionFindsTheFeatureThatMattersAndKeepsTheTestOfTheOperatorAsGiven) {
  write(120, 1, "data.csv");

  const json chosen = report(with({"stop"}, with(data, {"--select"})));
  const json given = report(with({"stop"}, data));

  const json& candidates = chosen["choice"]["candidates"];
  const json& best = candidates[chosen["choice"]["best"].get<std::size_t>()];
  double first = 0.0, others = 0.0;
  for (const auto& [name, value] : best["parameters"].items()) {
    if (name.ends_with("relevance:x1"))
      first = value;
    else if (name.find("relevance:") != std::string::npos && name.find("linear") == std::string::npos)
      others = std::max(others, value.get<double>());
  }
  EXPECT_GT(first, 10.0 * others);
  for (const json& candidate : candidates)
    EXPECT_GE(candidate["penalised_criterion"].get<double>(), best["penalised_criterion"].get<double>());
  EXPECT_EQ(chosen["choice"]["guard"]["folds"], 0);
  EXPECT_GT(chosen["choice"]["guard"]["schwarz_lead"], 10.0);
  const double p = given["test"]["p_value"];  // by eigenvalues with and without their vectors
  EXPECT_NEAR(chosen["test"]["p_value"].get<double>(), p, 1e-9 * p);
  EXPECT_EQ(chosen["test"]["operator"], "ntk:relu:2");
}

// All features matter alike, and 80 rows with as much noise as signal do not tell six relevances.
TEST_F(Choice, RelevancesThatDoNotPayAreNotTakenAndTheReportSaysSo) {
  RandomStream random(20, "alike");
  std::string text = "x1,x2,x3,x4,x5,x6,y\n";
  for (int i = 0; i < 80; ++i) {
    const Vector x = random.normals(6);
    for (const double each : x) text += fmt::format("{},", each);
    text += fmt::format("{}\n", x.array().sin().sum() / std::sqrt(3.0) + random.normal());
  }
  folder.write("alike.csv", text);

  const ProgramResult result = run({"stop", "alike.csv", "--target", "y", "--select", "--json", "run.json"});
  const json choice = parse_json(folder.read("run.json"))["choice"], &guard = choice["guard"];
  const json &taken = choice["candidates"][choice["best"].get<std::size_t>()],
             &likeliest = choice["candidates"][guard["likeliest"].get<std::size_t>()];

  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(likeliest["free"], "relevances");
  EXPECT_NE(taken["free"], "relevances");
  EXPECT_EQ(guard["overruled"], true);
  EXPECT_LT(likeliest["penalised_criterion"], taken["penalised_criterion"]);
  EXPECT_GT(likeliest["parameter_count"], taken["parameter_count"]);
  EXPECT_NE(result.out.find(guard["sentence"].get<std::string>() + "\n"), std::string::npos) << result.out;
  EXPECT_THAT(guard["sentence"].get<std::string>(), testing::HasSubstr("so the simpler kernel is taken"));
}

TEST_F(Choice, ColumnsOfAGroupShareARelevance) {
  folder.write("kinds.csv", [] {
    RandomStream random(8, "kinds");
    std::string text = "a,b,c,kind,y\n";
    for (int i = 0; i < 60; ++i) {
      const Vector x = random.normals(4);
      text += fmt::format("{},{},{},{},{}\n", x(0), x(1), x(2),
                          i % 3 == 0   ? "red"
                          : i % 3 == 1 ? "green"
                                       : "blue",
                          std::sin(x(0)) + 0.3 * x(3));
    }
    return text;
  }());
  const auto names = [&](const std::string& relevances) {
    const json run = report({"stop", "kinds.csv", "--target", "y", "--select", "--candidates", "ntk:relu:1",
                             "--transform", "none", "--relevances", relevances});
    std::vector<std::string> found;
    for (const auto& [name, value] : run["choice"]["candidates"][0]["parameters"].items())
      if (name.starts_with("relevance")) found.push_back(name);
    return found;
  };

  EXPECT_THAT(names("each"), testing::UnorderedElementsAre("relevance:a", "relevance:b", "relevance:c",
                                                           "relevance:kind=blue", "relevance:kind=green",
                                                           "relevance:kind=red"));
  EXPECT_THAT(names("columns"), testing::UnorderedElementsAre("relevance:a", "relevance:b", "relevance:c",
                                                              "relevance:kind=blue+kind=green+kind=red"));
  EXPECT_THAT(names("a,kind;b,c"),
              testing::UnorderedElementsAre("relevance:a+kind=blue+kind=green+kind=red", "relevance:b+c"));
  EXPECT_THAT(names("one"), testing::ElementsAre("relevance"));
}

TEST_F(Choice, TheLogarithmIsFoundAndIntervalsAreTransformedBack) {
  write(150, 2, "data.csv");
  write(400, 3, "new.csv");

  const json run_json = report(with({"fit"}, with(data, {"--select", "-o", "m.model"})));
  const ProgramResult predicted = run({"predict", "m.model", "new.csv"});

  EXPECT_EQ(run_json["choice"]["transform"]["kind"], "box-cox");
  EXPECT_NEAR(run_json["choice"]["transform"]["lambda"].get<double>(), 0.0, 0.25);
  const auto [coverage, rmse] = coverage_and_rmse(predicted.out, "new.csv");
  EXPECT_NEAR(coverage, 0.95, 0.04);
  EXPECT_LT(rmse, 1.3);  // sd of y about 2.3, of the noise about 0.8
}

TEST_F(Choice, AGivenTransformIsTheSameAsATransformedColumn) {
  write(80, 4, "data.csv");
  std::istringstream rows(folder.read("data.csv"));
  std::string line, text;
  std::getline(rows, line);
  text = line + "\n";
  while (std::getline(rows, line)) {
    const std::size_t comma = line.rfind(',');
    text += fmt::format("{},{}\n", line.substr(0, comma), std::log(std::stod(line.substr(comma + 1))));
  }
  folder.write("log.csv", text);

  const json transformed = report(with({"stop"}, with(data, {"--transform", "log"})));
  const json by_hand = report({"stop", "log.csv", "--target", "y", "--exclude", "w"});

  EXPECT_NEAR(transformed["chosen"]["time"].get<double>(), by_hand["chosen"]["time"].get<double>(),
              1e-6 * by_hand["chosen"]["time"].get<double>());
  EXPECT_NEAR(transformed["test"]["log10_p_value"].get<double>(),
              by_hand["test"]["log10_p_value"].get<double>(), 1e-8);
}

TEST_F(Choice, EveryKindOfIntervalHoldsTheResponsesItPromises) {
  write(120, 5, "data.csv");
  write(400, 6, "new.csv");
  ASSERT_EQ(run(with({"fit"}, with(data, {"--transform", "log", "-o", "m.model"}))).exit_code, 0);
  for (const std::string kind : {"calibrated", "model", "jackknife+", "leave-one-out"}) {
    const ProgramResult predicted = run({"predict", "m.model", "new.csv", "--interval", kind});
    EXPECT_NEAR(coverage_and_rmse(predicted.out, "new.csv").first, 0.95, 0.05) << kind;
  }
  const ProgramResult none = run({"predict", "m.model", "new.csv", "--interval", "none"});
  EXPECT_EQ(none.err, "");
  EXPECT_NE(none.out.find(",NA,NA,NA\n"), std::string::npos);
}

TEST_F(Choice, IntervalsOfAChosenKernelAllowForTheChoice) {
  write(60, 9, "data.csv");
  write(20, 10, "new.csv");
  const Words fit =
      with({"fit"}, with(data, {"--select", "--candidates", "ntk:erf:1", "--average", "0", "-o", "m.model"}));

  const ProgramResult fitted = run(fit);
  const ProgramResult default_kind = run({"predict", "m.model", "new.csv"});
  const ProgramResult asked = run({"predict", "m.model", "new.csv", "--interval", "cross-validated"});
  const ProgramResult known = run({"predict", "m.model", "new.csv", "--interval", "model"});
  const ProgramResult said =
      run({"predict", "m.model", "new.csv", "-o", "p.csv", "--json", "p.json", "--level", "0.99"});
  const json run_json = report(with(fit, {"--choice-folds", "3"}));
  const json never = report(with(fit, {"--choice-folds", "0"}));

  EXPECT_NE(fitted.out.find("Chosen again without each of 5 folds: the errors of 60 rows"),
            std::string::npos);
  EXPECT_EQ(default_kind.out, asked.out);
  EXPECT_NE(default_kind.out, known.out);
  EXPECT_NE(said.out.find("Intervals of 99 % are infinite: they take 99 such errors.\n"), std::string::npos);
  const json predicted = json::parse(folder.read("p.json"));
  EXPECT_EQ(predicted["interval"], "cross-validated");
  EXPECT_GE(predicted["sd_factor"].get<double>(), 1.0);
  EXPECT_EQ(predicted["model"]["choice_folds"]["rows"], 60);
  EXPECT_EQ(run_json["choice"]["folds"]["folds"], 3);
  EXPECT_EQ(run_json["choice"]["folds"]["without"].size(), 3U);
  EXPECT_EQ(never["choice"]["folds"], nullptr);
  EXPECT_EQ(
      run({"predict", "m.model", "new.csv", "--interval", "cross-validated"}).err,
      error("--interval cross-validated: the model has no choice that was made again without folds: fit it "
            "with --select and --choice-folds 5, or use --interval model"));
}

TEST_F(Choice, FoldsAreRefusedWhereThereIsNothingToChooseAgain) {
  write(30, 11, "data.csv");
  const auto refused = [&](const Words& options) {
    const ProgramResult result = run(with({"fit"}, with(data, with({"-o", "m.model"}, options))));
    EXPECT_EQ(result.exit_code, 2);
    return result.err;
  };

  EXPECT_EQ(
      refused({"--choice-folds", "5"}),
      error("--choice-folds is for what is left to the likelihood: give --select, or --transform without a "
            "number"));
  EXPECT_EQ(refused({"--select", "--choice-folds", "1"}),
            error("--choice-folds 1: must be >= 2, or 0 for none"));
  EXPECT_EQ(refused({"--select", "--choice-folds", "5", "--noise", "student"}),
            error("--choice-folds and --noise: the choice is repeated without folds for normal noise only"));
}

TEST_F(Choice, ARowOfWeightTwoIsTwoRowsAndCopiesAreKeptOnceUnlessAsked) {
  folder.write("weighted.csv", "x,w,y\n1,2,3\n2,1,4.5\n3,1,4\n4,2,6\n5,1,5.5\n6,1,7\n7,1,6\n");
  folder.write("doubled.csv", "x,y\n1,3\n1,3\n2,4.5\n3,4\n4,6\n4,6\n5,5.5\n6,7\n7,6\n");
  const Words standard{"--standardize", "none"};

  const json weighted =
      report(with({"stop", "weighted.csv", "--target", "y", "--row-weights", "w"}, standard));
  const json all = report(with({"stop", "doubled.csv", "--target", "y", "--copies", "all"}, standard));
  const json once = report(with({"stop", "doubled.csv", "--target", "y"}, standard));

  // Two equal rows also say that the noise is small; the fit at the same time is the same.
  EXPECT_EQ(all["data"]["merged_rows"], 2);
  EXPECT_EQ(all["data"]["pure_error_sd"], 0.0);
  EXPECT_EQ(once["data"]["dropped_copies"], json::array({2, 6}));
  EXPECT_EQ(once["n"], 7);
  EXPECT_NE(all["test"]["p_value"], once["test"]["p_value"]);
  EXPECT_NEAR(weighted["test"]["statistic"].get<double>() / weighted["N"].get<double>(),
              all["test"]["statistic"].get<double>() / (all["N"].get<double>() + 2.0), 1e-9);
}

TEST_F(Choice, TheSpectrumOfMergedReplicatesIsOfTheRowsThatRemain) {
  folder.write("replicates.csv", "x,y\n1,3\n1,3.5\n2,4.5\n3,4\n4,6\n4,5.5\n5,5.5\n6,7\n7,6\n");

  const ProgramResult result =
      run({"spectrum", "replicates.csv", "--target", "y", "--no-intercept", "-o", "spectrum.csv"});

  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("7 eigenvalues of the training operator"), std::string::npos) << result.out;
  EXPECT_EQ(result.out.find("smallest 0,"), std::string::npos) << result.out;
  const std::string table = folder.read("spectrum.csv");
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 8) << table;
  EXPECT_EQ(table.find("NA"), std::string::npos) << table;
}

TEST_F(Choice, TheSameSeedMakesTheSameChoiceForAnyNumberOfThreads) {
  write(90, 7, "data.csv");
  const Words command =
      with({"stop"}, with(data, {"--select", "--selection-rows", "60", "--rules", "chosen"}));

  const json one = report(with(command, {"--threads", "1"})), two = report(with(command, {"--threads", "2"}));

  EXPECT_EQ(one["choice"], two["choice"]);
  EXPECT_EQ(one["choice"]["rows"], 60);
}

TEST_F(Choice, IsRefinedOnMoreRowsByTheSameBitsForAnyNumberOfThreads) {
  write(260, 9, "data.csv");
  const Words command = with(
      {"fit"}, with(data, {"--select", "--candidates", "ntk:relu:1", "--transform", "log", "--selection-rows",
                           "90", "--refine-rows", "250", "--choice-folds", "0", "-o", "m.model"}));
  const json one = report(with(command, {"--threads", "1"}))["choice"],
             two = report(with(command, {"--threads", "2"}))["choice"];
  const json& refinement = one["refinement"];

  EXPECT_EQ(one, two);
  EXPECT_EQ(one["rows"], 90);
  EXPECT_EQ(refinement["rows"], 250);
  EXPECT_EQ(refinement["outcome"], "converged");
  EXPECT_EQ(refinement["probes"], 16);
  for (const json& parameter : refinement["parameters"])
    EXPECT_NEAR(parameter["log_after"].get<double>() - parameter["log_before"].get<double>(),
                parameter["moved"].get<double>() * parameter["posterior_sd_before"].get<double>(), 1e-9);
}

TEST_F(Choice, PredictsByTheMeanOfFitsThatTheReportNames) {
  write(90, 5, "data.csv");
  write(60, 6, "new.csv");
  const Words options = with({"fit"}, with(data, {"--select", "--candidates", "ntk:erf:1", "--choice-folds",
                                                  "0", "-o", "m.safetensors"}));

  const json run_of_mean = report(with(options, {"--average", "3"}));
  const ProgramResult text = run(with(options, {"--average", "3"}));
  const ProgramResult mean = run({"predict", "m.safetensors", "new.csv"});
  const json run_of_one = report(with(options, {"--average", "0"}));
  const ProgramResult one = run({"predict", "m.safetensors", "new.csv"});

  ASSERT_EQ(run_of_mean["choice"]["average"].size(), 3U);
  EXPECT_THAT(run_of_mean["choice"]["average"][0]["kernel"].get<std::string>(),
              testing::HasSubstr("ntk:erf:1"));
  EXPECT_TRUE(run_of_one["choice"]["average"].is_null());
  EXPECT_THAT(text.out, testing::HasSubstr("Predictions are the mean of this fit and 3 others"));
  EXPECT_EQ(run_of_mean["rules"], run_of_one["rules"]);  // times and all else are of the one fit
  EXPECT_NE(mean.out, one.out);
  EXPECT_NEAR(coverage_and_rmse(mean.out, "new.csv").second, coverage_and_rmse(one.out, "new.csv").second,
              0.5);
  const ProgramResult refused = run(with(options, {"--average", "3", "--noise", "student"}));
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_EQ(refused.err, error("--average and --noise: fits are averaged for normal noise only"));
}

TEST_F(Choice, OfAveragesThatCannotBeIsRefused) {
  write(30, 7, "data.csv");
  for (const auto& [options, sentence] :
       {std::pair{Words{"--average", "3"}, "--average is for --select: give that too"},
        std::pair{Words{"--select", "--average", "1"}, "--average 1: must be >= 2, or 0 for none"}}) {
    const ProgramResult result = run(with({"fit"}, with(with(data, options), {"-o", "m.safetensors"})));
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_EQ(result.err, error(sentence));
    EXPECT_FALSE(folder.exists("m.safetensors"));
  }
}

struct RefusedChoice {
  const char* name;
  Words options;
  std::string sentence;
};

class ChoiceRefusal : public testing::TestWithParam<RefusedChoice> {};

TEST_P(ChoiceRefusal, IsOneSentence) {
  TemporaryFolder folder;
  folder.write("data.csv", "x,w,y\n1,1,-3\n2,0,4.5\n3,1,4\n4,2,6\n");

  const ProgramResult result =
      run_program(folder.path(), with({"stop", "data.csv", "--target", "y"}, GetParam().options));

  EXPECT_EQ(result.err, error(GetParam().sentence));
  EXPECT_EQ(result.exit_code, 2);
}

INSTANTIATE_TEST_SUITE_P(
    Options, ChoiceRefusal,
    testing::Values(
        RefusedChoice{"Candidates", {"--candidates", "rbf"}, "--candidates is for --select: give that too"},
        RefusedChoice{
            "Transform",
            {"--transform", "square"},
            "--transform square: must be none, auto, log, box-cox or yeo-johnson, the last two as they are "
            "or with a number, as box-cox=0.5"},
        RefusedChoice{
            "SelectWithNetwork",
            {"--select", "--network", "relu:4x1"},
            "--select and a --transform left to the likelihood are for infinite-width kernels: for a network "
            "or a matrix of your own give --transform with its number, as box-cox=0.5"},
        RefusedChoice{
            "SelectionRows", {"--select", "--selection-rows", "3"}, "--selection-rows 3: must be >= 20"},
        RefusedChoice{"RefineRows", {"--refine-rows", "100"}, "--refine-rows is for --select: give that too"},
        RefusedChoice{"RelevanceOfNoFeature",
                      {"--select", "--relevances", "x,z;w"},
                      "relevance groups: 'z' is no feature that varies"},
        RefusedChoice{"RelevanceTwice",
                      {"--select", "--relevances", "x,w;w"},
                      "relevance groups: column 'w' is in two of them"},
        RefusedChoice{"RelevancesEmpty",
                      {"--select", "--relevances", "x;"},
                      "--relevances x;: must be each, columns, one, or groups of columns, as a,b;c,d"},
        RefusedChoice{"RelevancesWithoutSelect",
                      {"--relevances", "one"},
                      "--relevances is for --select: give that too"},
        RefusedChoice{"Copies", {"--copies", "twice"}, "--copies twice: must be once or all"},
        RefusedChoice{"Weights",
                      {"--row-weights", "w"},
                      "data.csv, line 3, column 'w': the weight is 0; it must be > 0"}),
    [](const auto& tested) { return std::string(tested.param.name); });

}  // namespace
}  // namespace gradflow::cli_test
