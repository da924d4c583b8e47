// Noise models through the program: planted heavy tails, variances and normal noise, what predictions then
// promise, and what is refused.
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

double student(RandomStream& random, int dof) {
  return random.normal() / std::sqrt(random.normals(dof).squaredNorm() / static_cast<double>(dof));
}

struct NoisyRow {
  Vector x;
  double f, y;
};

struct Prediction {
  double mean, lower, upper;
};

class Noise : public testing::Test {
 protected:
  enum class Kind { normal, student, by_column, by_mean };

  // f = 4 + 2 sin x1 + x2 of three features; noise of standard deviation about 0.5.
  std::vector<NoisyRow> write(Kind kind, int n, std::uint64_t seed, const std::string& name) const {
    RandomStream random(seed, "noise models");
    std::vector<NoisyRow> rows;
    std::string text = "x1,x2,size,w,city,y\n";
    for (int i = 0; i < n; ++i) {
      NoisyRow row{random.normals(3), 0.0, 0.0};
      row.f = 4.0 + 2.0 * std::sin(row.x(0)) + row.x(1);
      const double noise = kind == Kind::student ? 0.4 * student(random, 3)
                           : kind == Kind::by_column
                               ? 0.4 * std::exp(0.5 * slope * row.x(2)) * random.normal()
                           : kind == Kind::by_mean ? 0.5 * std::exp(0.2 * (row.f - 4.0)) * random.normal()
                                                   : 0.5 * random.normal();
      row.y = row.f + noise;
      text += fmt::format("{},{},{},{},{},{}\n", row.x(0), row.x(1), row.x(2), 1 + i % 4,
                          i % 2 == 0 ? "Paris" : "Rome", row.y);
      rows.push_back(std::move(row));
    }
    folder.write(name, text);
    return rows;
  }
  ProgramResult run(const Words& arguments) const { return run_program(folder.path(), arguments); }
  json report(const Words& arguments) const {
    const ProgramResult result = run(with(arguments, {"--json", "run.json"}));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return parse_json(folder.read("run.json"));
  }
  std::vector<Prediction> predictions(const Words& options, const Words& how = {}) const {
    EXPECT_EQ(run(with({"fit"}, with(data, with(options, {"-o", "m.model"})))).exit_code, 0);
    const ProgramResult predicted = run(with({"predict", "m.model", "new.csv"}, how));
    EXPECT_EQ(predicted.exit_code, 0) << predicted.err;
    std::istringstream lines(predicted.out);
    std::string line;
    std::getline(lines, line);
    std::vector<Prediction> list;
    while (std::getline(lines, line)) {
      double id = 0.0, sd = 0.0;
      Prediction p{};
      EXPECT_EQ(std::sscanf(line.c_str(), "%lf,%lf,%lf,%lf,%lf", &id, &p.mean, &sd, &p.lower, &p.upper), 5);
      list.push_back(p);
    }
    return list;
  }
  static double rmse(const std::vector<Prediction>& predicted, const std::vector<NoisyRow>& rows) {
    double sum = 0.0;
    for (std::size_t i = 0; i < rows.size(); ++i) sum += std::pow(predicted[i].mean - rows[i].f, 2);
    return std::sqrt(sum / static_cast<double>(rows.size()));
  }
  // Share of the rows with `wanted` whose response is inside.
  template <typename Wanted>
  static double coverage(const std::vector<Prediction>& predicted, const std::vector<NoisyRow>& rows,
                         Wanted wanted) {
    double inside = 0.0, count = 0.0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (!wanted(rows[i])) continue;
      ++count;
      inside += predicted[i].lower <= rows[i].y && rows[i].y <= predicted[i].upper ? 1.0 : 0.0;
    }
    return inside / count;
  }

  static constexpr double slope = 1.5;
  const Words data{"data.csv", "--target", "y", "--exclude", "w,city"};
  TemporaryFolder folder;
};

