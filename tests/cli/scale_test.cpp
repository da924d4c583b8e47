// Large data and large networks: the engines, storages and precisions answer alike.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <ostream>
#include <sstream>

#include "cli/process.h"
#include "gradflow/model/fitted_model.h"
#include "support/json.h"

namespace gradflow::cli_test {
namespace {

using nlohmann::json;

json run_json(const TemporaryFolder& folder, const Words& arguments) {
  const ProgramResult result = run_program(folder.path(), with(arguments, {"--quiet", "--json", "run.json"}));
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out + result.err, "");
  return result.exit_code == 0 ? parse_json(folder.read("run.json")) : json{};
}

// How the operator is said and kept, beside the dense engine.
struct Setting {
  const char* name;
  Words network, compute;
  double time_tolerance;  // relative, of reml-flow: float32 entries move the operator itself
};

void PrintTo(const Setting& setting, std::ostream* stream) { *stream << setting.name; }

const Words wide_network{"--network", "relu:64x2"},
    kernel_sum{"--kernel", "ntk:relu:1 + 0.3*linear + 0.2*matern52"};
constexpr double exact = 1e-8, rounded = 1e-5;

class Engines : public testing::TestWithParam<Setting> {
 protected:
  static void expect_agreement(const json& dense, const json& krylov, double time_tolerance) {
    EXPECT_EQ(dense["plan"]["engine"], "dense");
    EXPECT_EQ(krylov["plan"]["engine"], "krylov");
    const double log10_p = dense["test"]["log10_p_value"];
    EXPECT_NEAR(krylov["test"]["log10_p_value"], log10_p, std::max(0.01, 1e-3 * std::abs(log10_p)));
    const double flow = dense["rules"]["reml-flow"]["time"];
    EXPECT_NEAR(krylov["rules"]["reml-flow"]["time"], flow, time_tolerance * flow);
    const json& validation = krylov["rules"]["validation"];
    for (const char* name : {"expected-loo", "reml-risk"}) {
      const json& risk = krylov["rules"][name];
      EXPECT_NEAR(std::log(risk["time"].get<double>()), std::log(dense["rules"][name]["time"].get<double>()),
                  std::max(4.0 * risk["log_time_standard_error"].get<double>(), 1e-3))
          << name;
    }
    const double held_out = dense["rules"]["validation"]["time"];
    EXPECT_NEAR(validation["time"], held_out, (time_tolerance == exact ? 1e-5 : 1e-3) * held_out);
  }

  TemporaryFolder folder;
};

TEST_P(Engines, AgreeOnTheDiabetesExample) {
  const std::string table = std::string(GRADFLOW_SOURCE_DIR) + "/examples/diabetes.csv";
  const Words question = with({"stop", table, "--target", "target"}, GetParam().network);

  const json dense = run_json(folder, with(question, {"--engine", "dense"}));
  const json krylov = run_json(folder, with(with(question, {"--engine", "krylov"}), GetParam().compute));

  expect_agreement(dense, krylov, GetParam().time_tolerance);
}

TEST_P(Engines, AgreeOnSixHundredRows) {
  folder.write("data.csv", csv_of(small_data(sanitized ? 150 : 600)));
  const Words question = with({"stop", "data.csv", "--target", "y"}, GetParam().network);

  const json dense = run_json(folder, with(question, {"--engine", "dense"}));
  const json krylov = run_json(folder, with(with(question, {"--engine", "krylov"}), GetParam().compute));

  expect_agreement(dense, krylov, GetParam().time_tolerance);
}

INSTANTIATE_TEST_SUITE_P(
    Settings, Engines,
    testing::Values(
        Setting{"KernelKept", {}, {"--storage", "memory", "--precision", "float64"}, exact},
        Setting{"KernelKeptRounded", {}, {"--storage", "memory", "--precision", "float32"}, rounded},
        Setting{"KernelEvaluated", {}, {"--storage", "none", "--precision", "float64"}, exact},
        Setting{"KernelEvaluatedRounded", {}, {"--storage", "none", "--precision", "float32"}, rounded},
        Setting{"SumKept", kernel_sum, {"--storage", "memory", "--precision", "float64"}, exact},
        Setting{"SumEvaluated", kernel_sum, {"--storage", "none", "--precision", "float64"}, exact},
        Setting{"SumEvaluatedRounded", kernel_sum, {"--storage", "none", "--precision", "float32"}, rounded},
        Setting{"NetworkKept", wide_network, {"--storage", "memory", "--precision", "float64"}, exact},
        Setting{
            "NetworkKeptRounded", wide_network, {"--storage", "memory", "--precision", "float32"}, rounded},
        Setting{"NetworkMatrixFree", wide_network, {"--storage", "none", "--precision", "float64"}, exact},
        Setting{"NetworkMatrixFreeRounded",
                wide_network,
                {"--storage", "none", "--precision", "float32"},
                rounded}),
    [](const testing::TestParamInfo<Setting>& tested) { return tested.param.name; });

class Scale : public testing::Test {
 protected:
  void SetUp() override { folder.write("data.csv", csv_of(small_data(rows))); }
  ProgramResult run(const Words& arguments) const { return run_program(folder.path(), arguments); }

