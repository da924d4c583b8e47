// Sizes of the tests that draw a null of their own for every response: grid, permutation, component, 0/1.
#include <cmath>
#include <deque>
#include <limits>

#include "designs.h"
#include "gradflow/base/random.h"
#include "gradflow/inference/binary_test.h"
#include "gradflow/inference/component_test.h"
#include "gradflow/inference/grid_test.h"
#include "gradflow/inference/permutation_test.h"
#include "parts.h"

namespace gradflow::calibration {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr std::array<NoiseKind, 3> kinds{NoiseKind::normal, NoiseKind::t3, NoiseKind::skewed};

std::uint64_t seed_of(Index r) { return static_cast<std::uint64_t>(r + 1); }

void add_grid(const Setting& setting, Index responses, std::vector<SizeRow>& rows) {
  const Design design(setting);
  std::deque<DenseOperator> operators;
  for (const char* kernel : {"ntk:relu:2", "ntk:erf:2", "linear", "rbf"})
    operators.emplace_back(
        Matrix(kernel_gram(parse_kernel_sum(kernel), design.X()) / static_cast<double>(setting.n)));
  std::vector<const TrainingOperator*> pointers;
  for (const DenseOperator& H : operators) pointers.push_back(&H);
  Vector joint(responses), smallest(responses), bonferroni(responses);
  for_each_repetition(responses, [&](Index r) {
    const Vector y = noise_columns(NoiseKind::normal, setting.n, r, 1).col(0);
    const GridTest test = grid_test(pointers, design.fixed(), y, {.draws = 1999, .seed = seed_of(r)});
    joint(r) = test.p_value;
    smallest(r) = std::pow(10.0, test.log10_smallest_p_value);
    bonferroni(r) = std::pow(10.0, test.log10_bonferroni);
  });
  const std::string name = design.setting().name() + " and 3 more";
  const auto add = [&](const char* test, Claim claim, const Vector& p) {
    SizeRow row{name, "normal", test, claim};
    row.add(p);
    rows.push_back(row);
  };
  add("grid", Claim::exact, joint);
  add("  Bonferroni", Claim::at_most, bonferroni);
  add("  best, uncorrected", Claim::none, smallest);
}

void add_permutation(const Setting& setting, Index responses, std::vector<SizeRow>& rows) {
  const Design design(setting);
  for (const NoiseKind kind : kinds) {
    Vector p(responses);
    for_each_repetition(responses, [&](Index r) {
      const Vector y = noise_columns(kind, setting.n, r, 1).col(0);
      p(r) = permutation_test(design.H(), design.fixed(), y, {.draws = 999, .seed = seed_of(r)})
                 .resampled.p_value;
    });
    SizeRow row{setting.name(), std::string(to_string(kind)), "permutation", Claim::exact};
    row.add(p);
    rows.push_back(row);
  }
}

// A second operator given a first, of which alone there is a signal.
void add_component(double correlation, double signal, Index responses, std::vector<SizeRow>& rows) {
  const Index n = 60, d = 10;
  RandomStream random(24, "component features");
  const Matrix first = random.normals(n, d),
               second =
                   correlation * first + std::sqrt(1.0 - correlation * correlation) * random.normals(n, d);
  const auto linear = [](const Matrix& X) {
    return DenseOperator(Matrix(X * X.transpose() / static_cast<double>(X.rows() * X.cols())));
  };
  const DenseOperator H_1 = linear(first), H_2 = linear(second);
  Vector given(responses), bootstrap(responses);
  for_each_repetition(responses, [&](Index r) {
    RandomStream draw(25, fmt::format("component response {}", r));
    const Vector y = signal / std::sqrt(static_cast<double>(d)) * first * draw.normals(d) + draw.normals(n);
    const ComponentTest test =
        component_test(H_1, H_2, FixedEffects::intercept(n), y, {.draws = 199, .seed = seed_of(r)});
    given(r) = usable(test.outcome) ? test.given.p_value : nan;
    bootstrap(r) = usable(test.outcome) ? test.bootstrap.p_value : nan;
  });
  const std::string name = fmt::format("n {}, correlation {}, signal {} of H1", n, correlation, signal);
  SizeRow exact_given{name, "normal", "component, given tau"},
      resampled{name, "normal", "component, bootstrap"};
  exact_given.add(given);
  resampled.add(bootstrap);
  rows.push_back(exact_given);
  rows.push_back(resampled);
}

void add_binary(const Setting& setting, double share, Index responses, std::vector<SizeRow>& rows) {
  const Design design(setting);
  const double offset = std::log(share / (1.0 - share));
  Vector asymptotic(responses), resampled(responses), recommended(responses);
  for_each_repetition(responses, [&](Index r) {
    RandomStream random(26, fmt::format("classes {} {}", share, r));
    Vector y(setting.n);
    for (Index i = 0; i < setting.n; ++i) {
      const double slope = setting.covariates > 0 ? 0.5 * design.fixed().design()(i, 1) : 0.0;
      y(i) = random.uniform() < 1.0 / (1.0 + std::exp(-offset - slope)) ? 1.0 : 0.0;
    }
    const BinaryTest test =
        binary_test(design.H(), design.fixed(), y, {.draws = 999, .seed = seed_of(r), .smallest_class = 2});
    const bool answered = usable(test.outcome);
    asymptotic(r) = answered ? test.p_value_asymptotic : nan;
    resampled(r) = answered ? test.resampled.p_value : nan;
    recommended(r) = answered ? test.p_value : nan;
  });
  const std::string name = fmt::format("{}, share {}", setting.name(), share);
  const bool permuted = setting.covariates == 0;
  const auto add = [&](const char* test, Claim claim, const Vector& p) {
    SizeRow row{name, "0/1", test, claim};
    row.add(p);
    rows.push_back(row);
  };
  add("0/1, asymptotic", Claim::none, asymptotic);
  add(permuted ? "0/1, permutation" : "0/1, bootstrap", permuted ? Claim::at_most : Claim::none, resampled);
  add("0/1, recommended", Claim::none, recommended);
}

}  // namespace

void add_other_sizes(const Effort& effort, std::vector<SizeRow>& rows) {
  for (const Setting& setting : std::vector<Setting>{{.n = 50, .d = 2}, {.n = 50, .d = 100}})
    add_grid(setting, effort.of(1000), rows);
  for (const Setting& setting : std::vector<Setting>{{.n = 50, .d = 2},
                                                     {.n = 50, .d = 1000},
                                                     {.n = 200, .correlation = 0.9},
                                                     {.n = 50, .replicates = 2},
                                                     {.n = 50, .covariates = 3},
                                                     {.n = 200, .covariates = 3}})
    add_permutation(setting, effort.of(setting.n > 100 ? 1000 : 4000), rows);
  for (const double correlation : {0.0, 0.9})
    for (const double signal : {0.0, 0.5, 2.0}) add_component(correlation, signal, effort.of(400), rows);
  for (const double share : {0.5, 0.1}) {
    add_binary({.n = 100}, share, effort.of(1000), rows);
    add_binary({.n = 100, .covariates = 2}, share, effort.of(200), rows);
  }
}

}  // namespace gradflow::calibration
