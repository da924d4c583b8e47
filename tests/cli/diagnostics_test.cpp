// What a fit says of itself: intervals of the variance components, the check of residuals, and warnings.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "cli/bad_input.h"
#include "cli/run_program.h"
#include "gradflow/base/random.h"
#include "support/json.h"

namespace gradflow::cli_test {
namespace {

using nlohmann::json;

class Diagnostics : public testing::Test {
 protected:
  // y = x + noise
  void write(const Vector& noise) const {
    const Vector x = RandomStream(1, "diagnostics").normals(noise.size());
    std::string text = "x,y\n";
    for (Index i = 0; i < x.size(); ++i) text += fmt::format("{},{}\n", x(i), x(i) + noise(i));
    folder.write("data.csv", text);
  }
  ProgramResult run(const std::string& command, const Words& more = {}) const {
    return run_program(folder.path(), with({command, "data.csv", "--target", "y"}, more));
  }
  json report(const std::string& command, const Words& more = {}) const {
    const ProgramResult result = run(command, with(more, {"--json", "run.json"}));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return parse_json(folder.read("run.json"));
  }
  TemporaryFolder folder;
};

TEST_F(Diagnostics, ProfileIntervalsHoldTheEstimatesAndThePlantedNoise) {
  write(0.5 * RandomStream(2, "noise").normals(300));

  const json components = report("stop")["variance_components"];

  for (const auto& [name, profile] : components.items()) {
    EXPECT_LE(profile["interval"]["lower"], profile["estimate"]) << name;
    EXPECT_GE(profile["interval"]["upper"], profile["estimate"]) << name;
  }
  EXPECT_NEAR(components["noise_variance"]["estimate"].get<double>(), 0.25, 0.07);
  EXPECT_LT(components["noise_variance"]["interval"]["lower"], 0.25);
  EXPECT_GT(components["noise_variance"]["interval"]["upper"], 0.25);
}

TEST_F(Diagnostics, ResidualsOfNormalIndependentNoiseRaiseNoAlarm) {
  write(0.5 * RandomStream(3, "noise").normals(200));

  const json check = report("stop")["residual_check"];

  EXPECT_EQ(check["departs_from_normal"], false) << check["normality"];
  EXPECT_EQ(check["depends_on_order"], false) << check["dependence"];
}

TEST_F(Diagnostics, HeavyTailsAndNoiseThatFollowsTheOrderOfRowsAreSaid) {
  RandomStream random(4, "noise");
  Vector heavy = 0.5 * random.normals(200);
  for (Index i = 0; i < 200; i += 20) heavy(i) *= 8.0;
  Vector ordered = 0.3 * random.normals(200);
  for (Index i = 1; i < 200; ++i) ordered(i) += 0.8 * ordered(i - 1);

  write(heavy);
  const std::string of_heavy = run("stop").out;
  write(ordered);
  const std::string of_ordered = run("fit", {"-o", "m.model"}).out;

  EXPECT_NE(of_heavy.find("The residuals have heavier tails than a normal distribution"), std::string::npos)
      << of_heavy;
  EXPECT_NE(of_ordered.find("Neighbouring rows have similar residuals"), std::string::npos) << of_ordered;
}

TEST_F(Diagnostics, WeightsThatForeseeTheResponseAreWarnedOf) {
  write(0.1 * RandomStream(5, "noise").normals(60));
  Matrix in(2, 1), out(1, 2);
  in << 1.0, -1.0;  // relu(x) - relu(-x) = x: what training would find
  out << 1.0, -1.0;
  const auto weights = [&](const std::string& name, const Matrix& W1) {
    folder.write(name, npz_bytes({{"W0", npy_bytes(in)},
                                  {"b0", npy_bytes_vector(Vector::Zero(2))},
                                  {"W1", npy_bytes(W1)},
                                  {"b1", npy_bytes_vector(Vector::Zero(1))}}));
  };
  weights("trained.npz", out);
  weights("silent.npz", Matrix::Zero(1, 2));
  const std::string warning =
      "the network at the given weights already predicts the response (correlation 1.00 over 60 rows)";

  for (const std::string command : {"test", "stop"}) {
    EXPECT_NE(run(command, {"--weights", "trained.npz"}).out.find(warning), std::string::npos) << command;
    EXPECT_EQ(run(command, {"--weights", "silent.npz"}).out.find("already predicts"), std::string::npos);
  }
}

}  // namespace
}  // namespace gradflow::cli_test
