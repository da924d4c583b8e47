#include "gradflow/model/simulate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/data/array_file.h"
#include "support/reference.h"

namespace gradflow {
namespace {

constexpr Index many = 20000;

std::string refusal_of(const SimulationOptions& options) {
  try {
    simulate(options);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

double mean(const Vector& v) { return v.mean(); }
double variance(const Vector& v) { return (v.array() - v.mean()).square().mean(); }
double correlation(const Vector& a, const Vector& b) {
  const Vector x = a.array() - a.mean(), y = b.array() - b.mean();
  return x.dot(y) / (x.norm() * y.norm());
}

double at(TestFunction function, std::initializer_list<double> x) {
  Matrix X(1, static_cast<Index>(x.size()));
  Index j = 0;
  for (const double value : x) X(0, j++) = value;
  return evaluate(function, X)(0);
}

bool same_bits(const SimulatedData& a, const SimulatedData& b) {
  const auto equal = [](const auto& u, const auto& v) {
    return u.size() == v.size() &&
           std::memcmp(u.data(), v.data(), static_cast<std::size_t>(u.size()) * sizeof(double)) == 0;
  };
  return equal(a.X, b.X) && equal(a.y, b.y) && equal(a.f, b.f);
}

TEST(TestFunctions, FriedmansAgreeWithScikitLearn) {
  // make_friedman1, 2, 3(n_samples=2, random_state=0), scikit-learn 1.9.1: first row of X, and y.
  EXPECT_NEAR(at(TestFunction::friedman1, {0.5488135039273248, 0.7151893663724195, 0.6027633760716439,
                                           0.5448831829968969, 0.4236547993389047, 0.6458941130666561}),
              17.213491800723624, 1e-13);
  EXPECT_NEAR(at(TestFunction::friedman2,
                 {54.88135039273247, 1294.0172089905805, 0.6027633760716439, 6.448831829968968}),
              781.9144576926394, 1e-11);
  EXPECT_NEAR(at(TestFunction::friedman3,
                 {42.36547993389047, 1180.8145304592847, 0.4375872112626925, 9.917730007820797}),
              1.4889883725819277, 1e-14);
}

TEST(TestFunctions, OthersAreTheirFormulasAtHandComputedPoints) {
  EXPECT_DOUBLE_EQ(at(TestFunction::mixed, {1.0, 2.0, 0.5, 3.0, -2.0, 9.0}), 1.0 + 1.0 + 1.5 - 6.0);
  EXPECT_DOUBLE_EQ(at(TestFunction::mixed, {1.0, 2.0, -0.5, 0.0, 7.0}), 2.0);
  EXPECT_DOUBLE_EQ(at(TestFunction::nonlinear, {std::numbers::pi / 4, 3.0, 2.0}), 3.0 + 2.0);
  EXPECT_DOUBLE_EQ(at(TestFunction::parity, {-1.0, 1.0, -1.0, -1.0}), 1.0);
  EXPECT_NEAR(at(TestFunction::single_index, {std::numbers::pi / 2, 0.0, 0.0, 0.0}),
              1.0 + std::numbers::pi / 8, 1e-15);  // u = pi/4
  EXPECT_EQ(at(TestFunction::null, {4.0}), 0.0);
  // 0.2 (0.5 * 2 + 0 + 0 + 0.6 * 1 + 0.3 * 4 + 0.05 + 1 + 0.5 * 3 + 0.4 * 5 + 0.7)
  EXPECT_NEAR(at(TestFunction::simple, {2.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0, -3.0, 5.0, std::numbers::pi / 2}),
              0.2 * (1.0 + 0.6 + 1.2 + 0.05 + 1.0 + 1.5 + 2.0 + 0.7), 1e-15);
}

TEST(TestFunctions, SimpleAndNonlinearAreTheReferencesGenerators) {
  // The reference's data (tests/oracle) less f must be its noise: sd 0.5 and 0.3, uncorrelated with f.
  const auto check = [](const char* name, TestFunction function, double sd) {
    const auto path = [name](const char* array) {
      return fmt::format("{}/tests/oracle/{}/{}.npy", GRADFLOW_SOURCE_DIR, name, array);
    };
    const Matrix X = read_npy(path("X_train")).as_matrix("X");
    const Vector y = read_npy(path("y_train")).as_vector("y");
    const Vector f = evaluate(function, X);
    const double n = static_cast<double>(y.size());

    const Vector noise = y - f;

    EXPECT_NEAR(std::sqrt(noise.squaredNorm() / n), sd, 4.0 * sd / std::sqrt(2.0 * n)) << name;
    EXPECT_LT(std::abs(correlation(noise, f)), 4.0 / std::sqrt(n)) << name;
  };
  check("simple", TestFunction::simple, 0.5);
  check("deep", TestFunction::simple, 0.5);
  check("nonlinear", TestFunction::nonlinear, 0.3);
}

TEST(TestFunctions, NamesAndTextsAreInverse) {
  for (const TestFunction function : all_test_functions)
    EXPECT_EQ(parse_test_function(std::string(to_string(function))), function);
  for (const char* kind : {"normal", "t3", "skewed"}) EXPECT_EQ(to_string(parse_noise_kind(kind)), kind);
  EXPECT_THROW(parse_test_function("friedman4"), InputError);
  EXPECT_THROW(parse_noise_kind("gauss"), InputError);
}

TEST(Simulate, FeaturesHaveTheDistributionsStated) {
  // 4 standard errors: sd of a mean of U(a, b) is (b - a)/sqrt(12 n).
  const double se = 4.0 / std::sqrt(12.0 * many);
  const SimulatedData data = simulate({.function = TestFunction::friedman2, .rows = many, .noise = 0.0});
  constexpr double pi = std::numbers::pi;
  const double low[] = {0.0, 40.0 * pi, 0.0, 1.0}, high[] = {100.0, 560.0 * pi, 1.0, 11.0};
  for (Index j = 0; j < 4; ++j) {
    const double width = high[j] - low[j];
    EXPECT_NEAR((mean(data.X.col(j)) - low[j]) / width, 0.5, se);
    EXPECT_GT(data.X.col(j).minCoeff(), low[j]);
    EXPECT_LT(data.X.col(j).maxCoeff(), high[j]);
    EXPECT_NEAR(variance(data.X.col(j)) / (width * width), 1.0 / 12.0, 4.0 * std::sqrt(1.0 / 180.0 / many));
  }
  EXPECT_EQ(data.y, data.f);
  EXPECT_TRUE(std::isinf(data.signal_to_noise));

  const SimulatedData parity = simulate({.function = TestFunction::parity, .rows = many});
  EXPECT_EQ(parity.X.cols(), 20);
  EXPECT_TRUE((parity.X.array().abs() == 1.0).all());
  EXPECT_LT(std::abs(parity.X.mean()), 4.0 / std::sqrt(20.0 * many));
}

TEST(Simulate, NeighbouringFeaturesAreAnAutoregression) {
  const SimulatedData data =
      simulate({.function = TestFunction::null, .rows = many, .features = 6, .correlation = -0.7});
  const double se = 4.0 / std::sqrt(static_cast<double>(many));
  for (Index j = 0; j < 6; ++j) {
    EXPECT_NEAR(variance(data.X.col(j)), 1.0, std::sqrt(2.0) * se);
    for (Index k = 0; k < j; ++k)
      EXPECT_NEAR(correlation(data.X.col(j), data.X.col(k)), std::pow(-0.7, static_cast<double>(j - k)), se);
  }
}

TEST(Simulate, NoiseOfEveryKindHasMeanZeroAndItsVariance) {
  // The variance of t3's sample variance is infinite: its quartiles instead, +-0.76489/sqrt(3).
  const auto noise = [](NoiseKind kind) {
    return simulate({.function = TestFunction::null, .rows = many, .noise = 2.0, .noise_kind = kind}).y;
  };
  const double se = 4.0 * 2.0 / std::sqrt(static_cast<double>(many));
  const Vector normal = noise(NoiseKind::normal), skewed = noise(NoiseKind::skewed);
  Vector t3 = noise(NoiseKind::t3);
  for (const Vector& e : {normal, t3, skewed}) EXPECT_NEAR(mean(e), 0.0, se);
  EXPECT_NEAR(variance(normal), 4.0, 2.0 * std::sqrt(2.0) * se);
  EXPECT_NEAR(variance(skewed), 4.0, 2.0 * std::sqrt(8.0) * se);  // kurtosis 9
  EXPECT_GT(skewed.minCoeff(), -2.0 - 1e-12);
  std::sort(t3.begin(), t3.end());
  const double quartile = 2.0 * 0.764892328404345 / std::sqrt(3.0);
  // sd of a sample quartile: sqrt(3/16/n)/density; the density of t3 there is 0.2527 on its own scale.
  const double quartile_se = 4.0 * std::sqrt(3.0 / 16.0 / many) / 0.25 * 2.0 / std::sqrt(3.0);
  EXPECT_NEAR(t3(3 * many / 4), quartile, quartile_se);
  EXPECT_NEAR(t3(many / 4), -quartile, quartile_se);
}

TEST(Simulate, SignalToNoiseIsWhatWasAskedFor) {
  const SimulatedData data = simulate({.rows = many, .signal_to_noise = 3.0});

  EXPECT_NEAR(data.signal_to_noise, 3.0, 1e-12);
  EXPECT_NEAR(variance(data.f) / variance(data.y - data.f), 3.0,
              4.0 * 3.0 * std::sqrt(2.0 / static_cast<double>(many)));
}

TEST(Simulate, TheModelsDrawHasItsCovariance) {
  // E f f' = s^2 tau H at fixed inputs; each entry of the mean over R draws has variance (C_ii C_jj +
  // C_ij^2)/R.
  SimulationOptions options{.function = TestFunction::model,
                            .rows = 5,
                            .features = 3,
                            .noise = 2.0,
                            .fixed_inputs = true,
                            .tau = 3.0};
  options.operator_spec.kernel = parse_kernel_sum("ntk:erf:1");
  const Index draws = 4000;
  Matrix second = Matrix::Zero(5, 5), X;
  for (Index r = 0; r < draws; ++r) {
    options.replicate = static_cast<std::uint64_t>(r);
    const SimulatedData data = simulate(options);
    second += data.f * data.f.transpose() / static_cast<double>(draws);
    X = data.X;
  }
  const Matrix C = 4.0 * 3.0 * kernel_gram(options.operator_spec.kernel, X) / 5.0;
  for (Index i = 0; i < 5; ++i)
    for (Index j = 0; j <= i; ++j)
      EXPECT_NEAR(second(i, j), C(i, j),
                  4.0 * std::sqrt((C(i, i) * C(j, j) + C(i, j) * C(i, j)) / static_cast<double>(draws)));
}

TEST(Simulate, TheModelsTauFollowsFromTheSignalToNoiseRatio) {
  SimulationOptions options{.function = TestFunction::model, .rows = 50, .signal_to_noise = 4.0};

  const SimulatedData data = simulate(options);

  const Matrix H = kernel_gram(options.operator_spec.kernel, data.X) / 50.0;
  EXPECT_NEAR(data.tau * H.trace() / 50.0, 4.0, 1e-12);
}

TEST(Simulate, ASingularKernelIsDrawnFromItsRange) {
  // Depth 0 is linear: f is an affine function of 2 features at all 40 rows.
  SimulationOptions options{.function = TestFunction::model, .rows = 40, .features = 2};
  options.operator_spec.kernel = parse_kernel_sum("ntk:relu:0");
  const SimulatedData data = simulate(options);
  Matrix design(40, 3);
  design << Vector::Ones(40), data.X;

  const Vector fitted =
      design * Vector(reference::solve(design.transpose() * design, design.transpose() * data.f));

  EXPECT_GT(data.f.norm(), 0.1);
  EXPECT_LT((fitted - data.f).norm(), 1e-6 * data.f.norm());
}

TEST(Simulate, CopiesAreEqualInBothAndReplicatesInTheInputsOnly) {
  for (const TestFunction function : {TestFunction::friedman1, TestFunction::model}) {
    const SimulatedData data = simulate({.function = function, .rows = 14, .copies = 2, .replicates = 3});
    for (Index i = 0; i < 14; ++i)
      for (Index j = 0; j < i; ++j) {
        EXPECT_EQ(data.X.row(i) == data.X.row(j), i / 6 == j / 6);
        EXPECT_EQ(data.f(i) == data.f(j), i / 6 == j / 6);
        EXPECT_EQ(data.y(i) == data.y(j), i / 2 == j / 2);
      }
  }
}

TEST(Simulate, ClassesAreOfEqualSizeAndOrderedByTheLatentResponse) {
  const SimulationOptions options{.rows = 100};
  SimulationOptions three = options, rare = options;
  three.classes = 3;
  rare.binary_rate = 0.07;
  const Vector latent = simulate(options).y, k = simulate(three).y, ones = simulate(rare).y;

  EXPECT_EQ((k.array() == 0.0).count(), 33);
  EXPECT_EQ((k.array() == 1.0).count(), 33);
  EXPECT_EQ((k.array() == 2.0).count(), 34);
  EXPECT_EQ(ones.sum(), 7.0);
  for (Index i = 0; i < 100; ++i)
    for (Index j = 0; j < 100; ++j)
      if (latent(i) < latent(j)) {
        EXPECT_LE(k(i), k(j));
        EXPECT_LE(ones(i), ones(j));
      }
}

TEST(Simulate, SameOptionsGiveTheSameBitsForAnyNumberOfThreads) {
  SimulationOptions options{.function = TestFunction::model, .rows = 300, .seed = 7};
  set_threads(1);
  const SimulatedData one = simulate(options);
  set_threads(2);
  const SimulatedData two = simulate(options);
  set_threads(0);

  EXPECT_TRUE(same_bits(one, two));
  options.seed = 8;
  EXPECT_FALSE(same_bits(one, simulate(options)));
}

TEST(Simulate, ReplicatesAreIndependentAndShareInputsOnlyWhereAsked) {
  SimulationOptions first{.function = TestFunction::null, .rows = many, .features = 1}, second = first;
  second.replicate = 1;
  SimulationOptions fixed = second;
  fixed.fixed_inputs = true;
  const SimulatedData a = simulate(first), b = simulate(second), c = simulate(fixed);
  const double se = 4.0 / std::sqrt(static_cast<double>(many));

  EXPECT_LT(std::abs(correlation(a.y, b.y)), se);
  EXPECT_LT(std::abs(correlation(a.X.col(0), b.X.col(0))), se);
  EXPECT_LT(std::abs(correlation(a.X.col(0), a.y)), se);
  EXPECT_EQ(c.X, a.X);
  EXPECT_EQ(c.y, b.y);  // null: the noise alone, of replicate 1
}

TEST(Simulate, SaysWhatItCannotDraw) {
  const auto function = [](TestFunction f) { return SimulationOptions{.function = f}; };
  SimulationOptions options;
  options.rows = 1;
  EXPECT_EQ(refusal_of(options), "rows = 1: must be between 2 and 1000000000");
  options = function(TestFunction::friedman1);
  options.features = 4;
  EXPECT_EQ(refusal_of(options), "features = 4: test function 'friedman1' needs at least 5");
  options = function(TestFunction::friedman3);
  options.features = 5;
  EXPECT_EQ(refusal_of(options), "features = 5: test function 'friedman3' has 4");
  options = function(TestFunction::null);
  options.signal_to_noise = 1.0;
  EXPECT_EQ(refusal_of(options), "a signal-to-noise ratio is given, and test function 'null' has no signal");
  options = function(TestFunction::parity);
  options.noise = 0.0;
  options.classes = 3;
  EXPECT_EQ(refusal_of(options), "3 classes: one would be empty, because too many rows have equal values");
  options = function(TestFunction::model);
  options.noise = 0.0;
  EXPECT_EQ(refusal_of(options), "noise = 0: must be > 0 for test function 'model', whose unit it is");
  EXPECT_THROW(evaluate(TestFunction::model, Matrix::Zero(2, 2)), InputError);
  EXPECT_THROW(evaluate(TestFunction::simple, Matrix::Zero(2, 9)), InputError);
}

}  // namespace
}  // namespace gradflow