TEST_F(Noise, HeavyTailsAreFoundOutliersNamedAndTheFunctionIsNearer) {
  std::vector<NoisyRow> rows = write(Kind::student, 200, 1, "data.csv");
  const std::vector<NoisyRow> fresh = write(Kind::student, 1000, 2, "new.csv");
  std::string text = folder.read("data.csv");  // an error of 10 in the last row
  text = fmt::format("{},{}\n", text.substr(0, text.rfind(',')), rows.back().f + 10.0);
  folder.write("data.csv", text);

  const json plain = report(with({"stop"}, data));
  const json found = report(with({"stop"}, with(data, {"--noise", "student"})));

  const json& noise = found["noise"];
  EXPECT_LE(noise["dof"].get<double>(), 5.0);
  EXPECT_EQ(noise["outcome"], "converged");
  EXPECT_GT(noise["bound_gain"].get<double>(), 10.0);
  EXPECT_GT(noise["score_gain"].get<double>(), 2.0 * noise["score_gain_standard_error"].get<double>());
  EXPECT_EQ(noise["lightest_rows"][0]["row"], 200);
  EXPECT_LT(noise["lightest_rows"][0]["weight"].get<double>(), 0.05);
  EXPECT_LE(noise["lightest_rows"].size(), 5U);
  EXPECT_TRUE(plain["noise"].is_null());
  // The weights have seen the response: the test is that without them.
  const double p = plain["test"]["p_value"];
  EXPECT_NEAR(found["test"]["p_value"].get<double>(), p, 1e-9 * p);
  EXPECT_NE(found["chosen"]["time"], plain["chosen"]["time"]);
  // A kernel that fits the function leaves the outliers to the noise.
  const Words select{"--select", "--candidates", "rbf", "--transform", "none"};
  const double normal_error = rmse(predictions(select), fresh);
  const std::vector<Prediction> robust = predictions(with(select, {"--noise", "student"}));
  EXPECT_LT(rmse(robust, fresh), 0.9 * normal_error);
  // 1,000 rows: standard error 0.007; the fit's own error is shared by them.
  EXPECT_NEAR(coverage(robust, fresh, [](const NoisyRow&) { return true; }), 0.95, 0.03);
}

TEST_F(Noise, TheSlopeOfTheLogVarianceIsRecoveredAndIntervalsFitEveryPartOfTheRows) {
  write(Kind::by_column, 250, 3, "data.csv");
  const std::vector<NoisyRow> fresh = write(Kind::by_column, 1500, 4, "new.csv");
  const Words model{"--noise-columns", "size"};

  const json noise = report(with({"stop"}, with(data, model)))["noise"];

  const json& coefficient = noise["coefficients"][0];
  EXPECT_EQ(coefficient["name"], "size");
  EXPECT_NEAR(coefficient["estimate"].get<double>(), slope,
              3.0 * coefficient["standard_error"].get<double>());
  EXPECT_LT(coefficient["standard_error"].get<double>(), 0.2);
  EXPECT_LT(noise["score_p_value"].get<double>(), 1e-6);
  const std::vector<Prediction> equal = predictions({}), own = predictions(model);
  for (const bool large : {false, true}) {
    const auto part = [&](const NoisyRow& row) { return large ? row.x(2) > 0.7 : row.x(2) < -0.7; };
    const double error = std::abs(coverage(own, fresh, part) - 0.95);
    EXPECT_LT(error, std::abs(coverage(equal, fresh, part) - 0.95)) << large;
    EXPECT_LT(error, 0.04) << large;
  }
  EXPECT_LT(rmse(own, fresh), rmse(equal, fresh));
}

TEST_F(Noise, NormalNoiseIsLeftNormal) {
  write(Kind::normal, 200, 5, "data.csv");

  const json plain = report(with({"stop"}, data));
  const json student = report(with({"stop"}, with(data, {"--noise", "student"})));
  const json fitted = report(with({"stop"}, with(data, {"--noise", "fitted"})));

  EXPECT_TRUE(student["noise"]["dof"].is_null() || student["noise"]["dof"].get<double>() >= 30.0);
  const double tau = plain["fits"]["ridge"]["path"]["time"];
  EXPECT_NEAR(student["fits"]["ridge"]["path"]["time"].get<double>(), tau, 0.05 * tau);
  const json& slope_of_mean = fitted["noise"]["coefficients"][0];
  EXPECT_EQ(slope_of_mean["name"], "(fitted mean)");
  EXPECT_LT(std::abs(slope_of_mean["estimate"].get<double>()),
            3.0 * slope_of_mean["standard_error"].get<double>());
}

