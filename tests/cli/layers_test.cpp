// Networks and kernels of layers through the program, on images given as arrays.
#include <fmt/format.h>
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

/// Images of 1 x 5 x 5 with a stroke of two pixels at a random place; y is its height, with a minus where it
/// is upright: nothing that a sum over pixels shows.
class Layers : public testing::Test {
 protected:
  void SetUp() override {
    write("", 90, 1);
    truth = write("_new", 40, 2);
  }
  std::vector<double> write(const std::string& ending, Index n, std::uint64_t seed) const {
    RandomStream random(seed, "layers");
    Matrix X = 0.1 * random.normals(n, 25);
    X.col(0).setConstant(0.25);  // a pixel that never changes stays in its place
    std::vector<double> values, y;
    for (Index i = 0; i < n; ++i) {
      const double height = random.normal();
      const auto row = 1 + static_cast<Index>(random.below(3)),
                 column = 1 + static_cast<Index>(random.below(3));
      X(i, 5 * row + column) += height;
      const bool upright = random.below(2) == 1;
      X(i, 5 * row + column + (upright ? 5 : 1)) += height;
      y.push_back((upright ? -1.0 : 1.0) * std::abs(height) + 0.02 * random.normal());
      for (Index k = 0; k < 25; ++k) values.push_back(X(i, k));
    }
    folder.write("X" + ending + ".npy", npy_bytes({n, 1, 5, 5}, values));
    folder.write("flat" + ending + ".npy", npy_bytes({n, 25}, values));
    folder.write("y" + ending + ".npy", npy_bytes({n}, y));
    return y;
  }
  ProgramResult run(const Words& arguments) const { return run_program(folder.path(), arguments); }
  json report(const Words& arguments) const {
    const ProgramResult result = run(with(arguments, {"--json", "run.json"}));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return parse_json(folder.read("run.json"));
  }
  std::string error_of(const Words& arguments) const {
    const ProgramResult result = run(arguments);
    EXPECT_EQ(result.exit_code, 2);
    return result.err;
  }
  const Words images{"--features", "X.npy", "--response", "y.npy"};
  const Words flat{"--features", "flat.npy", "--response", "y.npy"};
  TemporaryFolder folder;
  std::vector<double> truth;  // of the new images
};

TEST_F(Layers, AShapeInTheTextIsThatOfTheArrays) {
  const json arrays = report(with({"stop"}, images, {"--network", "conv2d:8:3 relu avgpool dense:1,ntk"}));
  const json rows =
      report(with({"stop"}, flat, {"--network", "input:1x5x5 conv2d:8:3 relu avgpool dense:1,ntk"}));

  EXPECT_EQ(arrays["operator"]["text"], "input:1x5x5 conv2d:8:3 relu avgpool dense:1,ntk");
  EXPECT_EQ(arrays["operator"], rows["operator"]);
  EXPECT_EQ(arrays["rules"], rows["rules"]);
}

TEST_F(Layers, PooledConvolutionsFindWhatMovesAboutAndPredictIt) {
  const auto rmse = [this](const Words& kind) {
    EXPECT_EQ(run(with({"fit"}, images, with(kind, {"-o", "m.model"}))).exit_code, 0);
    const ProgramResult result = run({"predict", "m.model", "--features", "X_new.npy"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    std::istringstream lines(result.out);
    std::string line;
    std::getline(lines, line);
    double squares = 0.0;
    std::size_t count = 0;
    for (; std::getline(lines, line) && count < truth.size(); ++count) {
      const double error = std::stod(line.substr(line.find(',') + 1)) - truth[count];
      squares += error * error;
    }
    EXPECT_EQ(count, 40U);
    return std::sqrt(squares / 40.0);
  };
  const double dense = rmse({"--kernel", "ntk:relu:2"});

  // The stroke is at nine places, which a dense network must learn one by one: less than half of its error.
  EXPECT_LT(rmse({"--kernel", "ntk(conv2d:1:3 relu conv2d:1:3 relu avgpool dense:1)"}), 0.5 * dense);
  EXPECT_LT(rmse({"--network", "conv2d:64:3 relu conv2d:64:3 relu avgpool dense:1,ntk"}), 0.5 * dense);
}

TEST_F(Layers, EnginesAgree) {
  const Words common = with(images, {"--network", "conv2d:8:3 relu res(conv2d:8:3) avgpool dense:1,ntk"});
  const json dense = report(with({"stop"}, common, {"--engine", "dense"}));
  const json free = report(with({"stop"}, common, {"--engine", "krylov", "--storage", "none"}));

  EXPECT_NEAR(free["test"]["log10_p_value"], dense["test"]["log10_p_value"], 1e-3);
  EXPECT_NEAR(free["operator"]["trace"], dense["operator"]["trace"],
              1e-12 * dense["operator"]["trace"].get<double>());
}

TEST_F(Layers, JsonIsTheSameNetworkAsItsText) {
  folder.write("net.json",
               R"({"layers": [{"layer": "conv2d", "channels": 8, "size": 3}, {"layer": "relu"},
                              {"layer": "avgpool"}, {"layer": "dense", "width": 1}],
                   "parameterization": "ntk"})");

  EXPECT_EQ(report(with({"test"}, images, {"--network", "net.json"}))["operator"],
            report(with({"test"}, images, {"--network", "conv2d:8:3 relu avgpool dense:1,ntk"}))["operator"]);
}

TEST_F(Layers, WhatDoesNotFitHasItsSentence) {
  const auto network = [this](const Words& data, const char* text) {
    return error_of(with({"stop"}, data, {"--network", text}));
  };
  EXPECT_EQ(network(images, "input:1x5x4 conv2d:8:3 avgpool dense:1"),
            error("X.npy has examples of shape 1x5x5, and the network takes 1x5x4"));
  EXPECT_EQ(network(flat, "input:1x5x4 conv2d:8:3 avgpool dense:1"),
            error("flat.npy: 25 features, and the network takes arrays of shape 1 x 5 x 4, 20 numbers"));
  EXPECT_EQ(network(images, "conv3d:8:3 avgpool dense:1").find("character 1: 'conv3d:8:3': is no layer") ==
                std::string::npos,
            false);
  EXPECT_EQ(network(images, "absent.json"), error("--network: cannot read 'absent.json'"));
  EXPECT_EQ(error_of(with({"stop"}, images, {"--kernel", "ntk(relu dense:1)"})),
            error("kernel 'ntk(relu dense:1)': layer 'relu' has no infinite-width kernel here: an activation "
                  "needs Gaussian values, as those of a dense or conv layer before it"));
  EXPECT_EQ(error_of(with({"stop"}, images, {"--select", "--kernel", "ntk(dense:1)"})),
            error("--select and a --transform left to the likelihood choose among kernels of dense networks: "
                  "for one of layers give --transform with its number, as box-cox=0.5"));
  folder.write("deep.npy", npy_bytes({2, 1, 1, 1, 2}, {1, 2, 3, 4}));
  EXPECT_EQ(error_of({"stop", "--features", "deep.npy", "--response", "y.npy"}),
            error("deep.npy has shape (2, 1, 1, 1, 2): must be rows of features, of channels x length, or of "
                  "channels x height x width"));
}

}  // namespace
}  // namespace gradflow::cli_test
