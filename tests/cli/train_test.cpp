// gradflow train as a user runs it.
#include <algorithm>
#include <csignal>
#include <sstream>

#include "cli/process.h"
#include "cli/train_program.h"
#include "gradflow/data/table.h"

namespace gradflow::cli_test {
namespace {

TEST_F(TrainProgram, TrainsToTheRulesTimeAndPredictsFromItsWeights) {
  const ProgramResult result = run({"--width", "32", "--parameterization", "ntk", "--center", "copies", "-o",
                                    "w.safetensors", "--json", "run.json", "--watch", "watch.json"});

  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto report = json("run.json");
  EXPECT_EQ(report["training"]["outcome"], "converged");
  EXPECT_NEAR(report["training"]["time"].get<double>(), report["training"]["planned_time"].get<double>(),
              1e-9);
  EXPECT_EQ(json("watch.json")["watch"], report["watch"]);
  const ProgramResult predicted =
      run_program(folder.path(), {"predict", "w.safetensors", "data.csv", "-o", "p.csv"});
  ASSERT_EQ(predicted.exit_code, 0) << predicted.err;
  EXPECT_EQ(folder.read("p.csv").substr(0, 24), "id,mean,sd,lower,upper\n1");
  const ProgramResult page = run_program(folder.path(), {"report", "w.safetensors", "-o", "w.html"});
  EXPECT_EQ(page.exit_code, 2);
  EXPECT_NE(page.err.find("the report is of what gradflow train --json wrote"), std::string::npos);
  EXPECT_NE(folder.read("p.csv").find(",NA,NA,NA\n"), std::string::npos);
  const Table data = read_table(folder / "data.csv"), predictions = read_table(folder / "p.csv");
  double squares = 0.0;
  for (Index i = 0; i < data.rows(); ++i)
    squares += std::pow(std::stod(data.cell(i, 2)) - std::stod(predictions.cell(i, 1)), 2);
  // The loss is half the mean square of the response in standard deviations.
  const double scale = report["response_scale"];
  EXPECT_NEAR(0.5 * squares / 120.0 / (scale * scale), report["training"]["loss"].get<double>(), 1e-10);
}

TEST_F(TrainProgram, TakesEveryOptimiserScheduleAndStop) {
  for (const Words& arguments :
       {Words{"--optimizer", "momentum", "--momentum", "0.5", "--stop", "follow"},
        Words{"--optimizer", "nesterov", "--steps", "30", "--schedule", "cosine", "--warm-up", "5"},
        Words{"--optimizer", "adam", "--batch", "32", "--stop", "validation"},
        Words{"--optimizer", "adamw", "--weight-decay", "0.01", "--stop", "reml-flow"},
        Words{"--stop", "follow-gcv", "--no-watch"},
        Words{"--stop", "follow-flow", "--weight-decay", "0.01", "--decay-to", "initial"},
        Words{"--loss", "mse", "--precision", "float32"}, Words{"--stop", "cross-validation", "--folds", "3"},
        Words{"--stop", "follow-gdf", "--twins", "1"},
        Words{"--stop", "follow-gdf", "--optimizer", "adam", "--batch", "40"},
        Words{"--stop", "validation", "--no-refit", "--center", "zero-last-layer"}}) {
    Words all = with({"--width", "12", "--json", "run.json"}, arguments);
    if (std::ranges::find(arguments, "--steps") == arguments.end()) all = with(all, {"--max-steps", "500"});
    const ProgramResult result = run(all);

    // Little noise: a rule may want more steps than it is given here, which is an outcome.
    EXPECT_TRUE(result.exit_code == 0 || json("run.json")["training"]["outcome"] == "iteration_limit")
        << arguments[1] << result.err;
    EXPECT_LT(json("run.json")["training"]["loss"].get<double>(),
              json("run.json")["training"]["start_loss"].get<double>())
        << arguments[1];
  }
}

// Intervals from rows left out: the same half width everywhere, the quantile of the errors in the file.
TEST_F(TrainProgram, GivesIntervalsFromTheRowsThatItLeftOut) {
  const ProgramResult trained = run({"--width", "24", "--stop", "cross-validation", "--folds", "4", "-o",
                                     "w.safetensors", "--json", "run.json", "--no-watch"});
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  const auto report = json("run.json");
  const auto& cross = report["cross_validation"];
  EXPECT_EQ(cross["folds"], 4);
  EXPECT_EQ(cross["loss"], report["training"]["validation_loss"]);
  EXPECT_NEAR(cross["point"].get<double>(), report["training"]["time"].get<double>(), 1e-9);
  EXPECT_NE(trained.out.find("of rows left out "), std::string::npos) << trained.out;

  const auto half_width = [&](const Words& options) {
    const ProgramResult predicted =
        run_program(folder.path(), with({"predict", "w.safetensors", "data.csv", "-o", "p.csv"}, options));
    EXPECT_EQ(predicted.exit_code, 0) << predicted.err;
    const Table table = read_table(folder / "p.csv");
    const double half = std::stod(table.cell(0, 4)) - std::stod(table.cell(0, 1));
    EXPECT_NEAR(std::stod(table.cell(7, 1)) - std::stod(table.cell(7, 3)), half, 1e-9);
    return half;
  };
  const double half = half_width({"--level", "0.5"}), wide = half_width({});
  EXPECT_GT(wide, 1.5 * half);
  // Half of the squared errors are below the median's square; the loss is half their mean in units of scale.
  const double scale = report["response_scale"];
  EXPECT_LT(0.25 * half * half / (scale * scale), cross["loss"].get<double>());

  const ProgramResult none = run_program(
      folder.path(), {"predict", "w.safetensors", "data.csv", "--interval", "none", "-o", "p.csv"});
  EXPECT_EQ(none.exit_code, 0) << none.err;
  EXPECT_NE(folder.read("p.csv").find(",NA,NA,NA\n"), std::string::npos);
  const ProgramResult model =
      run_program(folder.path(), {"predict", "w.safetensors", "data.csv", "--interval", "model"});
  EXPECT_EQ(model.exit_code, 2);
  EXPECT_NE(model.err.find("whose intervals are cross-validated (the default) or none"), std::string::npos);
}

TEST_F(TrainProgram, WatchesTheLossOfRowsThatItIsGivenBeside) {
  folder.write("new.csv", csv_of(small_data(50, 9)));
  const ProgramResult trained = run({"--width", "16", "--steps", "60", "--held-out", "new.csv", "-o",
                                     "w.safetensors", "--json", "run.json"});
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  EXPECT_NE(trained.out.find("; of 50 held-out rows watched "), std::string::npos) << trained.out;
  const auto report = json("run.json");
  for (const auto& look : report["watch"]) EXPECT_TRUE(look["held_out_loss"].is_number());

  run_program(folder.path(), {"predict", "w.safetensors", "new.csv", "-o", "p.csv"});

  const Table data = read_table(folder / "new.csv"), predictions = read_table(folder / "p.csv");
  const Index target = data.find("y", "--target");
  double squares = 0.0;
  for (Index i = 0; i < data.rows(); ++i)
    squares += std::pow(std::stod(data.cell(i, target)) - std::stod(predictions.cell(i, 1)), 2);
  const double scale = report["response_scale"];
  EXPECT_NEAR(0.5 * squares / 50.0 / (scale * scale), report["training"]["held_out_loss"].get<double>(),
              1e-9);
  const ProgramResult refused = run({"--steps", "5", "--held-out", "new.csv", "--no-watch"});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_NE(refused.err.find("--held-out and --no-watch"), std::string::npos) << refused.err;
}

// Each target by itself, the others no features of it: as with the table of that target alone.
TEST_F(TrainProgram, TrainsANetworkForEachOfSeveralTargets) {
  std::string both = "x1,x2,a,b\n", alone = "x1,x2,b\n";
  for (int i = 0; i < 30; ++i) {
    const double x = 0.1 * i, z = i % 7;
    both += fmt::format("{},{},{},{}\n", x, z, x * z, z - x);
    alone += fmt::format("{},{},{}\n", x, z, z - x);
  }
  folder.write("both.csv", both);
  folder.write("alone.csv", alone);
  const auto train = [&](const char* table, const char* target, const char* output) {
    return run_program(folder.path(), {"train", table, "--target", target, "--width", "8", "--steps", "20",
                                       "-o", output, "--json", "run.json"});
  };

  const ProgramResult trained = train("both.csv", "a,b", "w.safetensors");

  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  EXPECT_TRUE(folder.exists("w.a.safetensors"));
  EXPECT_NE(trained.out.find("target    n   steps"), std::string::npos) << trained.out;
  const auto report = json("run.json")["targets"];
  EXPECT_EQ(report["a"]["training"]["steps"], 20);
  ASSERT_EQ(train("alone.csv", "b", "alone.safetensors").exit_code, 0);
  EXPECT_EQ(json("run.json")["training"]["loss"], report["b"]["training"]["loss"]);
}

TEST_F(TrainProgram, RefusesOptionsOfStopsThatItDoesNotMake) {
  for (const auto& [options, message] :
       {std::pair{Words{"--folds", "3"}, "--folds is for --stop cross-validation, and the stop is reml-risk"},
        std::pair{Words{"--stop", "cross-validation", "--folds", "1"}, "--folds 1: must be >= 2"},
        std::pair{Words{"--twins", "3"}, "--twins is for --stop follow-gdf, and the stop is reml-risk"},
        std::pair{Words{"--stop", "follow-gdf", "--twins", "5000"}, "--twins 5000: must be at most 1000"},
        std::pair{Words{"--no-refit"}, "--no-refit is for --stop validation, and the stop is reml-risk"}}) {
    const ProgramResult result = run(options);
    EXPECT_EQ(result.exit_code, 2) << options[0];
    EXPECT_NE(result.err.find(message), std::string::npos) << result.err;
  }
  run({"--steps", "5", "-o", "w.safetensors"});
  const ProgramResult result =
      run_program(folder.path(), {"predict", "w.safetensors", "data.csv", "--interval", "cross-validated"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE(result.err.find("unless it is trained with --stop cross-validation"), std::string::npos)
      << result.err;
}

TEST_F(TrainProgram, WritesTheSameBytesForOneAndTwoThreads) {
  for (const char* threads : {"1", "2"}) {
    run({"--width", "200", "--stop", "follow-gcv", "--max-steps", "100", "--threads", threads, "-o",
         fmt::format("w{}.safetensors", threads)});
    ASSERT_TRUE(folder.exists(fmt::format("w{}.safetensors", threads)));
  }

  EXPECT_TRUE(folder.read("w1.safetensors") == folder.read("w2.safetensors"));
}

TEST_F(TrainProgram, RefusesALearningRateAboveTheStabilityLimit) {
  const ProgramResult result = run({"--learning-rate", "1000"});

  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE(result.err.find("learning rate 1000: must be below"), std::string::npos) << result.err;
}

TEST_F(TrainProgram, EndsADivergingTrainingWithThreeTheStepAndTheLastGoodWeights) {
  const ProgramResult result = run(
      {"--optimizer", "adam", "--lr", "1000", "--steps", "100", "-o", "w.safetensors", "--json", "run.json"});

  EXPECT_EQ(result.exit_code, 3);
  EXPECT_NE(result.err.find("at step"), std::string::npos) << result.err;
  EXPECT_EQ(json("run.json")["training"]["end"], "diverged");
  EXPECT_LE(json("run.json")["training"]["loss"].get<double>(),
            json("run.json")["training"]["start_loss"].get<double>());
  EXPECT_TRUE(folder.exists("w.safetensors"));
}

TEST_F(TrainProgram, NamesOptionsThatDoNotFit) {
  const std::pair<Words, const char*> cases[] = {
      {{"--steps", "10", "--stop", "follow"}, "--steps and --stop: give one"},
      {{"--stop", "early"}, "stop 'early': must be steps, reml-risk"},
      {{"--optimizer", "sgd"}, "optimizer 'sgd': must be gd"},
      {{"--momentum", "0.5"}, "--momentum is for --optimizer momentum and nesterov"},
      {{"--network", "relu:8", "--width", "9"}, "--network and --width"},
      {{"--schedule", "cosine"}, "--schedule cosine needs --schedule-period or --steps"},
      {{"-o", "w", "--onnx", "w"}, "name the same file"},
      {{"--watch", "no/such/w.json"}, "cannot write 'no/such/w.json'"},
      {{"--center", "half"}, "centring 'half'"},
      {{"--parameterization", "mup"}, "--parameterization mup: must be standard or ntk"},
      {{"--precision", "half"}, "--precision half: must be float64 or float32"},
      {{"--row-weights", "x1"}, "--row-weights is not for gradflow train"},
      {{"--steps", "0"}, "--steps 0: must be >= 1"}};
  for (const auto& [arguments, message] : cases) {
    const ProgramResult result = run(arguments);

    EXPECT_EQ(result.exit_code, 2) << message;
    EXPECT_NE(result.err.find(message), std::string::npos) << result.err;
  }
}

// The library's own test kills between any two steps; here the program is killed after a checkpoint of its
// own.
TEST_F(TrainProgram, InterruptedItGoesOnToTheSameWeightsAndRefusesOtherOptions) {
  const auto words = [](const char* steps, const char* output) {
    return Words{"train",
                 "data.csv",
                 "--target",
                 "y",
                 "--width",
                 "8",
                 "--optimizer",
                 "adam",
                 "--batch",
                 "16",
                 "--steps",
                 steps,
                 "--checkpoint",
                 "run.checkpoint",
                 "--checkpoint-seconds",
                 "0.02",
                 "-o",
                 output};
  };
  ASSERT_EQ(run_program(folder.path(), words("20000", "whole")).exit_code, 0);
  EXPECT_FALSE(folder.exists("run.checkpoint"));
  Process process(folder.path(), words("20000", "resumed"));
  ASSERT_TRUE(process.has_written(folder / "run.checkpoint", 1000.0)) << process.wait().err;
  process.send(SIGKILL);
  process.wait();
  ASSERT_TRUE(folder.exists("run.checkpoint"));

  const ProgramResult other = run_program(folder.path(), with(words("20000", "other"), {"--lr", "0.5"}));
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_NE(other.err.find("is of other data or options"), std::string::npos) << other.err;
  const ProgramResult resumed = run_program(folder.path(), words("20000", "resumed"));

  EXPECT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_NE(resumed.out.find("Resumed at step"), std::string::npos) << resumed.out;
  EXPECT_TRUE(folder.read("whole") == folder.read("resumed"));
}

// Checkpoints after every step: both files are there to be killed at, however fast the machine.
TEST_F(TrainProgram, KilledAmongTrainingsInTurnItGoesOnToTheSameWeights) {
  for (const auto& [stop, ending] :
       {std::pair{"cross-validation", "folds"}, std::pair{"follow-gdf", "twins"}}) {
    const std::string all = fmt::format("{}.checkpoint.{}", stop, ending), part = all + ".part";
    const auto words = [stop = stop](const char* output) {
      return Words{"train",
                   "data.csv",
                   "--target",
                   "y",
                   "--width",
                   "32",
                   "--stop",
                   stop,
                   "--no-watch",
                   "--max-steps",
                   "70",
                   "--checkpoint",
                   fmt::format("{}.checkpoint", stop),
                   "--checkpoint-seconds",
                   "0",
                   "-o",
                   output};
    };
    const ProgramResult whole = run_program(folder.path(), words("whole"));
    EXPECT_FALSE(folder.exists(all));
    for (const std::string& written : {all, part}) {
      Process process(folder.path(), words("resumed"));
      ASSERT_TRUE(process.has_written(folder / written, 100.0)) << process.wait().err;
      process.send(SIGKILL);
      process.wait();
    }

    const ProgramResult resumed = run_program(folder.path(), words("resumed"));

    EXPECT_EQ(resumed.exit_code, whole.exit_code) << resumed.err;
    EXPECT_TRUE(folder.read("whole") == folder.read("resumed")) << stop;
    EXPECT_FALSE(folder.exists(all));
  }
}

// The freedom that it has used, from twins on disturbed responses.
TEST_F(TrainProgram, SaysHowMuchFreedomItHasUsed) {
  const ProgramResult trained =
      run({"--width", "24", "--stop", "follow-gdf", "--max-steps", "400", "--json", "run.json"});

  ASSERT_TRUE(trained.exit_code == 0 || trained.exit_code == 3) << trained.err;
  const auto report = json("run.json");
  const auto& gcv = report["trained_gcv"];
  EXPECT_EQ(gcv["twins"], 3);
  EXPECT_EQ(gcv["residual_dof"], 119);
  EXPECT_EQ(gcv["unit"], "flow time");
  EXPECT_GT(gcv["generalised_dof"].get<double>(), 1.0);
  EXPECT_LT(gcv["generalised_dof"].get<double>(), 119.0);
  EXPECT_EQ(gcv["points"].size(), gcv["gcvs"].size());
  EXPECT_NE(trained.out.find(" of 119 degrees of freedom (s.e. "), std::string::npos) << trained.out;
}

TEST_F(TrainProgram, NamesTheStopThatFollowsWhereTheOperatorHasMoved) {
  const auto names_it = [](const ProgramResult& result) {
    return result.out.find("--stop follow-gdf asks the training itself") != std::string::npos;
  };
  const ProgramResult narrow = run({"--width", "8", "--max-steps", "300", "--json", "run.json"});
  ASSERT_FALSE(json("run.json")["verdict"]["lazy"]);
  EXPECT_TRUE(names_it(narrow)) << narrow.out;
  EXPECT_FALSE(names_it(run({"--width", "8", "--max-steps", "300", "--stop", "validation"})));
  const ProgramResult wide = run({"--width", "2048", "--parameterization", "ntk", "--steps", "3"});
  EXPECT_FALSE(names_it(wide)) << wide.out;
}

TEST_F(TrainProgram, ItsWeightsLoadIntoThePyTorchModule) {
  if (!has_module("torch")) GTEST_SKIP() << "no PyTorch for " << python;
  for (const char* activation : {"relu", "tanh", "gelu"}) {
    ASSERT_EQ(
        run({"--width", "16", "--activation", activation, "--steps", "40", "-o", "w.safetensors"}).exit_code,
        0);
    ASSERT_EQ(run_program(folder.path(), {"predict", "w.safetensors", "data.csv", "-o", "p.csv"}).exit_code,
              0);

    EXPECT_EQ(run_python(fmt::format(R"(
import csv, json, struct, sys, torch
raw = open('w.safetensors', 'rb').read()
size = struct.unpack('<Q', raw[:8])[0]
header = json.loads(raw[8:8 + size]); header.pop('__metadata__')
state = {{}}
for name, t in header.items():
    begin, end = t['data_offsets']
    assert t['dtype'] == 'F64'
    values = struct.unpack('<%dd' % ((end - begin) // 8), raw[8 + size + begin:8 + size + end])
    state[name] = torch.tensor(values, dtype=torch.float64).reshape(t['shape'])
act = {{'relu': torch.nn.ReLU, 'tanh': torch.nn.Tanh, 'gelu': torch.nn.GELU}}['{}']
model = torch.nn.Sequential(torch.nn.Linear(2, 16), act(), torch.nn.Linear(16, 16), act(), torch.nn.Linear(16, 1))
model.load_state_dict(state)
rows = list(csv.DictReader(open('data.csv')))
X = torch.tensor([[float(r['x1']), float(r['x2'])] for r in rows])
f = model(X).detach().flatten()
p = torch.tensor([float(r['mean']) for r in csv.DictReader(open('p.csv'))])
worst = ((f - p).abs() / (1 + p.abs())).max().item()
sys.exit(0 if worst < 1e-5 else 'worst %g' % worst)
)",
                                     activation)),
              0)
        << activation;
  }
}

TEST_F(TrainProgram, ItsOnnxFilePredictsTheSameInARuntime) {
  if (!has_module("onnxruntime")) GTEST_SKIP() << "no onnxruntime for " << python;
  for (const char* activation :
       {"relu", "leaky-relu@0.2", "abs", "gelu", "erf", "tanh", "sin", "cos", "identity"}) {
    ASSERT_EQ(run({"--width", "16", "--activation", activation, "--optimizer", "adam", "--steps", "40", "-o",
                   "w.safetensors", "--onnx", "w.onnx"})
                  .exit_code,
              0);
    ASSERT_EQ(run_program(folder.path(), {"predict", "w.safetensors", "data.csv", "-o", "p.csv"}).exit_code,
              0);

    EXPECT_EQ(run_python(R"(
import csv, sys, numpy, onnxruntime
session = onnxruntime.InferenceSession('w.onnx', providers=['CPUExecutionProvider'])
rows = list(csv.DictReader(open('data.csv')))
X = numpy.array([[float(r['x1']), float(r['x2'])] for r in rows], dtype=numpy.float32)
f = session.run(['response'], {'features': X})[0].ravel()
p = numpy.array([float(r['mean']) for r in csv.DictReader(open('p.csv'))])
worst = (abs(f - p) / (1 + abs(p))).max()
sys.exit(0 if worst < 1e-5 else 'worst %g' % worst)
)"),
              0)
        << activation;
  }
}

}  // namespace
}  // namespace gradflow::cli_test