TEST_F(Noise, NoiseThatGrowsWithTheMeanWidensTheIntervalsOfLargePredictions) {
  write(Kind::by_mean, 250, 6, "data.csv");
  const std::vector<NoisyRow> fresh = write(Kind::by_mean, 1500, 7, "new.csv");

  const json noise = report(with({"stop"}, with(data, {"--noise", "fitted"})))["noise"];
  const std::vector<Prediction> equal = predictions({}), own = predictions({"--noise", "fitted"});

  EXPECT_NEAR(noise["coefficients"][0]["estimate"].get<double>(), 0.4,
              3.0 * noise["coefficients"][0]["standard_error"].get<double>());
  for (const bool large : {false, true}) {
    const auto part = [&](const NoisyRow& row) { return large ? row.f > 6.0 : row.f < 2.0; };
    EXPECT_LT(std::abs(coverage(own, fresh, part) - 0.95),
              std::abs(coverage(equal, fresh, part) - 0.95) + 0.01)
        << large;
  }
}

TEST_F(Noise, GivenWeightsAreHeldBesideTheEstimatedOnes) {
  RandomStream random(8, "weighted noise");
  std::string text = "x,w,y\n";
  for (int i = 0; i < 200; ++i) {
    const double x = random.normal(), w = i % 2 == 0 ? 0.2 : 5.0;
    text += fmt::format("{},{},{}\n", x, w, std::sin(x) + 0.3 * student(random, 3) / std::sqrt(w));
  }
  folder.write("data.csv", text);

  const json noise =
      report({"stop", "data.csv", "--target", "y", "--row-weights", "w", "--noise", "student"})["noise"];

  EXPECT_LE(noise["dof"].get<double>(), 5.0);
  double noisy = 0.0, exact = 0.0;
  for (std::size_t i = 0; i < 200; ++i)
    (i % 2 == 0 ? noisy : exact) += noise["weights"][i].get<double>() / 100.0;
  // Neither half is taken for outliers: weights of standard deviation about 0.4 in each.
  EXPECT_NEAR(noisy, exact, 0.25);
}

TEST_F(Noise, TheGivenDegreesOfFreedomAreTakenAndSeveralTargetsHaveTheirOwnModels) {
  write(Kind::student, 80, 9, "data.csv");

  const json given = report(with({"stop"}, with(data, {"--noise", "student=4"})));
  const json both =
      report({"stop", "data.csv", "--target", "y,x2", "--exclude", "w,city", "--noise", "student"});

  EXPECT_EQ(given["noise"]["dof"], 4.0);
  EXPECT_TRUE(both["targets"]["y"]["noise"].is_object());
  EXPECT_TRUE(both["targets"]["x2"]["noise"].is_object());
}

TEST_F(Noise, CalibratedIntervalsKnowHeavyTailsWithoutANoiseModel) {
  write(Kind::student, 300, 21, "data.csv");
  const std::vector<NoisyRow> fresh = write(Kind::student, 1000, 22, "new.csv");
  const auto any = [](const NoisyRow&) { return true; };

  const json fitted = report(with({"fit"}, with(data, {"-o", "m.model"})));
  const double by_default = coverage(predictions({}, {"--level", "0.5"}), fresh, any),
               of_model = coverage(predictions({}, {"--level", "0.5", "--interval", "model"}), fresh, any);
  const ProgramResult text = run(with({"stop"}, data));
  const ProgramResult said = run({"predict", "m.model", "new.csv", "-o", "p.csv", "--json", "p.json"});

  const json& calibration = fitted["error_calibration"];
  EXPECT_EQ(calibration["rows"], 300);
  EXPECT_GT(calibration["gain"].get<double>(), 4.0);
  EXPECT_GT(calibration["members"].size(), 1U);
  EXPECT_NEAR(by_default, 0.5, 0.06);
  EXPECT_GT(of_model, by_default + 0.02);
  EXPECT_THAT(text.out, testing::HasSubstr("Errors of 300 rows, each predicted from the others: "));
  EXPECT_THAT(text.out, testing::HasSubstr("and not normal (a mixture of scales gains"));
  EXPECT_THAT(said.out, testing::HasSubstr("Intervals of 95 %: "));
  const json predicted = parse_json(folder.read("p.json"));
  EXPECT_EQ(predicted["interval"], "calibrated");
  EXPECT_EQ(predicted["sd_factor"], calibration["factor"]);
  EXPECT_EQ(predicted["model"]["error_calibration"], calibration);
}

