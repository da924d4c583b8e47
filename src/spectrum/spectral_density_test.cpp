#include "gradflow/spectrum/spectral_density.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/operators/dense_operator.h"
#include "support/reference.h"

namespace gradflow {
namespace {

struct Smooth {
  std::string name;
  double (*at)(double);
};

const std::vector<Smooth> smooth_functions{
    {"exp(-20 x)", [](double x) { return std::exp(-20.0 * x); }},
    {"log(1 + 50 x)", [](double x) { return std::log1p(50.0 * x); }},
    {"x/(1 + x)", [](double x) { return x / (1.0 + x); }},
    {"50 x/(1 + 50 x)", [](double x) { return 50.0 * x / (1.0 + 50.0 * x); }}};

/// M with planted eigenvalues off an intercept, and a Krylov space of it from a random start.
class Planted {
 public:
  Planted(Vector values, std::uint64_t seed, Index steps)
      : values_(std::move(values)),
        random_(seed, "planted spectrum"),
        fixed_(FixedEffects::intercept(values_.size() + 1)),
        basis_(fixed_.lift(orthogonal(values_.size()))),
        H_(basis_ * values_.asDiagonal() * basis_.transpose() +
           Matrix::Constant(rows(), rows(), 3.0 / static_cast<double>(rows()))),
        M_(H_, fixed_),
        space_([this](ConstVector x, Eigen::Ref<Vector> y) { M_.apply(x, y); },
               basis_ * random_.normals(values_.size()), values_.size(), BasisPrecision::float64,
               [this](Block x) { M_.project(x); }) {
    space_.extend(steps);
  }

  Index rows() const { return values_.size() + 1; }
  const Vector& values() const { return values_; }
  const Matrix& basis() const { return basis_; }
  const ProjectedOperator& M() const { return M_; }
  const KrylovSpace& space() const { return space_; }
  double trace_of(const Smooth& f) const { return values_.unaryExpr(f.at).sum(); }
  SpectralMoments moments(bool square = false) const {
    return {static_cast<double>(values_.size()), M_.trace(), square ? values_.squaredNorm() : -1.0};
  }
  std::vector<Quadrature> rules(const Eigenpairs& pairs, std::uint64_t seed, Index count, Index steps) const {
    SpectralProbes probes(M_, pairs, random_signs(rows(), seed, 0, count));
    probes.extend(steps);
    std::vector<Quadrature> rules;
    for (Index j = 0; j < count; ++j) rules.push_back(probes.rule(j));
    return rules;
  }

 private:
  Matrix orthogonal(Index N) { return reference::orthogonal_basis(random_.normals(N, N)); }

