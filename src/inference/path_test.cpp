#include "gradflow/inference/path.h"

#include <gtest/gtest.h>

#include <boost/multiprecision/cpp_bin_float.hpp>
#include <cmath>
#include <vector>

#include "gradflow/base/error.h"

namespace gradflow {
namespace {

using Wide = boost::multiprecision::cpp_bin_float_100;

std::vector<Path> example_paths() {
  return {{.kind = PathKind::flow, .time = 3.0},
          {.kind = PathKind::ridge, .time = 3.0},
          {.kind = PathKind::decay, .time = 3.0, .decay = 0.7},
          {.kind = PathKind::decay, .time = 3.0, .decay = 0.0},
          {.kind = PathKind::descent, .time = 60.0, .learning_rate = 0.05},
          {.kind = PathKind::implicit, .time = 0.6, .iterations = 5}};
}

// The table of path.h, word for word, with a hundred digits.
Wide phi_by_definition(const Path& path, const Wide& lambda) {
  const Wide t = path.time, d = path.decay;
  switch (path.kind) {
    case PathKind::flow: return exp(-t * lambda);
    case PathKind::ridge: return 1 / (1 + t * lambda);
    case PathKind::decay: return (d + lambda * exp(-(lambda + d) * t)) / (lambda + d);
    case PathKind::descent: return pow(1 - Wide(path.learning_rate) * lambda, t);
    case PathKind::implicit: return pow(1 + t * lambda, -path.iterations);
  }
  return 0;
}

TEST(Path, EveryFunctionKeepsFullRelativePrecisionFromTinyToLargeEigenvalues) {
  for (const Path& path : example_paths())
    for (const double lambda : {1e-14, 1e-9, 1e-6, 1e-4, 1e-3, 0.01, 0.1, 0.3, 1.0, 3.0, 15.0}) {
      const Wide phi = phi_by_definition(path, lambda);
      const Wide tiny("1e-60");
      const Wide psi_zero = (1 / phi_by_definition(path, tiny) - 1) / tiny;
      const auto near = [&](double value, const Wide& exact, const char* what) {
        EXPECT_NEAR(value / static_cast<double>(exact), 1.0, 2e-12)
            << what << " on " << to_string(path.kind) << " at lambda = " << lambda;
      };

      near(path.phi(lambda), phi, "phi");
      near(path.log_phi(lambda), log(phi), "log phi");
      near(path.filter(lambda), 1 - phi, "filter");
      near(path.dual(lambda), (1 - phi) / lambda, "dual");
      near(path.psi_zero(), psi_zero, "psi(0)");
      near(path.g(lambda), (1 - phi) / (Wide(lambda) * lambda) - psi_zero / lambda, "g");
    }
}

TEST(Path, IsSmoothAtZero) {
  for (const Path& path : example_paths()) {
    EXPECT_EQ(path.phi(0.0), 1.0);
    EXPECT_EQ(path.filter(0.0), 0.0);
    EXPECT_NEAR(path.dual(1e-13) / path.psi_zero(), 1.0, 1e-10);
    EXPECT_NEAR(path.g(1e-13) / path.g(0.0), 1.0, 1e-10);
  }
}

TEST(Path, FlowAndRidgeAreLimitsOfDecayImplicitAndDescent) {
  for (const double lambda : {0.01, 0.5, 4.0}) {
    const Path flow{.kind = PathKind::flow, .time = 2.0}, ridge{.kind = PathKind::ridge, .time = 2.0};
    const Path no_decay{.kind = PathKind::decay, .time = 2.0, .decay = 1e-12};
    const Path long_decay{.kind = PathKind::decay, .time = 1e4, .decay = 0.5};
    const Path one_step{.kind = PathKind::implicit, .time = 2.0, .iterations = 1};
    const Path many_steps{.kind = PathKind::implicit, .time = 2e-6, .iterations = 1000000};
    const Path descent{.kind = PathKind::descent, .time = 2e6, .learning_rate = 1e-6};

    EXPECT_NEAR(no_decay.phi(lambda), flow.phi(lambda), 1e-9);
    EXPECT_NEAR(long_decay.phi(lambda), ridge.phi(lambda), 1e-12);
    EXPECT_NEAR(one_step.phi(lambda), ridge.phi(lambda), 1e-15);
    EXPECT_NEAR(many_steps.phi(lambda), flow.phi(lambda), 1e-4);
    EXPECT_NEAR(descent.phi(lambda), flow.phi(lambda), 1e-4);
  }
}

TEST(Path, NothingOverflowsFarOutOnThePath) {
  const Path flow{.kind = PathKind::flow, .time = 1e9};

  EXPECT_EQ(flow.phi(5.0), 0.0);
  EXPECT_EQ(flow.filter(5.0), 1.0);
  EXPECT_DOUBLE_EQ(flow.dual(5.0), 0.2);
  EXPECT_NEAR(flow.g(5.0) / (0.04 - 1e9 / 5.0), 1.0, 1e-12);
}

TEST(Path, UnknownNameIsRefusedWithTheList) {
  try {
    parse_path("sgd");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(), "path 'sgd' is not known: must be flow, ridge, decay, descent or implicit");
  }
}

}  // namespace
}  // namespace gradflow