TEST_F(Noise, WhereErrorsAreNotCalibratedTheModelsIntervalsStandAndTheReasonIsSaid) {
  write(Kind::normal, 28, 23, "data.csv");
  write(Kind::normal, 5, 24, "new.csv");

  const ProgramResult fitted = run(with({"fit"}, with(data, {"-o", "m.model"})));
  const ProgramResult by_default = run({"predict", "m.model", "new.csv"}),
                      of_model = run({"predict", "m.model", "new.csv", "--interval", "model"}),
                      asked = run({"predict", "m.model", "new.csv", "--interval", "calibrated"});

  EXPECT_THAT(fitted.out,
              testing::HasSubstr("Errors of predictions were not calibrated: 27 rows, without those"));
  EXPECT_EQ(by_default.out, of_model.out);
  EXPECT_EQ(asked.exit_code, 2);
  EXPECT_THAT(asked.err, testing::HasSubstr("--interval calibrated: the model's errors were not calibrated"));
}

TEST_F(Noise, CalibratedIntervalsOfBothEnginesAgree) {
  write(Kind::student, 120, 25, "data.csv");
  write(Kind::student, 5, 26, "new.csv");

  const json dense = report(with({"fit"}, with(data, {"-o", "dense.model"})))["error_calibration"],
             krylov = report(
                 with({"fit"}, with(data, {"--engine", "krylov", "-o", "m.model"})))["error_calibration"];

  EXPECT_EQ(krylov["rows"], 120);
  EXPECT_EQ(krylov["sampled_from"], 0);
  EXPECT_NEAR(krylov["factor"].get<double>(), dense["factor"].get<double>(), 1e-3);
  EXPECT_NEAR(krylov["gain"].get<double>(), dense["gain"].get<double>(), 0.05);
}

TEST_F(Noise, PredictionsNeedTheColumnsOfTheNoise) {
  write(Kind::by_column, 80, 10, "data.csv");
  write(Kind::by_column, 5, 11, "new.csv");
  const Words columns{"--columns", "x1,x2", "--covariates", "size", "--noise-columns", "size"};
  ASSERT_EQ(run(with({"fit", "data.csv", "--target", "y", "-o", "m.model"}, columns)).exit_code, 0);
  folder.write("short.csv", "x1,x2\n1,2\n");

  const ProgramResult result = run({"predict", "m.model", "short.csv"});
  const ProgramResult free = run({"predict", "m.model", "new.csv", "--interval", "jackknife+"});

  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, testing::HasSubstr("'size'"));
  EXPECT_EQ(free.err,
            error("--interval jackknife+: not for a model with noise model 'variance': its weights have seen "
                  "the rows that would be left out: use --interval model"));
}

TEST_F(Noise, ANoiseModelWithoutAnEstimateIsNotUsableAndWritesNoModel) {
  RandomStream random(12, "no noise");
  std::string text = "x,exact,y\n";  // half of the rows lie on a line
  for (int i = 0; i < 60; ++i) {
    const double x = 0.1 * i;
    text += fmt::format("{},{},{}\n", x, i % 2, 2.0 * x + (i % 2 == 1 ? 0.0 : random.normal()));
  }
  folder.write("data.csv", text);

  const ProgramResult result =
      run({"fit", "data.csv", "--target", "y", "--covariates", "x", "--columns", "x,exact", "--noise-columns",
           "exact", "--kernel", "linear", "-o", "m.model", "--json", "run.json"});

  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.err,
              testing::StartsWith("gradflow: no model was written: the noise model has no estimate"));
  EXPECT_THAT(result.out, testing::HasSubstr("could not be estimated"));
  EXPECT_FALSE(folder.exists("m.model"));
  const json noise = parse_json(folder.read("run.json"))["noise"];
  EXPECT_EQ(noise["applied"], false);
  EXPECT_NE(noise["outcome"], "converged");
}