  Vector values_;
  RandomStream random_;
  FixedEffects fixed_;
  Matrix basis_;
  DenseOperator H_;
  ProjectedOperator M_;
  KrylovSpace space_;
};

Vector decaying(Index N, double power) {
  return Vector::NullaryExpr(N, [&](Index i) { return std::pow(static_cast<double>(i + 1), -power); });
}

Vector low_rank(Index N, Index rank) {
  Vector values = Vector::Zero(N);
  values.head(rank) = decaying(rank, 1.0);
  return values;
}

double trace_of(const SpectralDensity& density, const Smooth& f) {
  return density.multiplicity.dot(density.values.unaryExpr(f.at));
}

double sum_of(const Quadrature& rule, const Smooth& f) {
  return rule.weights.dot(rule.nodes.unaryExpr(f.at));
}

std::vector<Quadrature> together(std::vector<Quadrature> some, const std::vector<Quadrature>& others) {
  some.insert(some.end(), others.begin(), others.end());
  return some;
}

void expect_exact_moments(const SpectralDensity& density, const Vector& values, bool square,
                          double tolerance) {
  EXPECT_TRUE(density.calibrated);
  EXPECT_GE(density.multiplicity.minCoeff(), 0.0);
  EXPECT_NEAR(density.multiplicity.sum(), static_cast<double>(values.size()), 100.0 * tolerance);
  EXPECT_NEAR(density.multiplicity.dot(density.values), values.sum(), tolerance);
  if (!square) return;
  EXPECT_NEAR(density.multiplicity.dot(density.values.cwiseAbs2()), values.squaredNorm(), tolerance);
}

// Standard error of the trace by leaving out one probe at a time.
double jackknife_error(const Vector& eigenvalues, const std::vector<Quadrature>& rules,
                       const SpectralMoments& moments, const Smooth& f) {
  const auto R = static_cast<Index>(rules.size());
  Vector estimates(R);
  for (Index j = 0; j < R; ++j) {
    std::vector<Quadrature> kept = rules;
    kept.erase(kept.begin() + j);
    estimates(j) = trace_of(make_density(eigenvalues, kept, moments), f);
  }
  const double factor = static_cast<double>(R - 1) / static_cast<double>(R);
  return std::sqrt(factor * (estimates.array() - estimates.mean()).square().sum());
}

TEST(SpectralDensity, DeflatedTracesAreWithinFourStandardErrorsAndUnbiasedOverThirtySeeds) {
  for (const double power : {0.5, 1.0, 2.0}) {
    const Planted planted(decaying(149, power), 1, 25);
    const Eigenpairs pairs = converged_pairs(planted.space());
    ASSERT_LT(pairs.count(), planted.values().size());
    for (const Smooth& f : smooth_functions) {
      double mean_z = 0.0, largest_z = 0.0;
      for (std::uint64_t seed = 1; seed <= 30; ++seed) {
        const std::vector<Quadrature> rules = planted.rules(pairs, seed, 16, 30);
        const double estimate = trace_of(make_density(pairs.values, rules, planted.moments()), f);
        const double error = jackknife_error(pairs.values, rules, planted.moments(), f);
        const double z = (estimate - planted.trace_of(f)) / error;
        mean_z += z / 30.0;
        largest_z = std::max(largest_z, std::abs(z));

        EXPECT_LT(std::abs(z), 4.0) << f.name << ", power " << power << ", seed " << seed;
      }
      // The mean of 30 scores has standard deviation 0.18 if they are unbiased; of Student's t a little more.
      EXPECT_LT(std::abs(mean_z), 4.0 * 0.2) << f.name << ", power " << power;
      fmt::print("power {}: {}: mean z {:.2f}, largest {:.2f}\n", power, f.name, mean_z, largest_z);
    }
  }
}

// Four probes of many steps alone, and with sixty of five steps that share their first moments.
TEST(SpectralDensity, FurtherProbesOfFewStepsMakeTracesSharperAndLeaveThemUnbiased) {
  const Planted planted(decaying(149, 1.0), 4, 25);
  const Eigenpairs pairs = converged_pairs(planted.space());
  constexpr int seeds = 30;
  for (const Smooth& f : smooth_functions) {
    double alone = 0.0, mean = 0.0, square = 0.0;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
      const std::vector<Quadrature> probes = planted.rules(pairs, seed, 4, 30);
      const std::vector<Quadrature> all = together(probes, planted.rules(pairs, 1000 + seed, 60, 5));
      const double exact = planted.trace_of(f);
      const double without = trace_of(make_density(pairs.values, probes, planted.moments()), f) - exact;
      const double with = trace_of(make_density(pairs.values, probes, planted.moments(), all), f) - exact;
      alone += without * without / seeds;
      mean += with / seeds;
      square += with * with / seeds;
    }
    fmt::print("{}: error {:.3g} alone, {:.3g} with further probes\n", f.name, std::sqrt(alone),
               std::sqrt(square));
    EXPECT_LT(std::sqrt(square), 0.5 * std::sqrt(alone)) << f.name;
    EXPECT_LT(std::abs(mean), 4.0 * std::sqrt(square / seeds)) << f.name;
  }
}

TEST(SpectralDensity, TakesTheFirstMomentsFromAllProbesAndKeepsTheExactOnes) {
  const Planted planted(decaying(149, 1.0), 5, 25);
  const Eigenpairs pairs = converged_pairs(planted.space());
  for (const bool square : {false, true}) {
    const std::vector<Quadrature> probes = planted.rules(pairs, 1, 4, 30);
    const std::vector<Quadrature> all = together(probes, planted.rules(pairs, 2, 40, 5));
    const SpectralDensity density = make_density(pairs.values, probes, planted.moments(square), all);
    const SpectralDensity of_all = make_density(pairs.values, all, planted.moments(square));

    EXPECT_GT(density.multiplicity.minCoeff(), 0.0);
    expect_exact_moments(density, planted.values(), square, 1e-11);
    for (int degree = 0; degree <= 7; ++degree) {
      const auto moment = [&](const SpectralDensity& of) {
        return (of.multiplicity.array() * of.values.array().pow(degree)).sum();
      };
      EXPECT_NEAR(moment(density), moment(of_all), 1e-9 * moment(of_all)) << degree;
    }
  }
}

TEST(SpectralDensity, IsExactWhenTheEigenpairsCoverEverything) {
  for (const Vector& values : {decaying(40, 1.0), low_rank(60, 20)}) {
    const Planted planted(values, 2, values.size());
    ASSERT_TRUE(planted.space().exhausted());
    const Eigenpairs pairs = converged_pairs(planted.space());
    const SpectralDensity alone = make_density(pairs.values, {}, planted.moments());
    const SpectralDensity probed =
        make_density(pairs.values, planted.rules(pairs, 1, 3, 5), planted.moments());
    for (const Smooth& f : smooth_functions) {
      EXPECT_NEAR(trace_of(alone, f), planted.trace_of(f), 1e-10) << f.name;
      EXPECT_NEAR(trace_of(probed, f), planted.trace_of(f), 1e-10) << f.name;
    }
  }
}

TEST(SpectralDensity, ReproducesTheDimensionAndTheTraceAndWhereKnownTheTraceOfTheSquare) {
  const Planted planted(decaying(120, 1.0), 3, 20);
  const Eigenpairs pairs = converged_pairs(planted.space());
  for (const Index probes : {1, 2, 5, 12}) {
    const std::vector<Quadrature> rules = planted.rules(pairs, 7, probes, 20);
    for (const bool square : {false, true}) {
      const SpectralDensity density = make_density(pairs.values, rules, planted.moments(square));

      expect_exact_moments(density, planted.values(), square, 1e-12);
    }
  }
}

TEST(SpectralDensity, SaysWhenOnlyTheDimensionCouldBeReproduced) {
  // All probes see one node: no polynomial of it gives both totals.
  const Quadrature one{Vector{{1.0}}, Vector{{1.0}}};
  const SpectralDensity density = make_density(Vector(0), {one, one}, {.dimension = 10.0, .trace = 7.0});

  EXPECT_FALSE(density.calibrated);
  EXPECT_NEAR(density.multiplicity.sum(), 10.0, 1e-14);
}

TEST(ConvergedPairs, AreEigenpairsToTheTolerance) {
  const Planted planted(decaying(120, 2.0), 4, 30);
  for (const double tolerance : {1e-5, 1e-9}) {
    const Eigenpairs pairs = converged_pairs(planted.space(), tolerance);
    ASSERT_GE(pairs.count(), 8);
    const Matrix U = pairs.basis->times(pairs.coordinates);
    Matrix MU(U.rows(), U.cols());
    planted.M().apply(U, MU);

    EXPECT_LT((MU - U * pairs.values.asDiagonal()).colwise().norm().maxCoeff(), tolerance);
    EXPECT_LT((U.transpose() * U - Matrix::Identity(pairs.count(), pairs.count())).norm(), 1e-12);
    // A Krylov space finds the largest eigenvalues first; none is skipped there.
    EXPECT_LT((pairs.values.head(8) - planted.values().head(8)).norm(), 1e-12);
  }
}

TEST(Eigenpairs, ProjectOffLeavesNothingAlongThem) {
  const Planted planted(decaying(120, 2.0), 4, 30);
  const Eigenpairs pairs = converged_pairs(planted.space());
  const Matrix before = RandomStream(5, "block").normals(planted.rows(), 3);
  const Matrix U = pairs.basis->times(pairs.coordinates);
  Matrix after = before;

  pairs.project_off(after);

  EXPECT_LT((after - (before - U * (U.transpose() * before))).norm(), 1e-12 * before.norm());
  EXPECT_LT((U.transpose() * after).norm(), 1e-12 * before.norm());
}

TEST(SpectralProbes, MoreProbesLeaveTheEarlierOnesAsTheyWere) {
  const Planted planted(decaying(80, 1.0), 6, 15);
  const Eigenpairs pairs = converged_pairs(planted.space());
  const Matrix eight = random_signs(81, 3, 0, 8);

  EXPECT_EQ(random_signs(81, 3, 0, 5), eight.leftCols(5));
  EXPECT_EQ(random_signs(81, 3, 5, 3), eight.rightCols(3));
  EXPECT_EQ(eight.cwiseAbs(), Matrix::Ones(81, 8));
  const std::vector<Quadrature> few = planted.rules(pairs, 3, 5, 12), many = planted.rules(pairs, 3, 8, 12);
  for (std::size_t j = 0; j < few.size(); ++j)
    for (const Smooth& f : smooth_functions) EXPECT_NEAR(sum_of(few[j], f), sum_of(many[j], f), 1e-12);
}

TEST(SpectralProbes, ExtendingGivesTheSameBitsAsAllStepsAtOnce) {
  const Planted planted(decaying(80, 1.0), 6, 15);
  const Eigenpairs pairs = converged_pairs(planted.space());
  SpectralProbes once(planted.M(), pairs, random_signs(81, 3, 0, 4)),
      twice(planted.M(), pairs, random_signs(81, 3, 0, 4));
  once.extend(20);
  twice.extend(9);
  twice.extend(20);
  for (Index j = 0; j < 4; ++j) {
    EXPECT_EQ(once.rule(j).nodes, twice.rule(j).nodes);
    EXPECT_EQ(once.rule(j).weights, twice.rule(j).weights);
    EXPECT_EQ(once.radau(j).nodes, twice.radau(j).nodes);
  }
}

// exp(-20 x) is completely monotone, the other functions' derivatives are: their Gauss rule is above. What
// the eigenpairs leave of M is an operator of its own, to the square of their residuals.
TEST(SpectralProbes, TheirTwoRulesHaveTheQuadraticFormBetweenThemAndCloseUponIt) {
  for (const double power : {0.5, 1.0, 2.0}) {
    const Planted planted(decaying(149, power), 7, 25);
    const Eigenpairs pairs = converged_pairs(planted.space());
    SpectralProbes probes(planted.M(), pairs, random_signs(planted.rows(), 5, 0, 3));
    Matrix starts = random_signs(planted.rows(), 5, 0, 3);
    planted.M().project(starts);
    pairs.project_off(starts);
    const Matrix shares = (planted.basis().transpose() * starts.colwise().normalized()).cwiseAbs2();
    double first = 0.0, last = 0.0;  // largest differences of the two rules
    for (const Index steps : {1, 2, 5, 12, 30}) {
      probes.extend(steps);
      last = 0.0;
      for (Index j = 0; j < probes.count(); ++j)
        for (const Smooth& f : smooth_functions) {
          const double exact = shares.col(j).dot(planted.values().unaryExpr(f.at));
          const double sign = f.name.starts_with("exp") ? 1.0 : -1.0;
          const double gauss = sum_of(probes.rule(j), f), radau = sum_of(probes.radau(j), f);

          EXPECT_LE(sign * (gauss - exact), 1e-9) << f.name << ", power " << power << ", " << steps;
          EXPECT_LE(sign * (exact - radau), 1e-9) << f.name << ", power " << power << ", " << steps;
          last = std::max(last, std::abs(radau - gauss));
        }
      if (steps == 1) first = last;
    }
    EXPECT_LT(last, 1e-3 * first) << "power " << power;
  }
}

TEST(SpectralProbes, OfAnOperatorWithoutAPositiveEigenvalueBothRulesAreTheNullVectors) {
  const Planted planted(Vector::Zero(40), 8, 1);
  SpectralProbes probes(planted.M(), {}, random_signs(planted.rows(), 5, 0, 2));
  probes.extend(4);
  for (const Smooth& f : smooth_functions)
    for (Index j = 0; j < 2; ++j) {
      EXPECT_NEAR(sum_of(probes.rule(j), f), f.at(0.0), 1e-12) << f.name;
      EXPECT_NEAR(sum_of(probes.radau(j), f), f.at(0.0), 1e-12) << f.name;
    }
}

TEST(SpectralProbes, KeptVectorsGiveTheFunctionOfTheOperatorOnTheStartToFloat32) {
  const Planted planted(decaying(80, 1.0), 6, 15);
  const Eigenpairs pairs = converged_pairs(planted.space());
  const Matrix starts = random_signs(81, 3, 0, 2);
  SpectralProbes probes(planted.M(), pairs, starts, true);
  probes.extend(40);
  Matrix x = starts;
  planted.M().project(x);
  pairs.project_off(x);
  for (const Smooth& f : smooth_functions)
    for (Index j = 0; j < 2; ++j) {
      const Vector exact = planted.basis() * planted.values().unaryExpr(f.at).cwiseProduct(
                                                 planted.basis().transpose() * x.col(j));
      const Vector nodes = probes.ritz_of(j).values;

      EXPECT_LT((probes.combine(j, nodes.unaryExpr(f.at)) - exact).norm(),
                1e-6 * x.col(j).norm() * std::max(f.at(0.0), f.at(1.0)))
          << f.name;
    }
  EXPECT_EQ(probes.starts(), starts);
  SpectralProbes without(planted.M(), pairs, starts);
  EXPECT_THROW(without.combine(0, Vector::Ones(3)), InputError);
}

TEST(BinAndPool, KeepTheTotalsAndMoveSmoothTracesByLessThanAThousandth) {
  for (const double power : {0.5, 1.0, 2.0}) {
    const Planted planted(decaying(149, power), 8, 20);
    const Eigenpairs pairs = converged_pairs(planted.space());
    const std::vector<Quadrature> rules = planted.rules(pairs, 9, 12, 25);
    for (const Index groups : {1, 4, 12}) {
      const Quadrature pooled = pool(bin(rules, groups, 0.03));
      double total = 0.0, first = 0.0;
      for (const Quadrature& rule : rules) {
        total += rule.weights.sum() / 12.0;
        first += rule.weights.dot(rule.nodes) / 12.0;
      }

      EXPECT_NEAR(pooled.weights.sum(), total, 1e-13);
      EXPECT_NEAR(pooled.weights.dot(pooled.nodes), first, 1e-13);
      for (const Smooth& f : smooth_functions) {
        double exact = 0.0;
        for (const Quadrature& rule : rules) exact += sum_of(rule, f) / 12.0;
        EXPECT_NEAR(sum_of(pooled, f) / exact, 1.0, 1e-3) << f.name;
      }
    }
  }
}

TEST(BinAndPool, GroupsShareTheirBinsAndAnEmptyProbeCountsForNothing) {
  const Quadrature a{Vector{{1.0, 2.0}}, Vector{{0.5, 0.5}}}, b{Vector{{1.0, 5.0}}, Vector{{0.25, 0.75}}},
      none{};
  const std::vector<Quadrature> binned = bin({a, b, none, a}, 2, 0.03);

  ASSERT_EQ(binned.size(), 2u);
  ASSERT_EQ(binned[0].nodes.size(), 3);
  EXPECT_EQ(binned[0].weights, (Vector{{0.0, 0.5, 0.5}}));  // a alone, as the third probe is empty
  EXPECT_EQ(binned[1].weights, (Vector{{0.375, 0.25, 0.375}}));
  EXPECT_EQ(pool({}).nodes.size(), 0);
}

}  // namespace
}  // namespace gradflow
