// gradflow simulate as a user runs it.
#include <sstream>

#include "cli/bad_input.h"
#include "gradflow/data/table.h"
#include "gradflow/model/simulate.h"
#include "support/json.h"

namespace gradflow::cli_test {
namespace {

class SimulateProgram : public testing::Test {
 protected:
  ProgramResult run(const std::vector<std::string>& arguments) const {
    return run_program(folder.path(), with({"simulate"}, arguments));
  }

  // The numbers of a CSV file, rows by columns.
  Matrix numbers(const std::string& name) const {
    const Table table = read_table(folder / name);
    Matrix values(table.rows(), table.cols());
    for (Index i = 0; i < table.rows(); ++i)
      for (Index j = 0; j < table.cols(); ++j) values(i, j) = std::stod(table.cell(i, j));
    return values;
  }

  TemporaryFolder folder;
};

TEST_F(SimulateProgram, WritesTheDrawOfTheLibraryToTheLastBit) {
  const ProgramResult result = run({"mixed",    "-n",
                                    "30",       "-d",
                                    "6",        "--snr",
                                    "2",        "--noise-kind",
                                    "t3",       "--correlation",
                                    "0.5",      "--replicates",
                                    "2",        "--seed",
                                    "5",        "--replicate",
                                    "3",        "-o",
                                    "data.csv", "--truth",
                                    "f.csv"});
  SimulationOptions options{.function = TestFunction::mixed, .rows = 30, .features = 6};
  options.signal_to_noise = 2.0;
  options.noise_kind = NoiseKind::t3;
  options.correlation = 0.5;
  options.replicates = 2;
  options.seed = 5;
  options.replicate = 3;
  const SimulatedData drawn = simulate(options);

  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  const Matrix table = numbers("data.csv");
  EXPECT_EQ(table.leftCols(6), drawn.X);
  EXPECT_EQ(table.col(6), drawn.y);
  EXPECT_EQ(numbers("f.csv").col(0), drawn.f);
  EXPECT_EQ(folder.read("data.csv").substr(0, 20), "x1,x2,x3,x4,x5,x6,y\n");
  EXPECT_EQ(folder.read("f.csv").substr(0, 2), "f\n");
  EXPECT_EQ(folder.names(), (std::vector<std::string>{"data.csv", "f.csv"}));
}

TEST_F(SimulateProgram, TheSameSeedGivesTheSameBytesOnStandardOutputToo) {
  for (const char* function : {"friedman1", "model"}) {
    run({function, "-n", "60", "-o", "one.csv", "--threads", "1"});
    const ProgramResult again = run({function, "-n", "60", "--threads", "2"});
    const ProgramResult other = run({function, "-n", "60", "--seed", "2", "-o", "-"});

    EXPECT_EQ(again.out, folder.read("one.csv"));
    EXPECT_NE(other.out, again.out);
  }
}

TEST_F(SimulateProgram, TheCommandItPrintsRuns) {
  const ProgramResult drawn = run({"model", "-n", "60", "--kernel", "ntk:erf:1", "--tau", "20", "--noise",
                                   "2", "-o", "my data.csv", "--json", "draw.json"});
  const std::string next = "gradflow stop 'my data.csv' --target y --kernel ntk:erf:1 --standardize none\n";
  const ProgramResult stopped = run_program(
      folder.path(),
      {"stop", "my data.csv", "--target", "y", "--kernel", "ntk:erf:1", "--standardize", "none", "--quiet"});

  EXPECT_NE(drawn.out.find("s^2 = 4, tau = 20\n"), std::string::npos) << drawn.out;
  EXPECT_TRUE(drawn.out.ends_with("Next: " + next)) << drawn.out;
  EXPECT_EQ(stopped.exit_code, 0) << stopped.err;
  const nlohmann::json document = parse_json(folder.read("draw.json"));
  EXPECT_EQ(document["function"]["name"], "model");
  EXPECT_EQ(document["function"]["kernel"], "ntk:erf:1");
  EXPECT_EQ(document["function"]["tau"], 20.0);
  EXPECT_EQ(document["noise"]["sd"], 2.0);
  EXPECT_EQ(document["shape"], (nlohmann::json{60, 10}));
  EXPECT_EQ(document["seed"], 1);
}

TEST_F(SimulateProgram, EveryFunctionCanBeDrawnAndFitted) {
  for (const TestFunction function : all_test_functions) {
    const std::string name(to_string(function)), file = fmt::format("{}.csv", name);
    const ProgramResult drawn = run({name, "-n", "40", "--quiet", "-o", file});
    const ProgramResult tested = run_program(folder.path(), {"test", file, "--target", "y", "--quiet"});

    EXPECT_EQ(drawn.exit_code, 0) << drawn.err;
    EXPECT_EQ(drawn.out, "");
    EXPECT_EQ(tested.exit_code, 0) << name << ": " << tested.err;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Simulation, BadInput,
    testing::Values(
        Case{"NoFunction", {"simulate"}, 2, usage("FUNCTION is required", "simulate ")},
        Case{"FunctionUnknown",
             {"simulate", "friedman4"},
             2,
             error("test function 'friedman4': must be friedman1, friedman2, friedman3, mixed, simple, "
                   "nonlinear, single-index, parity, null or model")},
        Case{"SimulateUnknownOption",
             {"simulate", "null", "--sead", "3"},
             2,
             usage("unknown option --sead: did you mean --seed?", "simulate ")},
        Case{"OneRowDrawn",
             {"simulate", "null", "-n", "1"},
             2,
             error("rows = 1: must be between 2 and 1000000000")},
        Case{"RowsNotWhole",
             {"simulate", "null", "--rows", "1e3"},
             2,
             usage("--rows 1e3: must be a whole number >= 0", "simulate ")},
        Case{"TooFewFeatures",
             {"simulate", "friedman1", "-d", "4"},
             2,
             error("features = 4: test function 'friedman1' needs at least 5")},
        Case{"NoFeatures", {"simulate", "null", "-d", "0"}, 2, error("--dimension 0: must be >= 1")},
        Case{"FeaturesOfFriedman2",
             {"simulate", "friedman2", "-d", "5"},
             2,
             error("features = 5: test function 'friedman2' has 4")},
        Case{"NoiseNegative",
             {"simulate", "null", "--noise", "-1"},
             2,
             usage("--noise -1: must be >= 0", "simulate ")},
        Case{"NoiseAndRatio",
             {"simulate", "mixed", "--noise", "1", "--snr", "2"},
             2,
             error("--noise and --snr: give one, the other follows from it")},
        Case{"RatioOfNoSignal",
             {"simulate", "null", "--snr", "2"},
             2,
             error("a signal-to-noise ratio is given, and test function 'null' has no signal")},
        Case{"NoiseKindUnknown",
             {"simulate", "null", "--noise-kind", "cauchy"},
             2,
             error("noise kind 'cauchy': must be normal, t3 or skewed")},
        Case{"CorrelationOfOne",
             {"simulate", "null", "--correlation", "1"},
             2,
             error("correlation = 1: must be between -1 and 1")},
        Case{"NoCopies",
             {"simulate", "null", "--copies", "0"},
             2,
             error("copies = 0: must be between 1 and the number of rows")},
        Case{"ReplicatesBeyondTheRows",
             {"simulate", "null", "--replicates", "201"},
             2,
             error("replicates = 201: must be between 1 and the number of rows")},
        Case{"OneClass", {"simulate", "null", "--classes", "1"}, 2, error("--classes 1: must be >= 2")},
        Case{"EmptyClass",
             {"simulate", "parity", "--noise", "0", "--classes", "3"},
             2,
             error("3 classes: one would be empty, because too many rows have equal values")},
        Case{"ClassesAndRate",
             {"simulate", "null", "--classes", "2", "--binary-rate", "0.5"},
             2,
             error("--classes and --binary-rate: give one, the labels are one or the other")},
        Case{"RateOfOne",
             {"simulate", "null", "--binary-rate", "1"},
             2,
             usage("--binary-rate 1: must be between 0 and 1", "simulate ")},
        Case{"KernelOfAFunction",
             {"simulate", "mixed", "--kernel", "ntk:relu:2"},
             2,
             error("--kernel is for the function model, and the function is 'mixed'")},
        Case{"TauOfAFunction",
             {"simulate", "mixed", "--tau", "2"},
             2,
             error("--tau is for the function model, and the function is 'mixed'")},
        Case{"TauAndRatio",
             {"simulate", "model", "--tau", "2", "--snr", "2"},
             2,
             error("--tau and --snr: give one, the other follows from it")},
        Case{"ModelWithoutNoise",
             {"simulate", "model", "--noise", "0"},
             2,
             error("noise = 0: must be > 0 for test function 'model', whose unit it is")},
        Case{"ModelKernelUnknown",
             {"simulate", "model", "--kernel", "relu:2"},
             2,
             error("kernel 'relu:2': not three parts; write KIND:ACTIVATION:LAYERS with KIND ntk or nngp, "
                   "for example ntk:relu:2")},
        Case{"SimulatedTableAndTruthAreOne",
             {"simulate", "null", "-o", "d.csv", "--truth", "./d.csv"},
             2,
             error("-o and --truth name the same file, './d.csv'")},
        Case{"TruthOnStandardOutput",
             {"simulate", "null", "--truth", "-"},
             2,
             error("--truth -: must be a file; standard output is the table's")},
        Case{"TruthFolderAbsent",
             {"simulate", "null", "-o", "d.csv", "--truth", "no/f.csv"},
             2,
             error("cannot write 'no/f.csv': No such file or directory")},
        Case{"NoSpaceLeftForATable",
             {"simulate", "null", "-o", "/dev/full"},
             2,
             error("cannot write '/dev/full': No space left on device")}),
    case_name);

}  // namespace
}  // namespace gradflow::cli_test
