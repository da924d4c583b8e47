#include "gradflow/inference/prior.h"

#include <gtest/gtest.h>

#include <cmath>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/operators/kernel_family.h"

namespace gradflow {
namespace {

Prior exchangeable(Index count, double location = 0.0, double scale = 0.5) {
  return Prior(std::vector<ParameterPrior>(static_cast<std::size_t>(count),
                                           ParameterPrior::exchangeable(location, scale)));
}

// The penalty with its minimum over m taken on a fine grid.
double by_grid(const Vector& p, double location, double scale) {
  double least = 1e300;
  for (double m = -12.0; m <= 12.0; m += 1e-4) {
    double sum = 2.0 * std::log1p(std::exp(2.0 * m));
    for (const double value : p) sum += 4.0 * std::log1p(std::pow((value - location - m) / scale, 2) / 3.0);
    least = std::min(least, sum);
  }
  return least;
}

TEST(Prior, PenaltyOfAGroupIsTheLeastOverItsCommonShift) {
  RandomStream random(1, "log relevances");
  for (const double spread : {0.1, 1.0, 4.0})
    for (const Index count : {1, 2, 13}) {
      const Vector p = spread * random.normals(count);
      EXPECT_NEAR(exchangeable(count, 0.3, 0.7).at(p).penalty, by_grid(p, 0.3, 0.7), 1e-5) << spread << count;
    }
}

TEST(Prior, PenaltyOfALargeGroupIsTheGlobalLeast) {
  // Two clusters: the larger one is the common value wherever it stands.
  Vector p(100);
  p << Vector::Constant(30, 2.0), Vector::Constant(70, -3.0);
  p += 0.05 * RandomStream(2, "jitter").normals(100);
  EXPECT_NEAR(exchangeable(100).at(p).penalty, by_grid(p, 0.0, 0.5), 1e-4);
}

TEST(Prior, SlopesEqualCentralDifferences) {
  Prior prior;
  for (int k = 0; k < 3; ++k) prior.add(ParameterPrior::exchangeable(-0.4, 0.5, 0));
  prior.add(ParameterPrior::normal(0.3, 2.0));
  for (int k = 0; k < 4; ++k) prior.add(ParameterPrior::exchangeable(0.0, 1.5, 1));
  prior.add(ParameterPrior{});
  const Vector p{{-0.6, 0.9, -2.0, 5.0, 0.1, -7.0, 0.4, 1.0, 3.0}};

  const Vector slope = prior.at(p).slope;
  for (Index k = 0; k < p.size(); ++k) {
    const Vector step = 1e-5 * Vector::Unit(p.size(), k);
    EXPECT_NEAR(slope(k), (prior.at(p + step).penalty - prior.at(p - step).penalty) / 2e-5, 1e-6) << k;
  }
  EXPECT_EQ(slope(8), 0.0);
}

TEST(Prior, ACommonFactorOfAllRelevancesCostsAsMuchAsOfOne) {
  for (const double shift : {-8.0, -1.5, 1.5}) {
    const double half_cauchy = 2.0 * std::log1p(std::exp(2.0 * shift));
    EXPECT_NEAR(exchangeable(50).at(Vector::Constant(50, shift)).penalty, half_cauchy, 0.05) << shift;
  }
}

TEST(Prior, OneFeatureFarFromTheOthersPaysForItselfOnly) {
  Vector one = Vector::Zero(20), two = Vector::Zero(20);
  one(3) = 6.0;
  two(3) = two(7) = 6.0;
  const Prior prior = exchangeable(20);
  const double common = prior.at(Vector::Zero(20)).penalty, alone = 4.0 * std::log1p(36.0 / 0.75);
  EXPECT_NEAR(prior.at(one).penalty - common, alone, 0.2);
  EXPECT_NEAR(prior.at(two).penalty - common, 2.0 * alone, 0.4);
}

TEST(Prior, TermsOfASumHaveGroupsOfTheirOwn) {
  const Matrix X = RandomStream(3, "X").normals(10, 4);
  const KernelFamily family(parse_kernel_sum("ntk:erf:1 + linear"), X);
  const Prior priors = default_priors(family);
  const std::vector<std::string> names = family.names();

  ASSERT_EQ(priors.size(), family.parameters());
  for (Index k = 0; k < priors.size(); ++k) {
    const std::string& name = names[static_cast<std::size_t>(k)];
    const bool relevance = name.find("relevance") != std::string::npos;
    EXPECT_EQ(priors.of(k).kind == ParameterPrior::Kind::exchangeable, relevance) << name;
    if (relevance) {
      EXPECT_EQ(priors.of(k).group, name.rfind("ntk", 0) == 0 ? 0 : 1) << name;
    }
  }
}

TEST(Prior, WrongNumberOfParametersIsRefused) {
  EXPECT_THROW(exchangeable(3).at(Vector::Zero(2)), InputError);
  EXPECT_THROW(exchangeable(3).at(Vector::Zero(4)), InputError);
}

}  // namespace
}  // namespace gradflow
