#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <sstream>

#include "cli/run_program.h"
#include "gradflow/base/parallel.h"
#include "gradflow/data/safetensors.h"
#include "gradflow/model/fitted_model.h"
#include "gradflow/operators/finite_ntk.h"
#include "support/json.h"

namespace gradflow::cli_test {
namespace {

using nlohmann::json;

class Program : public testing::Test {
 protected:
  void SetUp() override { folder.write("data.csv", csv_of(small_data(40), true)); }

  ProgramResult run(const Words& arguments) const { return run_program(folder.path(), arguments); }

  // Runs a command that must succeed and returns its JSON.
  json run_json(Words arguments) const {
    arguments.insert(arguments.end(), {"--json", "run.json"});
    const ProgramResult result = run(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return parse_json(folder.read("run.json"));
  }

  TemporaryFolder folder;
  const Words data{"data.csv", "--target", "y", "--id", "name"};
};

/// The predictions of a CSV file: NA is NaN.
struct PredictedRows {
  Words ids;
  Matrix values;  // mean, sd, lower, upper
};

PredictedRows parse_predictions(const std::string& csv) {
  std::istringstream lines(csv);
  std::string line;
  std::getline(lines, line);
  EXPECT_EQ(line, "id,mean,sd,lower,upper");
  std::vector<std::vector<double>> values;
  PredictedRows rows;
  while (std::getline(lines, line)) {
    std::istringstream fields(line);
    std::string field;
    std::getline(fields, field, ',');
    rows.ids.push_back(field);
    values.emplace_back();
    while (std::getline(fields, field, ','))
      values.back().push_back(field == "NA" ? std::nan("") : std::stod(field));
  }
  rows.values.resize(static_cast<Index>(values.size()), 4);
  for (std::size_t i = 0; i < values.size(); ++i)
    rows.values.row(static_cast<Index>(i)) = Eigen::Map<const Eigen::RowVectorXd>(values[i].data(), 4);
  return rows;
}

double largest_difference(const Matrix& a, const Matrix& b) { return (a - b).cwiseAbs().maxCoeff(); }

Job data_job(const TemporaryFolder& folder) {
  Job job;
  job.source.table = folder / "data.csv";
  job.dataset.target = "y";
  job.dataset.id = "name";
  return job;
}

TEST_F(Program, StopReportsTheContractFields) {
  const json report = run_json(with({"stop"}, data, {"--learning-rate", "0.1"}));

  for (const char* name : {"p_value", "log10_p_value", "p_value_satterthwaite"})
    EXPECT_TRUE(report["test"][name].is_number());
  for (const char* rule : {"expected-loo", "reml-risk", "reml-flow", "gcv", "loo", "validation"})
    EXPECT_TRUE(report["rules"][rule]["time"].is_number()) << rule;
  EXPECT_EQ(report["chosen"]["rule"], "expected-loo");
  EXPECT_EQ(report["chosen"]["time"], report["rules"]["expected-loo"]["time"]);
  EXPECT_TRUE(report["noise_variance"].is_number());
  EXPECT_TRUE(report["effective_dof"].is_number());
  EXPECT_EQ(report["n"], 40);
  EXPECT_EQ(report["N"], 39);
  EXPECT_EQ(report["seed"], 1);
  EXPECT_EQ(report["options"]["missing"], "drop");
  EXPECT_EQ(report["options"]["kernel"], "ntk:relu:2");
  EXPECT_EQ(report["argv"][1], "stop");
}

TEST_F(Program, StopEqualsTheLibrary) {
  set_threads(0);  // as the program does, whatever the environment asks of BLAS
  const Job job = data_job(folder);
  const JobResult expected = gradflow::run(job);

  const json report = run_json(with({"stop"}, data));

  EXPECT_DOUBLE_EQ(report["chosen"]["time"], expected.analysis.rule().time);
  EXPECT_DOUBLE_EQ(report["test"]["log10_p_value"], expected.analysis.test.log10_p_value);
  EXPECT_DOUBLE_EQ(report["noise_variance"], expected.analysis.noise_variance);
}

TEST_F(Program, StepsAreTheTimeDividedByTheLearningRate) {
  const json none = run_json(with({"stop"}, data));
  const json half = run_json(with({"stop"}, data, {"--learning-rate", "0.1"}));
  const json mse = run_json(with({"stop"}, data, {"--learning-rate", "0.1", "--loss", "mse"}));

  const double time = none["chosen"]["time"];
  EXPECT_TRUE(none["chosen"]["steps"].is_null());
  EXPECT_NEAR(half["chosen"]["steps"], time / 0.1, 1.0);
  EXPECT_NEAR(mse["chosen"]["steps"], time / 0.2, 1.0);
}

TEST_F(Program, PredictionsEqualTheLibrarysAndCarryTheIdentifiers) {
  const Job job = data_job(folder);
  const FittedModel model = make_model(job, gradflow::run(job));
  const Predictions expected = predict(model, encode(model.recipe, read_table(folder / "data.csv")));

  ASSERT_EQ(run(with({"fit"}, data, {"-o", "m.model"})).exit_code, 0);
  ASSERT_EQ(run({"predict", "m.model", "data.csv", "-o", "p.csv"}).exit_code, 0);

  const PredictedRows rows = parse_predictions(folder.read("p.csv"));
  EXPECT_EQ(rows.ids.front(), "r1");
  EXPECT_EQ(rows.ids.back(), "r40");
  EXPECT_LT(largest_difference(rows.values.col(0), expected.mean), 1e-10);
  EXPECT_LT(largest_difference(rows.values.col(1), expected.sd), 1e-10);
  const ProgramResult printed = run({"predict", "m.model", "data.csv", "-o", "-"});
  EXPECT_EQ(printed.out, folder.read("p.csv"));
}

TEST_F(Program, PredictionsOfTrainingRowsAreTheFit) {
  const Job job = data_job(folder);
  const JobResult result = gradflow::run(job);
  const Vector fitted = result.analysis.fit.fitted + result.prepared.observations.f0;

  ASSERT_EQ(run(with({"fit"}, data, {"-o", "m.model"})).exit_code, 0);

  const PredictedRows rows = parse_predictions(run({"predict", "m.model", "data.csv"}).out);
  EXPECT_LT(largest_difference(rows.values.col(0), fitted), 1e-10);
}

TEST_F(Program, PredictionsFollowTheUnitsOfTheResponse) {
  SmallData changed = small_data(40);
  changed.y = 1000.0 + 50.0 * changed.y.array();
  folder.write("changed.csv", csv_of(changed));

  ASSERT_EQ(run(with({"fit"}, data, {"-o", "a.model"})).exit_code, 0);
  ASSERT_EQ(run({"fit", "changed.csv", "--target", "y", "-o", "b.model"}).exit_code, 0);

  const Matrix a = parse_predictions(run({"predict", "a.model", "data.csv"}).out).values;
  const Matrix b = parse_predictions(run({"predict", "b.model", "changed.csv"}).out).values;
  EXPECT_LT(largest_difference(1000.0 + 50.0 * a.col(0).array(), b.col(0)), 1e-5);
  EXPECT_LT(largest_difference(50.0 * a.col(1), b.col(1)), 1e-5);
}

TEST_F(Program, LevelOfPredictionsCanBeChanged) {
  ASSERT_EQ(run(with({"fit"}, data, {"-o", "m.model", "--level", "0.9"})).exit_code, 0);

  const auto widths = [&](const std::vector<std::string>& options) -> Eigen::ArrayXd {
    const Matrix values =
        parse_predictions(run(with({"predict", "m.model", "data.csv"}, options)).out).values;
    return values.col(3) - values.col(2);
  };
  const Eigen::ArrayXd ratio =
      widths({"--interval", "model", "--level", "0.99"}) / widths({"--interval", "model"});
  // 40 rows and an intercept: Student's t of 39 degrees of freedom, qt(0.995, 39) / qt(0.95, 39)
  EXPECT_LT((ratio - 2.7079131835176 / 1.6848751217112).abs().maxCoeff(), 1e-9);
  EXPECT_GT((widths({"--level", "0.99"}) / widths({})).minCoeff(), 1.4);
}

TEST_F(Program, AFailedFitLeavesTheModelAsItWas) {
  ASSERT_EQ(run(with({"fit"}, data, {"-o", "m.model"})).exit_code, 0);
  const std::string before = folder.read("m.model");
  folder.write("bad.csv", "x1,x2,y\n1,2,3\n4,5\n");
  folder.write("two.csv", "x1,x2,y\n1,2,3\n2,5,4\n");

  const ProgramResult bad = run({"fit", "bad.csv", "--target", "y", "-o", "m.model"});
  const ProgramResult unidentified = run({"fit", "two.csv", "--target", "y", "-o", "m.model"});

  EXPECT_EQ(bad.exit_code, 2);
  EXPECT_EQ(unidentified.exit_code, 3);
  EXPECT_NE(unidentified.err.find("no model was written"), std::string::npos);
  EXPECT_EQ(folder.read("m.model"), before);
}

TEST_F(Program, AnUnidentifiedTimeIsAResultWithExitCodeThree) {
  folder.write("two.csv", "x1,x2,y\n1,2,3\n2,5,4\n");

  const ProgramResult result = run({"stop", "two.csv", "--target", "y", "--json", "run.json"});

  EXPECT_EQ(result.exit_code, 3);
  EXPECT_EQ(result.err, "");
  EXPECT_EQ(result.out.find("Whether training is warranted cannot be told"), 0U);
  const json report = parse_json(folder.read("run.json"));
  EXPECT_EQ(report["outcome"], "unidentified");
  EXPECT_TRUE(report["chosen"]["time"].is_null());
  EXPECT_TRUE(report["test"]["p_value"].is_null());
}

TEST_F(Program, PaperModeHasNoFixedEffectsAndItsOwnRule) {
  const json report = run_json(with({"stop"}, data, {"--paper", "--network", "relu:16"}));

  EXPECT_EQ(report["chosen"]["rule"], "reml-flow");
  EXPECT_EQ(report["options"]["rule"], "reml-flow");
  EXPECT_TRUE(report["fixed_effects"].empty());
  EXPECT_EQ(report["N"], 40);
}

TEST_F(Program, QuietPrintsNothing) {
  const ProgramResult result = run(with({"stop"}, data, {"--quiet", "--json", "run.json"}));

  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out + result.err, "");
  EXPECT_TRUE(folder.exists("run.json"));
}

TEST_F(Program, GzipAndTabsReadTheSameData) {
  const std::string tsv = csv_of(small_data(40), true, '\t');
  folder.write("data.tsv", tsv);
  folder.write_gzip("data.tsv.gz", tsv);

  const json plain = run_json(with({"stop"}, data));
  const json tabs = run_json({"stop", "data.tsv", "--target", "y", "--id", "name"});
  const json zipped = run_json({"stop", "data.tsv.gz", "--target", "y", "--id", "name"});

  EXPECT_EQ(tabs["chosen"], plain["chosen"]);
  EXPECT_EQ(zipped["chosen"], plain["chosen"]);
}

TEST_F(Program, ArraysReadTheSameData) {
  const SmallData small = small_data(40);
  folder.write("X.npy", npy_bytes(small.X));
  folder.write("both.npz", npz_bytes({{"X", npy_bytes(small.X)}, {"y", npy_bytes_vector(small.y)}}));

  const json table = run_json(with({"stop"}, data));
  const json arrays = run_json({"stop", "--features", "X.npy", "--response", "both.npz:y"});

  EXPECT_NEAR(arrays["chosen"]["time"], table["chosen"]["time"], 1e-9);
}

TEST_F(Program, GivenWeightsMakeTheOperator) {
  const SmallData small = small_data(40);
  const DenseNetwork network = DenseNetwork::initialise(parse_architecture("tanh:7-5"), 2, 3);
  const Parameters& p = network.parameters();
  std::vector<std::pair<std::string, std::string>> members;
  for (std::size_t l = 0; l < p.weights.size(); ++l) {
    members.emplace_back(fmt::format("W{}", l), npy_bytes(p.weights[l]));
    members.emplace_back(fmt::format("b{}", l), npy_bytes_vector(p.biases[l]));
  }
  folder.write("W.npz", npz_bytes(members));
  folder.write("X.npy", npy_bytes(small.X));
  folder.write("new.npy", npy_bytes(small.X.topRows(3)));
  const Words network_options{"--features", "X.npy", "--standardize", "none",
                              "--weights",  "W.npz", "--network",     "tanh"};

  ASSERT_EQ(run(with({"kernel"}, network_options, {"-o", "H.npy"})).exit_code, 0);
  ASSERT_EQ(run(with({"kernel"}, network_options, {"--cross", "new.npy", "-o", "C.npy"})).exit_code, 0);

  const Matrix H = read_npy(folder / "H.npy").as_matrix("H"), C = read_npy(folder / "C.npy").as_matrix("C");
  EXPECT_LT(largest_difference(H, ntk_gram(network, small.X) / 40.0), 1e-14);
  EXPECT_LT(largest_difference(C, H.topRows(3)), 1e-14);
}

TEST_F(Program, ASumOfKernelsIsTakenWhereOneNetworkIs) {
  const Words sum{"--kernel", "ntk:relu:1+0.5 * linear", "--sw2", "1.5"};
  const char* const text = "ntk:relu:1,sw2=1.5 + 0.5*linear";
  folder.write("X.npy", npy_bytes(small_data(40).X));
  const Words arrays{"kernel", "--features", "X.npy", "--standardize", "none"};

  const json report = run_json(with({"stop"}, data, sum));
  ASSERT_EQ(run(with(arrays, sum, {"-o", "H.npy"})).exit_code, 0);
  ASSERT_EQ(run(with({"fit"}, data, with(sum, {"-o", "m.model"}))).exit_code, 0);
  const ProgramResult predicted = run({"predict", "m.model", "data.csv"});

  EXPECT_EQ(report["options"]["kernel"], text);
  EXPECT_EQ(report["operator"]["text"], text);
  EXPECT_EQ(report["operator"]["description"], std::string("kernel ") + text);
  const Matrix H = read_npy(folder / "H.npy").as_matrix("H");
  EXPECT_EQ(largest_difference(H, kernel_gram(parse_kernel_sum(text), small_data(40).X) / 40.0), 0.0);
  EXPECT_EQ(FittedModel::load(folder / "m.model").operator_text, text);
  EXPECT_TRUE(parse_predictions(predicted.out).values.allFinite());
}

TEST_F(Program, AMatrixOfOnesOwnGivesTheSameAnswersAsItsKernel) {
  folder.write("y.npy", npy_bytes_vector(small_data(40).y));
  ASSERT_EQ(run({"kernel", "data.csv", "--exclude", "name,y", "-o", "H.npy"}).exit_code, 0);
  const Matrix H = read_npy(folder / "H.npy").as_matrix("H");
  folder.write("diagonal.npy", npy_bytes_vector(H.diagonal()));
  ASSERT_EQ(run(with({"fit"}, data, {"-o", "kernel.model"})).exit_code, 0);

  ASSERT_EQ(run({"fit", "--operator", "H.npy", "--response", "y.npy", "-o", "matrix.model"}).exit_code, 0);
  const ProgramResult given =
      run({"predict", "matrix.model", "--cross", "H.npy", "--cross-diagonal", "diagonal.npy"});
  const ProgramResult no_sd = run({"predict", "matrix.model", "--cross", "H.npy"});

  const Matrix expected = parse_predictions(run({"predict", "kernel.model", "data.csv"}).out).values;
  EXPECT_LT(largest_difference(parse_predictions(given.out).values, expected), 1e-8);
  const Matrix means = parse_predictions(no_sd.out).values;
  EXPECT_LT(largest_difference(means.col(0), expected.col(0)), 1e-8);
  EXPECT_TRUE(means.rightCols(3).array().isNaN().all());
  EXPECT_NE(no_sd.err.find("Standard deviations are NA"), std::string::npos);
}

TEST_F(Program, AMatrixLosesTheRowsThatTheTableLoses) {
  std::string csv = "name,y\n";
  const SmallData small = small_data(40);
  for (Index i = 0; i < 40; ++i)
    csv += fmt::format("r{},{}\n", i, i == 4 ? "NA" : fmt::format("{}", small.y(i)));
  folder.write("y.csv", csv);
  ASSERT_EQ(run({"kernel", "data.csv", "--exclude", "name,y", "-o", "H.npy"}).exit_code, 0);

  const json report = run_json({"stop", "y.csv", "--target", "y", "--id", "name", "--operator", "H.npy"});

  EXPECT_EQ(report["n"], 39);
  EXPECT_EQ(report["data"]["dropped_rows"], json::array({5}));
}

TEST_F(Program, CategoriesMissingCellsAndCopiesAreReported) {
  folder.write("mixed.csv", "x,c,y\n1,a,3\n2,b,4.1\n1,a,3\n4,b,4\n5,a,1\n2.5,b,2\nNA,a,2\n");
  folder.write("new.csv", "c,x,extra\na,1,0\nz,2,0\n,3,0\n");

  const json report = run_json({"fit", "mixed.csv", "--target", "y", "-o", "m.model"});
  const ProgramResult predicted = run({"predict", "m.model", "new.csv"});

  EXPECT_EQ(report["data"]["rows_read"], 7);
  EXPECT_EQ(report["data"]["rows_used"], 5);
  EXPECT_EQ(report["data"]["dropped_rows"], json::array({7}));
  EXPECT_EQ(report["data"]["duplicate_rows"], 1);
  EXPECT_EQ(report["data"]["dropped_copies"], json::array({3}));
  EXPECT_EQ(predicted.exit_code, 0);
  EXPECT_NE(predicted.err.find("category not seen in training ('z')"), std::string::npos);
  EXPECT_NE(predicted.err.find("'extra'"), std::string::npos);
  const PredictedRows rows = parse_predictions(predicted.out);
  EXPECT_TRUE(std::isfinite(rows.values(0, 0)) && std::isfinite(rows.values(1, 0)));
  EXPECT_TRUE(rows.values.row(2).array().isNaN().all());
}

TEST_F(Program, CovariatesAreFixedEffectsInTheUnitsOfTheData) {
  SmallData linear = small_data(40);
  linear.y = 5.0 + 3.0 * linear.X.col(0).array() + linear.X.col(1).array().square();
  folder.write("linear.csv", csv_of(linear));

  const json report = run_json({"stop", "linear.csv", "--target", "y", "--covariates", "x1"});

  EXPECT_EQ(report["fixed_effects"][1]["name"], "x1");
  EXPECT_NEAR(report["fixed_effects"][1]["coefficient"], 3.0, 0.3);
  EXPECT_EQ(report["N"], 38);
}

TEST_F(Program, EveryPathFitsAndPredicts) {
  for (const Words& path : {Words{"flow"}, Words{"ridge"}, Words{"decay", "--decay-rate", "0.01"},
                            Words{"implicit"}, Words{"descent", "--learning-rate", "0.1"}}) {
    const ProgramResult fitted = run(with({"fit"}, data, with({"-o", "m.model", "--path"}, path)));
    const ProgramResult predicted = run({"predict", "m.model", "data.csv"});

    EXPECT_EQ(fitted.exit_code, 0) << path[0] << fitted.err;
    EXPECT_EQ(predicted.exit_code, 0) << path[0] << predicted.err;
    EXPECT_TRUE(parse_predictions(predicted.out).values.allFinite()) << path[0];
  }
}

TEST_F(Program, TestAndSpectrumAnswer) {
  const json stop = run_json(with({"stop"}, data)), test = run_json(with({"test"}, data));

  EXPECT_NEAR(test["test"]["log10_p_value"], stop["test"]["log10_p_value"], 1e-6);

  const ProgramResult spectrum = run(with({"spectrum"}, data, {"-o", "s.csv"}));
  EXPECT_EQ(spectrum.exit_code, 0);
  const std::string csv = folder.read("s.csv");
  EXPECT_EQ(csv.find("index,eigenvalue,cumulative_share,z,loss\n1,"), 0U);
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 40);
}

TEST_F(Program, ModelsAreSafetensorsWithTheirDescription) {
  ASSERT_EQ(run(with({"fit"}, data, {"--network", "relu:6", "-o", "m.model"})).exit_code, 0);

  const TensorFile file = read_safetensors(folder / "m.model");

  EXPECT_EQ(file.tensors.at("alpha").shape, std::vector<Index>{40});
  EXPECT_EQ(file.tensors.at("X_train").shape, (std::vector<Index>{40, 2}));
  EXPECT_EQ(file.tensors.at("network.W0").shape, (std::vector<Index>{6, 2}));
  const json description = parse_json(file.metadata.at("gradflow_model"));
  EXPECT_EQ(description["format_version"], 6);
  EXPECT_EQ(description["operator"]["text"], "relu:6");
}

TEST_F(Program, HelpAndVersionSaySo) {
  const ProgramResult version = run({"--version"});
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_EQ(version.out.find("gradflow "), 0U);

  for (const char* command : {"test", "stop", "fit", "predict", "spectrum", "kernel"}) {
    const ProgramResult help = run({command, "--help"});
    EXPECT_EQ(help.exit_code, 0);
    EXPECT_NE(help.out.find("Examples:\n  gradflow " + std::string(command)), std::string::npos) << command;
  }
}

TEST_F(Program, TooManyRowsAreRefusedBeforeTheWork) {
  std::string csv = "x,y\n";
  for (int i = 0; i < 300000; ++i) csv += fmt::format("{},{}\n", i, i % 7);
  folder.write("long.csv", csv);

  const ProgramResult dense = run({"stop", "long.csv", "--target", "y", "--engine", "dense"});
  const ProgramResult krylov = run({"stop", "long.csv", "--target", "y", "--max-memory", "100M"});

  EXPECT_EQ(dense.exit_code, 2);
  EXPECT_EQ(dense.err.find("gradflow: error: n = 300000 rows need about 3.6e+03 GB of memory"), 0U)
      << dense.err;
  EXPECT_NE(dense.err.find("--engine krylov"), std::string::npos) << dense.err;
  EXPECT_EQ(krylov.exit_code, 2);
  EXPECT_EQ(krylov.err.find("gradflow: error: n = 300000 rows need about "), 0U) << krylov.err;
}

TEST_F(Program, TheDiabetesExampleRuns) {
  const std::string table = std::string(GRADFLOW_SOURCE_DIR) + "/examples/diabetes.csv";

  const json report = run_json({"fit", table, "--target", "target", "-o", "m.model"});
  const PredictedRows rows = parse_predictions(run({"predict", "m.model", table}).out);

  EXPECT_EQ(report["n"], 442);
  EXPECT_LT(report["test"]["log10_p_value"].get<double>(), -20.0);
  EXPECT_EQ(rows.ids.size(), 442U);
  EXPECT_TRUE(rows.values.allFinite());
}

}  // namespace
}  // namespace gradflow::cli_test
