#include <cmath>
#include <numbers>

#include "gradflow/base/error.h"
#include "gradflow/model/simulate.h"

namespace gradflow {
namespace {

struct Description {
  TestFunction function;
  std::string_view name;
  std::string_view formula;
  Index fewest_features;
  Index features;
  double noise;
};

constexpr std::array<Description, 10> descriptions{{
    {TestFunction::friedman1, "friedman1", "10 sin(pi x1 x2) + 20 (x3 - 1/2)^2 + 10 x4 + 5 x5", 5, 10, 1.0},
    {TestFunction::friedman2, "friedman2", "sqrt(x1^2 + (x2 x3 - 1/(x2 x4))^2)", 4, 4, 125.0},
    {TestFunction::friedman3, "friedman3", "atan((x2 x3 - 1/(x2 x4)) / x1)", 4, 4, 0.1},
    {TestFunction::mixed, "mixed", "x1 + x2/2 + 3/2 [x3 > 0] + x4 x5", 5, 10, 1.0},
    {TestFunction::simple, "simple",
     "0.2 (0.5 x1 + 0.8 tanh x2 + sin x3 + 0.6 x4 + 0.3 x5^2 + 0.05 exp x6 + cos x7 + 0.5 |x8| + 0.4 x9 + "
     "0.7 sin x10)",
     10, 10, 0.5},
    {TestFunction::nonlinear, "nonlinear", "x2 sin(2 x1) + x3^2 / 2", 3, 10, 0.3},
    {TestFunction::single_index, "single-index", "sin(2 u) + u/2, u = (x1 + ... + xd) / sqrt(d)", 1, 10, 0.5},
    {TestFunction::parity, "parity", "x1 x2 x3, features -1 or +1", 3, 20, 0.5},
    {TestFunction::null, "null", "0", 1, 10, 1.0},
    {TestFunction::model, "model", "N(0, s^2 tau H), H = kernel/n", 1, 10, 1.0},
}};

const Description& describe(TestFunction function) {
  return descriptions[static_cast<std::size_t>(function)];
}

constexpr double pi = std::numbers::pi;

// One row. x[j] is the feature called x(j+1) in the table of the header.
template <typename Row>
double at_row(TestFunction function, const Row& x) {
  const auto impedance = [&x] { return x(1) * x(2) - 1.0 / (x(1) * x(3)); };
  switch (function) {
    case TestFunction::friedman1:
      return 10.0 * std::sin(pi * x(0) * x(1)) + 20.0 * (x(2) - 0.5) * (x(2) - 0.5) + 10.0 * x(3) +
             5.0 * x(4);
    case TestFunction::friedman2: return std::hypot(x(0), impedance());
    case TestFunction::friedman3: return std::atan(impedance() / x(0));
    case TestFunction::mixed: return x(0) + 0.5 * x(1) + (x(2) > 0.0 ? 1.5 : 0.0) + x(3) * x(4);
    case TestFunction::simple:
      return 0.2 * (0.5 * x(0) + 0.8 * std::tanh(x(1)) + std::sin(x(2)) + 0.6 * x(3) + 0.3 * x(4) * x(4) +
                    0.05 * std::exp(x(5)) + std::cos(x(6)) + 0.5 * std::abs(x(7)) + 0.4 * x(8) +
                    0.7 * std::sin(x(9)));
    case TestFunction::nonlinear: return std::sin(2.0 * x(0)) * x(1) + 0.5 * x(2) * x(2);
    case TestFunction::single_index: {
      const double u = x.sum() / std::sqrt(static_cast<double>(x.size()));
      return std::sin(2.0 * u) + 0.5 * u;
    }
    case TestFunction::parity: return x(0) * x(1) * x(2);
    case TestFunction::null:
    case TestFunction::model: break;
  }
  return 0.0;
}

}  // namespace

std::string_view to_string(TestFunction function) { return describe(function).name; }

TestFunction parse_test_function(const std::string& text) {
  for (const Description& known : descriptions)
    if (known.name == text) return known.function;
  throw InputError(
      fmt::format("test function '{}': must be friedman1, friedman2, friedman3, mixed, simple, nonlinear, "
                  "single-index, parity, null or model",
                  text));
}

std::string_view formula(TestFunction function) { return describe(function).formula; }
Index default_features(TestFunction function) { return describe(function).features; }
double default_noise(TestFunction function) { return describe(function).noise; }

Vector evaluate(TestFunction function, ConstBlock X) {
  const Description& known = describe(function);
  if (function == TestFunction::model)
    throw InputError("test function 'model' is drawn at all rows together: it has no formula to evaluate");
  if (X.cols() < known.fewest_features)
    throw InputError(fmt::format("{} features: test function '{}' needs at least {}", X.cols(), known.name,
                                 known.fewest_features));
  Vector f(X.rows());
  for (Index i = 0; i < X.rows(); ++i) f(i) = at_row(function, Vector(X.row(i)));
  return f;
}

void SimulationOptions::check() const {
  const Description& known = describe(function);
  const bool four = function == TestFunction::friedman2 || function == TestFunction::friedman3;
  require(rows >= 2 && rows <= 1000000000, "rows", rows, "must be between 2 and 1000000000");
  require(features == 0 || features >= known.fewest_features, "features", features,
          fmt::format("test function '{}' needs at least {}", known.name, known.fewest_features));
  require(features == 0 || !four || features == 4, "features", features,
          fmt::format("test function '{}' has 4", known.name));
  require(std::isfinite(noise), "noise", noise, "must be finite");
  require(signal_to_noise >= 0.0 && std::isfinite(signal_to_noise), "signal_to_noise", signal_to_noise,
          "must be > 0, or 0 where the noise is given");
  require(correlation > -1.0 && correlation < 1.0, "correlation", correlation, "must be between -1 and 1");
  require(copies >= 1 && copies <= rows, "copies", copies, "must be between 1 and the number of rows");
  require(replicates >= 1 && replicates <= rows, "replicates", replicates,
          "must be between 1 and the number of rows");
  require(classes == 0 || (classes >= 2 && classes <= rows), "classes", classes,
          "must be between 2 and the number of rows");
  require(binary_rate >= 0.0 && binary_rate < 1.0, "binary_rate", binary_rate, "must be between 0 and 1");
  require(std::isfinite(tau), "tau", tau, "must be finite");
  if (function != TestFunction::model && noise >= 0.0 && signal_to_noise > 0.0)
    throw InputError(
        "the noise and the signal-to-noise ratio are both given: the one follows from the other");
  if (classes > 0 && binary_rate > 0.0)
    throw InputError("a number of classes and a binary rate are both given: the labels are one or the other");
  if (signal_to_noise > 0.0 && function == TestFunction::null)
    throw InputError("a signal-to-noise ratio is given, and test function 'null' has no signal");
  if (function != TestFunction::model) return;
  if (tau >= 0.0 && signal_to_noise > 0.0)
    throw InputError("tau and the signal-to-noise ratio are both given: the one follows from the other");
  require(noise != 0.0, "noise", noise, "must be > 0 for test function 'model', whose unit it is");
  if (operator_spec.kind == OperatorKind::matrix)
    throw InputError("test function 'model' draws its own features: a matrix cannot be its operator");
}

}  // namespace gradflow