  const Index rows = sanitized ? 120 : 500;
  TemporaryFolder folder;
  const Words data{"data.csv", "--target", "y"};
  const Words matrix_free{"--engine", "krylov", "--storage", "none", "--network", "relu:16x2"};
};

TEST_F(Scale, AMatrixOfOnesOwnGetsTheSameAnswersFromBothEngines) {
  ASSERT_EQ(run({"kernel", "data.csv", "--exclude", "y", "-o", "H.npy"}).exit_code, 0);
  const Words question = with(with({"stop"}, data), {"--operator", "H.npy"});

  const json dense = run_json(folder, with(question, {"--engine", "dense"}));
  const json krylov = run_json(folder, with(question, {"--engine", "krylov"}));

  const double flow = dense["rules"]["reml-flow"]["time"];
  EXPECT_NEAR(krylov["rules"]["reml-flow"]["time"], flow, exact * flow);
  EXPECT_NEAR(krylov["test"]["log10_p_value"], dense["test"]["log10_p_value"],
              std::max(0.01, 1e-3 * std::abs(dense["test"]["log10_p_value"].get<double>())));
}

// mean and sd of a CSV of predictions, NA as NaN; one row per line.
Matrix means_and_sds(const std::string& csv) {
  std::vector<double> values;
  std::istringstream lines(csv);
  std::string line, field;
  std::getline(lines, line);
  while (std::getline(lines, line)) {
    std::istringstream fields(line);
    std::getline(fields, field, ',');
    for (int column = 0; column < 2; ++column) {
      std::getline(fields, field, ',');
      values.push_back(field == "NA" ? std::nan("") : std::stod(field));
    }
  }
  return Eigen::Map<const Matrix>(values.data(), 2, static_cast<Index>(values.size()) / 2).transpose();
}

double sd_of(const Vector& values) { return std::sqrt((values.array() - values.mean()).square().mean()); }

TEST_F(Scale, ALinearisedNetworkPredictsWhatTheDenseEnginesModelPredicts) {
  folder.write("new.csv", csv_of(small_data(50, 7)));
  const Words fit = with(with({"fit"}, data), {"--rule", "reml-flow", "--network", "relu:16x2"});

  ASSERT_EQ(run(with(fit, {"--engine", "dense", "-o", "dense.model"})).exit_code, 0);
  ASSERT_EQ(run(with(fit, {"--engine", "krylov", "--storage", "none", "--precision", "float64", "-o",
                           "free.model"}))
                .exit_code,
            0);

  const Matrix dense = means_and_sds(run({"predict", "dense.model", "new.csv"}).out);
  const Matrix free = means_and_sds(run({"predict", "free.model", "new.csv"}).out);
  EXPECT_LT((dense.col(0) - free.col(0)).cwiseAbs().maxCoeff(), 1e-6 * sd_of(small_data(rows).y));
  EXPECT_LT((dense.col(1).array() / free.col(1).array() - 1.0).abs().maxCoeff(), 0.1);  // of tau's probes
}

TEST_F(Scale, AModelOfALinearisedNetworkReadsBackAsItWasWritten) {
  ASSERT_EQ(run(with(with({"fit"}, data), with(matrix_free, {"-o", "m.model"}))).exit_code, 0);

  const FittedModel model = FittedModel::load(folder / "m.model");
  model.save(folder / "again.model");

  ASSERT_TRUE(model.linearised.has_value());
  EXPECT_EQ(model.X.cols(), 2);
  EXPECT_TRUE(folder.read("again.model") == folder.read("m.model"));
}

TEST_F(Scale, AModelWithoutItsTrainingRowsPredicts) {
  const Index many = FittedModel::most_factored_rows + 10;
  folder.write("many.csv", csv_of(small_data(many)));
  folder.write("new.csv", csv_of(small_data(20, 7)));

  ASSERT_EQ(run({"fit", "many.csv", "--target", "y", "--network", "relu:8", "--storage", "none", "--rule",
                 "reml-flow", "--rules", "chosen", "-o", "m.model"})
                .exit_code,
            0);
  const ProgramResult result = run({"predict", "m.model", "new.csv"});

  EXPECT_EQ(result.exit_code, 0);
  EXPECT_NE(result.err.find("Standard deviations and intervals are NA: they need a factorisation of "
                            "8010 x 8010 entries, which is made up to 8000 training rows."),
            std::string::npos)
      << result.err;
  const Matrix predictions = means_and_sds(result.out);
  EXPECT_TRUE(predictions.col(1).array().isNaN().all());
  const Vector missed = predictions.col(0) - small_data(20, 7).y;
  EXPECT_LT(missed.norm(), 0.5 * (small_data(20, 7).y.array() - small_data(20, 7).y.mean()).matrix().norm());
  EXPECT_EQ(FittedModel::load(folder / "m.model").X.cols(), 0);
}

TEST_F(Scale, OnlyTheChosenRuleRunsWhereOneIsAskedFor) {
  const Words question =
      with(with({"stop"}, data), with(matrix_free, {"--rule", "reml-flow", "--rules", "chosen"}));

  const ProgramResult result = run(with(question, {"--json", "run.json"}));

  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("gcv                NA     NA      NA"), std::string::npos) << result.out;
  EXPECT_EQ(result.out.find("NA %"), std::string::npos) << result.out;
  const json report = parse_json(folder.read("run.json"));
  for (const char* rule : {"expected-loo", "reml-risk", "gcv", "loo", "validation"}) {
    EXPECT_EQ(report["rules"][rule]["outcome"], "not_run") << rule;
    EXPECT_TRUE(report["rules"][rule]["time"].is_null()) << rule;
  }
  EXPECT_EQ(report["rules"]["reml-flow"]["outcome"], "converged");
  EXPECT_TRUE(report["noise_variance"].is_number());
}