TEST_F(Noise, TheReportHasASectionOfIt) {
  write(Kind::student, 80, 13, "data.csv");
  ASSERT_EQ(run(with({"stop"}, with(data, {"--noise", "student=3", "--json", "run.json"}))).exit_code, 0);

  const ProgramResult result = run({"report", "run.json", "-o", "run.html"});

  if (result.exit_code != 0) GTEST_SKIP() << result.err;  // gnuplot is not installed
  const std::string html = folder.read("run.html");
  EXPECT_THAT(html, testing::HasSubstr("What is the noise like?"));
  EXPECT_THAT(html, testing::HasSubstr("rows have a weight below"));
}

struct RefusedNoise {
  const char* name;
  Words arguments;
  std::string sentence;
};

class NoiseRefusal : public testing::TestWithParam<RefusedNoise> {};

TEST_P(NoiseRefusal, IsOneSentence) {
  TemporaryFolder folder;
  folder.write("data.csv", "x,c,w,y\n1,1,1,-3\n2,1,2,4.5\n3,1,1,4\n4,1,2,6\n5,1,1,5\n6,1,3,8\n");
  Words arguments = GetParam().arguments;
  if (arguments.front().starts_with("--"))
    arguments.insert(arguments.begin(), {"stop", "data.csv", "--target", "y"});

  const ProgramResult result = run_program(folder.path(), arguments);

  EXPECT_EQ(result.err, error(GetParam().sentence));
  EXPECT_EQ(result.exit_code, 2);
}

INSTANTIATE_TEST_SUITE_P(
    Options, NoiseRefusal,
    testing::Values(
        RefusedNoise{"Spelling",
                     {"--noise", "laplace"},
                     "--noise laplace: must be normal, student, student=NU or fitted; columns are for "
                     "--noise-columns"},
        RefusedNoise{"NormalWithANumber",
                     {"--noise", "normal=3"},
                     "--noise normal=3: must be normal, student, student=NU or fitted; columns are for "
                     "--noise-columns"},
        RefusedNoise{
            "FewDegreesOfFreedom",
            {"--noise", "student=1.5"},
            "--noise student=1.5: the degrees of freedom must be > 2 (below, the variance is infinite) and "
            "at most 1000 (above, take normal noise)"},
        RefusedNoise{"UnknownColumn",
                     {"--noise-columns", "z"},
                     "--noise-columns: 'z' is neither a feature nor a covariate of this run"},
        RefusedNoise{"ExcludedColumn",
                     {"--noise-columns", "w", "--exclude", "w"},
                     "--noise-columns: 'w' is neither a feature nor a covariate of this run"},
        RefusedNoise{"ConstantColumn",
                     {"--noise-columns", "c"},
                     "--noise-columns: 'c' is constant in the rows used: it cannot explain the noise"},
        RefusedNoise{
            "TwoModels",
            {"--noise", "student", "--noise-columns", "x"},
            "--noise student and --noise-columns: the noise has one model, heavy tails or variances"},
        RefusedNoise{"Krylov",
                     {"--noise", "student", "--engine", "krylov"},
                     "--noise and --engine krylov: noise models need the dense engine"},
        RefusedNoise{"Paper",
                     {"--noise", "fitted", "--paper"},
                     "--noise and --paper: the paper's method has normal noise"},
        RefusedNoise{"Classes", {"--noise", "student", "--classes"}, "--noise is not for --classes"}),
    [](const auto& tested) { return std::string(tested.param.name); });

TEST(NoiseOfTheTest, IsNormal) {
  TemporaryFolder folder;
  folder.write("data.csv", "x,y\n1,-3\n2,4.5\n3,4\n4,6\n");

  const ProgramResult result =
      run_program(folder.path(), {"test", "data.csv", "--target", "y", "--noise", "student"});

  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, testing::HasSubstr("--noise"));
}

}  // namespace
}  // namespace gradflow::cli_test
