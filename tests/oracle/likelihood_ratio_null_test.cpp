// The null distribution of the restricted likelihood-ratio statistic of s2_u = 0, LR = Q(0) - min Q on path
// `ridge`: RLRsim's simulation, and the closed form that balanced groups have. Data, script and versions:
// tests/oracle/mixed/README.md.
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/math/distributions/fisher_f.hpp>
#include <boost/math/tools/roots.hpp>
#include <cmath>

#include "gradflow/base/random.h"
#include "gradflow/data/array_file.h"
#include "gradflow/inference/likelihood_ratio.h"
#include "gradflow/inference/reml.h"
#include "gradflow/operators/dense_operator.h"
#include "gradflow/spectrum/projected_spectrum.h"
#include "oracle/mixed_models.h"

namespace gradflow {
namespace {

struct TailProbability {
  double at = 0.0, value = 0.0, draws = 0.0;  // Pr(LR > at), from so many draws
  double variance() const { return value * (1.0 - value) / draws; }
};

std::vector<TailProbability> read_tail(const std::string& name) {
  const Table table = read_table(fmt::format("{}/tests/oracle/mixed/null.csv", GRADFLOW_SOURCE_DIR));
  std::vector<TailProbability> tail;
  for (Index i = 0; i < table.rows(); ++i)
    if (table.cell(i, 0) == name && table.cell(i, 2) == "tail_probability")
      tail.push_back({std::stod(table.cell(i, 3)), std::stod(table.cell(i, 4)), std::stod(table.cell(i, 1))});
  return tail;
}

// Eigenvalues that are equal but for rounding as one, with their number.
SpectralData distinct(const Vector& values) {
  std::vector<double> kept, count;
  for (const double value : values) {
    if (kept.empty() || kept.back() - value > 1e-10 * values(0)) {
      kept.push_back(value);
      count.push_back(0.0);
    }
    count.back() += 1.0;
  }
  const auto vector = [](const std::vector<double>& list) {
    return Vector(Eigen::Map<const Vector>(list.data(), static_cast<Index>(list.size())));
  };
  return {vector(kept), {}, vector(count)};
}

// Coordinates of w ~ N(0, I): for m equal eigenvalues the norm of m normals.
Vector null_coordinates(const SpectralData& data, RandomStream& stream) {
  Vector z(data.values.size());
  for (Index i = 0; i < z.size(); ++i) z(i) = stream.normals(static_cast<Index>(data.multiplicity(i))).norm();
  return z;
}

SpectralData null_spectrum(const std::string& name) {
  if (name == "simple") {
    const std::string path = fmt::format("{}/tests/oracle/simple/H.npy", GRADFLOW_SOURCE_DIR);
    const DenseOperator H(read_npy(path).as_matrix(path));
    return distinct(projected_eigenvalues(H, FixedEffects::intercept(H.size())));
  }
  const oracle::MixedModel model = oracle::read_model(name);
  const DenseOperator H(model.Z * model.Z.transpose() / static_cast<double>(model.y.size()));
  return distinct(projected_eigenvalues(H, model.fixed));
}

// Pr(LR > at) of these draws within four standard errors of the difference to the stored one; at the null's
// own probability p, so that no count is too small: 4 sqrt(p (1 - p) / R + p (1 - p) / 1e6).
void expect_tail_of_draws(const std::vector<double>& ratios, const std::string& name) {
  const std::vector<TailProbability> tail = read_tail(name);
  ASSERT_GE(tail.size(), 5u);
  for (const TailProbability& stored : tail) {
    const auto above =
        std::count_if(ratios.begin(), ratios.end(), [&stored](double ratio) { return ratio > stored.at; });
    const double count = static_cast<double>(ratios.size());
    const double se = std::sqrt(stored.value * (1.0 - stored.value) / count + stored.variance());
    EXPECT_NEAR(static_cast<double>(above) / count, stored.value, 4.0 * se) << "Pr(LR > " << stored.at << ")";
  }
}

class LikelihoodRatioNull : public testing::TestWithParam<std::string> {};

TEST_P(LikelihoodRatioNull, TailProbabilitiesOfFitRemlAreThoseOfRLRsim) {
  SpectralData data = null_spectrum(GetParam());
  const Index draws = GetParam() == "simple" ? 400 : 2000;
  RandomStream stream(20260521, "null of the likelihood ratio");
  std::vector<double> ratios;
  for (Index r = 0; r < draws; ++r) {
    data.z = null_coordinates(data, stream);
    ratios.push_back(fit_reml(data, Path{.kind = PathKind::ridge}).likelihood_ratio());
  }

  expect_tail_of_draws(ratios, GetParam());
}

TEST_P(LikelihoodRatioNull, TailProbabilitiesOfLikelihoodRatioNullAreThoseOfRLRsim) {
  const SpectralData data = null_spectrum(GetParam());

  const Vector null =
      likelihood_ratio_null(data, {.kind = PathKind::ridge}, {.draws = 20000, .seed = 20260521});

  expect_tail_of_draws({null.begin(), null.end()}, GetParam());
}

INSTANTIATE_TEST_SUITE_P(RLRsim, LikelihoodRatioNull,
                         testing::Values("dyestuff", "sleepstudy", "unbalanced", "markers", "simple"),
                         [](const auto& tested) { return tested.param; });

TEST(BalancedGroups, TheStoredTailIsThatOfTheFRatio) {
  // a balanced groups, N = n - 1: LR = N log(((a - 1) F + N - a + 1)/N) - (a - 1) log F for F > 1, and 0 for
  // F <= 1, with F the ratio of the mean squares, F_(a - 1, n - a) under the null.
  const double N = 29.0, between = 5.0;
  const boost::math::fisher_f F_ratio(between, N - between);
  const auto ratio = [&](double F) {
    return N * std::log((between * F + N - between) / N) - between * std::log(F);
  };
  for (const TailProbability& stored : read_tail("dyestuff")) {
    const auto bracket = boost::math::tools::bisect([&](double F) { return ratio(F) - stored.at; }, 1.0,
                                                    1000.0, boost::math::tools::eps_tolerance<double>(40));
    const double exact = cdf(complement(F_ratio, bracket.first));
    EXPECT_NEAR(stored.value, exact, 4.0 * std::sqrt(exact * (1.0 - exact) / stored.draws));
  }
}

}  // namespace
}  // namespace gradflow
