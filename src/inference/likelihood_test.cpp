#include "gradflow/inference/likelihood.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/inference/reml.h"
#include "gradflow/operators/scaled_family.h"
#include "inference/test_families.h"
#include "support/reference.h"

namespace gradflow {
namespace {

using testing_families::RelevanceRbf;
using testing_families::WeightedSum;

Matrix design(Index n, Index q, std::uint64_t seed) {
  Matrix X = RandomStream(seed, "design").normals(n, q);
  X.col(0).setOnes();
  return X;
}

FixedEffects fixed_effects(const Matrix& X) {
  return {X, std::vector<std::string>(static_cast<std::size_t>(X.cols()), "x")};
}

// Observations at rows 0, 0, 0, 1, 1, 2, 3, ...: the first two rows are replicates.
std::vector<Index> replicated(Index n) {
  std::vector<Index> rows{0, 0, 1};
  for (Index i = 0; i < n; ++i) rows.push_back(i);
  return rows;
}

double worst_gradient_error(const RestrictedLikelihood& likelihood, const Vector& at) {
  const Vector gradient = likelihood.at(at).gradient;
  EXPECT_TRUE(gradient.allFinite());
  double worst = 0.0;
  for (Index k = 0; k < at.size(); ++k) {
    // Richardson's fourth-order difference: error h^4.
    const auto central = [&](double h) {
      Vector up = at, down = at;
      up(k) += h;
      down(k) -= h;
      return (likelihood.at(up, false).criterion - likelihood.at(down, false).criterion) / (2.0 * h);
    };
    const double difference = (4.0 * central(5e-4) - central(1e-3)) / 3.0;
    worst = std::max(worst, std::abs(difference - gradient(k)) / std::max(1.0, std::abs(gradient(k))));
  }
  return worst;
}

TEST(RestrictedLikelihood, EqualsTheSpectralCriterionOfTheRidgePath) {
  const Index n = 40;
  RandomStream random(1, "data");
  const RelevanceRbf family(random.normals(n, 3));
  const FixedEffects fixed = fixed_effects(design(n, 3, 2));
  const Vector y = random.normals(n), p{{-0.3, 0.2, -2.0}};
  const RestrictedLikelihood likelihood(family, {.y = y}, fixed);
  const SpectralData spectrum = [&] {
    const auto [values, vectors] = reference::symmetric_spectrum(fixed.project(family.at(p)->H()));
    return SpectralData{values.cwiseMax(0.0), vectors.transpose() * fixed.reduce(y)};
  }();

  for (const double tau : {1e-3, 1.0, 50.0, 1e4}) {
    const Path path{.kind = PathKind::ridge, .time = tau};
    Vector at(4);
    at << p, std::log(tau);
    const LikelihoodValue value = likelihood.at(at);

    EXPECT_NEAR(value.criterion, reml_criterion(spectrum, path), 1e-10 * std::abs(value.criterion));
    EXPECT_NEAR(value.noise_variance / reml_noise_variance(spectrum, path), 1.0, 1e-10);
    EXPECT_NEAR(value.effective_dof, spectrum.effective_dof(path), 1e-9);
    EXPECT_EQ(value.criterion, likelihood.at(at, false).criterion);
  }
  EXPECT_NEAR(likelihood.criterion_at_zero(1.0), reml_criterion(spectrum, {.kind = PathKind::ridge}), 1e-10);
}

TEST(RestrictedLikelihood, GradientEqualsCentralDifferences) {
  const Index n = 25;
  RandomStream random(3, "data");
  const Matrix X = random.normals(n, 2), A = random.normals(n, 4), B = random.normals(n, 9);
  const auto rbf = std::make_shared<RelevanceRbf>(X);
  const WeightedSum sum({A * A.transpose(), B * B.transpose()});
  const std::vector<Index> rows = replicated(n);
  const Vector y = random.normals(static_cast<Index>(rows.size())), positive = (0.7 * y.array() + 2.0).exp();
  const FixedEffects fixed = fixed_effects(design(n, 3, 4)), none = FixedEffects::none(n);
  const Vector scale = Vector::LinSpaced(n, 0.5, 2.0);
  const ScaledFamily scaled(rbf, scale);

  EXPECT_LT(worst_gradient_error({*rbf, {.y = y.head(n)}, none}, Vector{{-0.5, 0.1, 2.0}}), 1e-6);
  EXPECT_LT(worst_gradient_error({sum, {.y = y.head(n)}, fixed}, Vector{{-0.5, 0.1, 3.0}}), 1e-6);
  EXPECT_LT(worst_gradient_error({sum, {.y = y.head(n), .within_squares = 3.0, .within_dof = 4.0}, fixed},
                                 Vector{{1.0, -2.0, 0.0}}),
            1e-6);
  for (const double lambda : {-0.8, 0.0, 1e-3, 1.0, 2.0, 2.7}) {
    const Vector at{{-0.5, 0.1, 2.0, lambda}};
    EXPECT_LT(worst_gradient_error({*rbf, {positive, rows}, fixed, TransformKind::box_cox}, at), 1e-6);
    EXPECT_LT(worst_gradient_error({*rbf, {y, rows}, fixed, TransformKind::yeo_johnson}, at), 1e-6);
    EXPECT_LT(worst_gradient_error({scaled, {y, rows, scale}, fixed, TransformKind::yeo_johnson}, at), 1e-6);
  }
}

TEST(RestrictedLikelihood, OfReplicatesEqualsTheLikelihoodOfAllObservations) {
  // Every observation its own row, with equal rows of X and H: the same model, whatever the parameters.
  const Index n = 20;
  RandomStream random(5, "data");
  const std::vector<Index> rows = replicated(n);
  const Index total = static_cast<Index>(rows.size());
  const Matrix features = random.normals(n, 2), X = design(n, 2, 6);
  Matrix all_features(total, 2), all_X(total, 2);
  Vector count = Vector::Zero(n);
  for (Index i = 0; i < total; ++i) {
    all_features.row(i) = features.row(rows[static_cast<std::size_t>(i)]);
    all_X.row(i) = X.row(rows[static_cast<std::size_t>(i)]);
    count(rows[static_cast<std::size_t>(i)]) += 1.0;
  }
  const Vector d = count.cwiseSqrt(), y = random.normals(total);
  // RelevanceRbf divides by its own number of rows: n/total in tau.
  const double shift = std::log(static_cast<double>(total) / static_cast<double>(n));
  const RelevanceRbf all(all_features);
  const ScaledFamily means(std::make_shared<RelevanceRbf>(features), d);
  for (const TransformKind kind : {TransformKind::none, TransformKind::yeo_johnson}) {
    const RestrictedLikelihood whole(all, {y}, fixed_effects(all_X), kind);
    const RestrictedLikelihood grouped(means, {y, rows}, fixed_effects(d.asDiagonal() * X), kind);
    Vector at{{-0.5, 0.1, 2.0, 0.6}}, shifted = at;
    shifted(2) += shift;
    at.conservativeResize(whole.parameters());
    shifted.conservativeResize(whole.parameters());
    const LikelihoodValue a = whole.at(shifted), b = grouped.at(at);

    EXPECT_NEAR(a.criterion, b.criterion, 1e-9);
    EXPECT_NEAR(a.noise_variance, b.noise_variance, 1e-10);
    EXPECT_NEAR(a.effective_dof, b.effective_dof, 1e-9);
    EXPECT_LT((a.gradient - b.gradient).cwiseAbs().maxCoeff(), 1e-8);
  }
}

TEST(RestrictedLikelihood, LeaveOneOutEqualsRefitsWithoutTheRow) {
  const Index n = 15;
  RandomStream random(7, "data");
  const RelevanceRbf family(random.normals(n, 2));
  const Matrix X = design(n, 3, 8);
  const Vector y = random.normals(n), p{{0.0, -1.0}};
  const double tau = 30.0;
  Vector at(3);
  at << p, std::log(tau);
  const LikelihoodValue value = RestrictedLikelihood(family, {.y = y}, fixed_effects(X)).at(at);
  const Matrix V = Matrix::Identity(n, n) + tau * family.at(p)->H();
  double log_density = 0.0;

  for (Index i = 0; i < n; ++i) {
    std::vector<Index> kept;
    for (Index j = 0; j < n; ++j)
      if (j != i) kept.push_back(j);
    // Universal kriging: generalised least squares for beta, then the conditional mean.
    const Matrix W = reference::inverse(V(kept, kept)), Xk = X(kept, Eigen::all);
    const Matrix inverse = reference::inverse(Xk.transpose() * W * Xk);
    const Vector v = V(kept, i), yk = y(kept), beta = inverse * (Xk.transpose() * W * yk);
    const Vector x = X.row(i).transpose(), c = x - Xk.transpose() * W * v;
    const double e = y(i) - x.dot(beta) - v.dot(W * (yk - Xk * beta));
    const double variance = value.noise_variance * (V(i, i) - v.dot(W * v) + c.dot(inverse * c));
    log_density -= 0.5 * (std::log(2.0 * std::numbers::pi * variance) + e * e / variance);

    EXPECT_NEAR(value.leave_one_out_residual(i), e, 1e-9);
    EXPECT_NEAR(value.leave_one_out_variance(i), variance, 1e-9);
  }
  EXPECT_NEAR(value.leave_one_out_log_density, log_density, 1e-9);
}

TEST(RestrictedLikelihood, LeavesOutAllObservationsOfARowTogether) {
  const Index n = 8;
  RandomStream random(13, "data");
  const std::vector<Index> rows = replicated(n);
  const Index total = static_cast<Index>(rows.size());
  const auto family = std::make_shared<RelevanceRbf>(random.normals(n, 1));
  const Matrix X = design(n, 2, 14);
  const Vector y = random.normals(total), d = Vector{{3, 2, 1, 1, 1, 1, 1, 1}}.cwiseSqrt(), at{{-0.2, 2.5}};
  const ScaledFamily means(family, d);
  const LikelihoodValue value =
      RestrictedLikelihood(means, {y, rows}, fixed_effects(d.asDiagonal() * X)).at(at);
  const Matrix V = Matrix::Identity(total, total) + std::exp(2.5) * family->at(at.head(1))->H()(rows, rows);
  const Matrix all_X = X(rows, Eigen::all);
  double log_density = 0.0;

  for (Index row = 0; row < n; ++row) {
    std::vector<Index> out, kept;
    for (Index i = 0; i < total; ++i) (rows[static_cast<std::size_t>(i)] == row ? out : kept).push_back(i);
    const Matrix W = reference::inverse(V(kept, kept)), Xk = all_X(kept, Eigen::all), v = V(kept, out);
    const Matrix XWX = reference::inverse(Xk.transpose() * W * Xk);
    const Matrix c = all_X(out, Eigen::all).transpose() - Xk.transpose() * W * v;
    const Vector yk = y(kept), beta = XWX * (Xk.transpose() * W * yk);
    const Vector e = y(out) - all_X(out, Eigen::all) * beta - v.transpose() * W * (yk - Xk * beta);
    const Matrix S = value.noise_variance * (V(out, out) - v.transpose() * W * v + c.transpose() * XWX * c);
    log_density -=
        0.5 * (reference::log_determinant(2.0 * std::numbers::pi * S) + e.dot(reference::inverse(S) * e));
  }
  EXPECT_NEAR(value.leave_one_out_log_density, log_density, 1e-8);
}

TEST(RestrictedLikelihood, DoesNotPredictARowThatItsOwnFixedEffectDetermines) {
  const Index n = 12;
  RandomStream random(9, "data");
  Matrix X = Matrix::Zero(n, 2);
  X.col(0).setOnes();
  X(4, 1) = 1.0;
  const RelevanceRbf family(random.normals(n, 1));
  const LikelihoodValue value =
      RestrictedLikelihood(family, {.y = random.normals(n)}, fixed_effects(X)).at(Vector{{0.0, 2.0}});

  EXPECT_TRUE(std::isnan(value.leave_one_out_residual(4)));
  EXPECT_TRUE(std::isfinite(value.leave_one_out_residual(3)));
  EXPECT_TRUE(std::isfinite(value.leave_one_out_log_density));
}

TEST(RestrictedLikelihood, WithAnIdentityTransformEqualsTheOneWithout) {
  const Index n = 20;
  RandomStream random(11, "data");
  const RelevanceRbf family(random.normals(n, 1));
  const Vector y = (random.normals(n).array()).exp();
  const FixedEffects fixed = FixedEffects::intercept(n);
  const double none = RestrictedLikelihood(family, {.y = y}, fixed).at(Vector{{0.0, 2.0}}).criterion;

  for (const TransformKind kind : {TransformKind::box_cox, TransformKind::yeo_johnson})
    EXPECT_NEAR(RestrictedLikelihood(family, {.y = y}, fixed, kind).at(Vector{{0.0, 2.0, 1.0}}).criterion,
                none, 1e-10);
}

TEST(RestrictedLikelihood, IsInfiniteWhereItIsNotDefined) {
  const Index n = 10;
  const Matrix indefinite = -Matrix::Identity(n, n);
  const WeightedSum family({indefinite});
  const RelevanceRbf rbf(RandomStream(12, "x").normals(n, 1));
  const FixedEffects fixed = FixedEffects::intercept(n);

  EXPECT_EQ(
      RestrictedLikelihood(family, {.y = Vector::LinSpaced(n, 0, 1)}, fixed).at(Vector{{0.0, 5.0}}).criterion,
      std::numeric_limits<double>::infinity());
  EXPECT_EQ(RestrictedLikelihood(rbf, {.y = Vector::Zero(n)}, fixed).at(Vector{{0.0, 1.0}}).criterion,
            std::numeric_limits<double>::infinity());
  EXPECT_THROW(RestrictedLikelihood(rbf, {.y = Vector::Zero(n + 1)}, fixed), InputError);
  EXPECT_THROW(RestrictedLikelihood(rbf, {.y = Vector::Ones(n), .row = std::vector<Index>(10, 0)}, fixed),
               InputError);
  EXPECT_THROW(RestrictedLikelihood(rbf, {.y = Vector::LinSpaced(n, -1, 1)}, fixed, TransformKind::box_cox),
               InputError);
}

}  // namespace
}  // namespace gradflow
