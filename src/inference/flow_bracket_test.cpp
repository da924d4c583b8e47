// The certified bracket of the flow's time against the root from a full eigendecomposition, and the bound of
// the fit's error against the fit, on a few hundred random problems with planted spectra and planted times,
// after every number of Lanczos steps.
#include "gradflow/inference/flow_bracket.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/special_values.h"
#include "gradflow/base/random.h"
#include "gradflow/inference/reml.h"
#include "gradflow/operators/dense_operator.h"
#include "gradflow/spectrum/lanczos.h"
#include "gradflow/spectrum/projected_operator.h"
#include "gradflow/spectrum/projected_spectrum.h"
#include "support/reference.h"

namespace gradflow {
namespace {

struct Family {
  std::string name;
  Vector (*spectrum)(Index N, RandomStream& random);  // descending, largest 1
};

double real(Index i) { return static_cast<double>(i); }

Vector geometric(Index N, RandomStream& random) {
  const double ratio = random.uniform(0.6, 0.97);
  return Vector::NullaryExpr(N, [&](Index i) { return std::pow(ratio, real(i)); });
}
Vector polynomial(Index N, RandomStream& random) {
  const double power = random.uniform(0.5, 3.0);
  return Vector::NullaryExpr(N, [&](Index i) { return std::pow(real(i + 1), -power); });
}
Vector gaps(Index N, RandomStream& random) {
  // Three bands a factor of thirty apart.
  Vector values = Vector::NullaryExpr(
      N, [&](Index i) { return std::pow(30.0, -real(3 * i / N)) * random.uniform(0.8, 1.0); });
  std::sort(values.begin(), values.end(), std::greater<>());
  return values / values(0);
}
Vector clusters(Index N, RandomStream&) {
  // Groups of seven, 1e-10 apart.
  return Vector::NullaryExpr(N, [&](Index i) { return std::pow(0.7, real(i / 7)) - 1e-10 * real(i % 7); })
      .cwiseMax(0.0);
}
Vector equal_blocks(Index N, RandomStream&) {
  return Vector::NullaryExpr(N, [&](Index i) { return std::pow(0.3, real(5 * i / N)); });
}
Vector rank_deficient(Index N, RandomStream& random) {
  Vector values = Vector::Zero(N);
  for (Index i = 0; i < N / 3; ++i) values(i) = random.uniform();
  std::sort(values.begin(), values.end(), std::greater<>());
  return values / values(0);
}
Vector dominated(Index N, RandomStream& random) {
  Vector values = Vector::NullaryExpr(N, [&](Index i) { return 1e-3 / real(i); });
  values(0) = 1.0;
  values(1) = random.uniform(1e-3, 2e-3);
  return values;
}
Vector flat(Index N, RandomStream& random) {
  Vector values = Vector::NullaryExpr(N, [&](Index) { return 1.0 - 1e-4 * random.uniform(); });
  std::sort(values.begin(), values.end(), std::greater<>());
  return values / values(0);
}

std::vector<Family> families() {
  return {{"geometric", geometric},
          {"polynomial", polynomial},
          {"gaps", gaps},
          {"clusters", clusters},
          {"equal blocks", equal_blocks},
          {"rank-deficient", rank_deficient},
          {"dominated", dominated},
          {"flat", flat}};
}

/// H whose projection off the intercept has the planted eigenvalues and eigenvectors; along the intercept it
/// has entries too, which the projection must take away.
struct PlantedOperator {
  FixedEffects fixed;
  Vector values;
  Matrix basis;  // Q U, n x N
  DenseOperator H;
};

PlantedOperator plant(const Family& family, Index n, std::uint64_t seed) {
  RandomStream random(seed, "planted " + family.name);
  const FixedEffects fixed = FixedEffects::intercept(n);
  const Index N = n - 1;
  const Vector values = family.spectrum(N, random);
  const Matrix U = reference::orthogonal_basis(random.normals(N, N));
  const Matrix basis = fixed.lift(U);
  const Vector one = Vector::Constant(n, 1.0 / std::sqrt(real(n))),
               beside = basis * random.normals(N) / real(N);
  const Matrix H = basis * values.asDiagonal() * basis.transpose() + one * beside.transpose() +
                   beside * one.transpose() + 2.0 * one * one.transpose();
  return {fixed, values, basis, DenseOperator(0.5 * (H + H.transpose()))};
}

/// Minus the flow time of noise alone, negative or positive: tilted by it, the noise has the mean eigenvalue.
double tilt_to_the_mean(const Vector& values, const Vector& noise) {
  const SpectralData data{.values = values, .z = noise};
  double low = -1.0, high = 1.0;
  while (flow_slope(data, low) > 0.0 && low > -1e6) low *= 2.0;
  while (flow_slope(data, high) < 0.0 && high < 1e6) high *= 2.0;
  for (int halving = 0; halving < 60; ++halving) {
    const double middle = 0.5 * (low + high);
    (flow_slope(data, middle) < 0.0 ? low : high) = middle;
  }
  return -low;
}

/// Noise e that is trained backwards, z = exp((tilt + t) lambda / 2) e, so that t is the root; but no
/// coordinate is raised by more than e^20 above the last (its square by e^40), so that none is lost in the
/// rounding of another, and long times come out shorter than planted. Negative: the low eigenspaces have the
/// weight, and the estimate is 0. Infinite: there is weight above the mean eigenvalue only.
Vector response(const PlantedOperator& planted, double shrinkage, RandomStream& random) {
  const Index N = planted.values.size();
  Vector z = random.normals(N);
  const double mean = planted.values.mean();
  const double rate = tilt_to_the_mean(planted.values, z) + shrinkage;
  for (Index i = 0; i < N; ++i) {
    const double above_mean = planted.values(i) - mean;
    if (std::isinf(shrinkage))
      z(i) = above_mean > 0.1 * (planted.values(0) - mean) ? z(i) : 0.0;
    else
      z(i) *= std::exp(0.5 * std::clamp(rate * (planted.values(i) - planted.values(N - 1)), -20.0, 40.0));
  }
  return planted.basis * z;
}

struct Tally {
  int problems = 0, brackets = 0, zero = 0, infinite = 0, closed = 0, unresolved = 0;
  double smallest = infinity, largest = 0.0;  // t lambda_1 of the finite ones
};

// exp(-tM)w and the dual (I - exp(-tM)) M^-1 w against those of the Krylov space, both within their bounds.
void check_fit(const ProjectedSpectrum& spectrum, const Vector& z, const KrylovSpace& space, double time,
               const std::string& label) {
  if (!(time > 0.0) || !std::isfinite(time)) return;
  const Path path{.kind = PathKind::flow, .time = time};
  const Ritz pairs = ritz(space.tridiagonal());
  const Vector values = pairs.values.cwiseMax(0.0), first = pairs.vectors.row(0).transpose();
  const auto krylov = [&](const Vector& f) {
    const Vector inside = space.basis().times(pairs.vectors * f.cwiseProduct(first)).col(0);
    return Vector(z.norm() * spectrum.basis.transpose() * inside);
  };
  const Vector residual = path.phi(spectrum.values).cwiseProduct(z) - krylov(path.phi(values));
  const Vector dual = path.dual(spectrum.values).cwiseProduct(z) - krylov(path.dual(values));

  const double shrinkage = time * spectrum.values(0);
  const double bound = flow_fit_error(space.tridiagonal(), time) + 64.0 * machine_epsilon * (1.0 + shrinkage);
  EXPECT_LE(residual.norm(), bound * z.norm()) << label << ", " << space.steps() << " steps";
  EXPECT_LE(dual.cwiseProduct(spectrum.values.cwiseSqrt()).norm(), 0.64 * std::sqrt(time) * bound * z.norm())
      << label << ", " << space.steps() << " steps";
}

void check_at_every_step(const PlantedOperator& planted, const Vector& raw, const std::string& label,
                         Tally& tally) {
  const ProjectedSpectrum spectrum = project(planted.H, planted.fixed);
  const SpectralData dense{.values = spectrum.values, .z = spectrum.coordinates(raw)};
  const double exact = flow_time(dense);

  const ProjectedOperator M(planted.H, planted.fixed);
  Matrix w = raw;
  M.project(w);
  const auto apply = [&](ConstVector x, Eigen::Ref<Vector> y) { M.apply(x, y); };
  KrylovSpace space(apply, w.col(0), M.dimension(), BasisPrecision::float64, [&](Block x) { M.project(x); });
  FlowBracket bracket;
  for (Index steps = 1; !space.at_limit(); steps += std::max<Index>(1, steps / 2)) {
    space.extend(steps);
    bracket = bracket_flow_time(space.tridiagonal(), w.squaredNorm(), M.trace(),
                                static_cast<double>(M.dimension()));
    ++tally.brackets;

    EXPECT_LE(bracket.lower, exact) << label << ", " << space.steps() << " steps";
    EXPECT_GE(bracket.upper, exact) << label << ", " << space.steps() << " steps";
    EXPECT_LE(bracket.lower, bracket.estimate) << label << ", " << space.steps() << " steps";
    EXPECT_GE(bracket.upper, bracket.estimate) << label << ", " << space.steps() << " steps";
    check_fit(spectrum, dense.z, space, bracket.estimate, label);
  }
  ++tally.problems;
  if (exact == 0.0) {
    ++tally.zero;
    EXPECT_EQ(bracket.upper, 0.0) << label;
  } else if (std::isinf(exact)) {
    ++tally.infinite;
    EXPECT_TRUE(std::isinf(bracket.estimate)) << label;
  } else if (bracket.rounding > 0.1) {
    // No weight was planted where the likelihood turns: what is there is rounding, and the bracket says so.
    ++tally.unresolved;
    EXPECT_TRUE(std::isinf(bracket.upper)) << label;
  } else {
    ++tally.closed;
    tally.smallest = std::min(tally.smallest, exact * spectrum.values(0));
    tally.largest = std::max(tally.largest, exact * spectrum.values(0));
    EXPECT_LE(bracket.relative_width(), std::max(1e-9, 4.0 * bracket.rounding))
        << label << ", time " << exact << ", rounding " << bracket.rounding;
    EXPECT_NEAR(bracket.estimate / exact, 1.0, std::max(1e-9, 4.0 * bracket.rounding)) << label;
  }
}

TEST(FlowBracket, ContainsTheDenseRootAndBoundsTheFitAfterEveryStepOnHundredsOfPlantedProblems) {
  Tally tally;
  for (const Family& family : families())
    for (const Index n : {40, 73, 120, 200}) {
      const PlantedOperator planted = plant(family, n, static_cast<std::uint64_t>(n));
      for (const double shrinkage : {3e-3, 0.3, 3.0, 30.0, 300.0, 3e3, 1.2e5, -5.0, infinity}) {
        const std::string label =
            fmt::format("{}, n = {}, planted t lambda_1 = {}", family.name, n, shrinkage);
        RandomStream random(static_cast<std::uint64_t>(n), label);
        check_at_every_step(planted, response(planted, shrinkage, random), label, tally);
      }
    }
  fmt::print(
      "{} problems, {} brackets; {} at zero, {} infinite, {} beyond rounding, {} closed with t lambda_1 from "
      "{:.3g} to {:.3g}\n",
      tally.problems, tally.brackets, tally.zero, tally.infinite, tally.unresolved, tally.closed,
      tally.smallest, tally.largest);

  EXPECT_GE(tally.problems, 200);
  EXPECT_GE(tally.zero, 20);
  EXPECT_GE(tally.infinite, 20);
  EXPECT_LE(tally.unresolved, 4);
  EXPECT_LE(tally.smallest, 1e-2);
  EXPECT_GE(tally.largest, 1e5);
}

}  // namespace
}  // namespace gradflow