TEST_F(Scale, TheChosenRuleAloneSaysWhatItSaysAmongAll) {
  for (const char* rule : {"reml-flow", "expected-loo", "reml-risk", "gcv", "loo", "validation"}) {
    const Words question = with(with({"stop"}, data), with(matrix_free, {"--rule", rule}));

    const json all = run_json(folder, question);
    const json alone = run_json(folder, with(question, {"--rules", "chosen"}));

    const double time = all["chosen"]["time"], error = all["rules"][rule]["log_time_standard_error"];
    EXPECT_NEAR(std::log(alone["chosen"]["time"].get<double>() / time), 0.0, std::max(4.0 * error, 1e-5))
        << rule;
  }
}

TEST_F(Scale, AModelOfRemlFlowAloneHasNoStandardDeviations) {
  ASSERT_EQ(run(with(with({"fit"}, data),
                     with(matrix_free, {"--rule", "reml-flow", "--rules", "chosen", "-o", "m.model"})))
                .exit_code,
            0);

  const ProgramResult result = run({"predict", "m.model", "data.csv"});

  EXPECT_NE(result.err.find("Standard deviations are NA: the model has no variance components."),
            std::string::npos)
      << result.err;
  EXPECT_TRUE(means_and_sds(result.out).col(1).array().isNaN().all());
}

TEST_F(Scale, ThePlanIsALineOnStandardError) {
  const Words question = with(with({"stop"}, data), matrix_free);

  const ProgramResult loud = run(with(question, {"--json", "run.json"}));
  const ProgramResult quiet = run(with(question, {"--quiet"}));
  const ProgramResult dense = run(with({"stop"}, data));

  const std::string plan = parse_json(folder.read("run.json"))["plan"]["text"];
  EXPECT_EQ(loud.err, "gradflow: " + plan + "\n");
  EXPECT_EQ(
      plan.find(fmt::format("n = {}: Krylov spaces, matrix-free in float32, sweeps kept, about ", rows)), 0U)
      << plan;
  EXPECT_EQ(loud.out.find("Krylov spaces"), std::string::npos);
  EXPECT_EQ(loud.out.find("NA %"), std::string::npos);
  EXPECT_EQ(quiet.err + quiet.out, "");
  EXPECT_EQ(dense.err, "");
}

}  // namespace
}  // namespace gradflow::cli_test
