#include "gradflow/inference/noise_models.h"

#include <gtest/gtest.h>

#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>

#include "base/special_values.h"
#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/operators/dense_operator.h"
#include "inference/test_support.h"
#include "support/reference.h"

namespace gradflow {
namespace {

double student(RandomStream& random, int dof) {
  return random.normal() / std::sqrt(random.normals(dof).squaredNorm() / static_cast<double>(dof));
}

// Weighted least squares on X: the same contract as ridge_refit, with nothing but a projection.
WeightedRefit regression(Matrix X, Vector y, bool with_operator) {
  return [X = std::move(X), y = std::move(y), with_operator](const Vector& weights) {
    const Vector root = weights.cwiseSqrt();
    const Matrix weighted = root.asDiagonal() * X;
    const Matrix hat = weighted * reference::inverse(weighted.transpose() * weighted) * weighted.transpose();
    Matrix R = Matrix::Identity(y.size(), y.size()) - hat;
    const Vector residuals = R * root.cwiseProduct(y);
    WeightedFit fit;
    fit.outcome = Outcome::converged;
    fit.noise_variance = residuals.squaredNorm() / static_cast<double>(X.rows() - X.cols());
    fit.log_likelihood =
        -0.5 * (static_cast<double>(X.rows() - X.cols()) * (std::log(2.0 * M_PI * fit.noise_variance) + 1.0) -
                weights.array().log().sum() + reference::log_determinant(weighted.transpose() * weighted));
    fit.residuals = residuals.cwiseQuotient(R.diagonal().cwiseProduct(root));
    fit.variances = fit.noise_variance * R.diagonal().cwiseProduct(weights).cwiseInverse();
    fit.fitted = y - residuals.cwiseQuotient(root);
    if (with_operator) fit.residual_operator = std::move(R);
    return fit;
  };
}

TEST(RidgeRefit, EqualsExplicitLeaveOneOutFitsWithWeights) {
  RandomStream random(1, "weighted refit");
  const Index n = 20;
  const double tau = 2.5;
  const Matrix inputs = random.normals(n, 1), X = Matrix::Ones(n, 1), K = gaussian_kernel(inputs, inputs);
  const Vector y = random.normals(n), weights = random.normals(n).array().exp();
  const WeightedFit fit = ridge_refit(DenseOperator(K), FixedEffects::intercept(n), y, tau)(weights);
  const Matrix V = tau * K + Matrix(weights.cwiseInverse().asDiagonal());
  const Matrix inverse = reference::inverse(V);
  const double b = (X.transpose() * inverse * y)(0) / (X.transpose() * inverse * X)(0);
  const Vector r = y - Vector::Constant(n, b);

  EXPECT_NEAR(fit.noise_variance, r.dot(inverse * r) / static_cast<double>(n - 1), 1e-9);
  EXPECT_LT((fit.fitted - (Vector::Constant(n, b) + tau * K * inverse * r)).cwiseAbs().maxCoeff(), 1e-9);
  for (Index left = 0; left < n; ++left) {
    std::vector<Index> kept;
    for (Index i = 0; i < n; ++i)
      if (i != left) kept.push_back(i);
    const Matrix V_inverse = reference::inverse(V(kept, kept));
    const Vector ones = Vector::Ones(n - 1), y_kept = y(kept), k = tau * K(kept, left);
    const double information = ones.dot(V_inverse * ones), mean = ones.dot(V_inverse * y_kept) / information;
    const double trend = 1.0 - k.dot(V_inverse * ones);
    EXPECT_NEAR(fit.residuals(left),
                y(left) - mean - k.dot(V_inverse * (y_kept - Vector::Constant(n - 1, mean))), 1e-9);
    EXPECT_NEAR(fit.variances(left) / fit.noise_variance,
                V(left, left) - k.dot(V_inverse * k) + trend * trend / information, 1e-9);
  }
}

TEST(StudentConvolution, IsTheStudentDensityWithoutALatentPart) {
  for (const double dof : {2.5, 3.0, 5.0, 30.0})
    for (const double e : {0.0, 0.3, 2.0, 15.0, 1e4}) {
      const double density = boost::math::pdf(boost::math::students_t(dof), e / 1.7) / 1.7;
      EXPECT_NEAR(log_student_convolution(e, 0.0, 1.7 * 1.7, dof) / std::log(density), 1.0, 1e-9);
    }
}

TEST(StudentConvolution, IsTheConvolutionOfBothDensities) {
  const boost::math::students_t t(4.0);
  for (const double V : {0.01, 1.0, 25.0})
    for (const double e : {0.0, 2.0, 12.0}) {
      double sum = 0.0;
      const double h = 0.002 * std::sqrt(V);
      for (double f = -9.0 * std::sqrt(V); f < 9.0 * std::sqrt(V); f += h)
        sum += h * std::exp(-0.5 * f * f / V) / std::sqrt(2.0 * M_PI * V) *
               boost::math::pdf(t, (e - f) / 0.8) / 0.8;
      EXPECT_NEAR(log_student_convolution(e, V, 0.64, 4.0), std::log(sum), 1e-8);
    }
  EXPECT_NEAR(log_student_convolution(1.0, 2.0, 3.0, infinity), -0.5 * (std::log(10.0 * M_PI) + 0.2), 1e-14);
}

TEST(StudentConvolution, HasTheQuantilesOfStudentsTWithoutALatentPartAndNormalOnesWithoutHeavyTails) {
  for (const double p : {0.5 + 1e-6, 0.75, 0.95, 0.975, 0.9995, 1.0 - 1e-9}) {
    const double z = boost::math::quantile(boost::math::normal(), p);
    EXPECT_NEAR(student_convolution_quantile(p, 2.0, 3.0, infinity) / (std::sqrt(5.0) * z), 1.0, 1e-12);
    for (const double dof : {2.1, 3.0, 5.0, 30.0, 1000.0}) {
      const double t = boost::math::quantile(boost::math::students_t(dof), p);
      // Near 1/2: the tail's 1e-10 of 1/2 over the density there, above 0.2 in units of 1.7.
      EXPECT_NEAR(student_convolution_quantile(p, 0.0, 2.89, dof), 1.7 * t, 4e-10 + 1e-8 * t)
          << p << ' ' << dof;
      EXPECT_NEAR(student_convolution_quantile(p, 4.0, 1e-20, dof) / (2.0 * z), 1.0, 1e-6) << p << ' ' << dof;
      EXPECT_EQ(student_convolution_quantile(1.0 - p, 0.7, 2.89, dof),
                -student_convolution_quantile(1.0 - (1.0 - p), 0.7, 2.89, dof));
    }
  }
  EXPECT_EQ(student_convolution_quantile(0.5, 1.0, 1.0, 3.0), 0.0);
  EXPECT_EQ(student_convolution_quantile(0.9, 0.0, 0.0, 3.0), 0.0);
  EXPECT_THROW(student_convolution_quantile(1.0, 1.0, 1.0, 3.0), InputError);
  EXPECT_THROW(student_convolution_quantile(0.9, -1.0, 1.0, 3.0), InputError);
}

TEST(StudentConvolution, HasTheTailWhoseSlopeIsMinusItsDensity) {
  for (const double V : {0.01, 1.0, 25.0})
    for (const double e : {0.1, 2.0, 12.0}) {
      const double h = 1e-4 * std::sqrt(V + 0.64);
      const double slope =
          (student_convolution_tail(e + h, V, 0.64, 4.0) - student_convolution_tail(e - h, V, 0.64, 4.0)) /
          (2.0 * h);
      EXPECT_NEAR(-slope / std::exp(log_student_convolution(e, V, 0.64, 4.0)), 1.0, 1e-6) << V << ' ' << e;
    }
}

TEST(StudentConvolution, HasTheQuantilesOfDraws) {
  RandomStream random(5, "convolution");
  const int draws = 200000;
  const double p = 0.95, V = 1.5, s2 = 0.8;
  const double quantile = student_convolution_quantile(p, V, s2, 3.0);
  int below = 0;
  for (int i = 0; i < draws; ++i)
    below += std::sqrt(V) * random.normal() + std::sqrt(s2) * student(random, 3) <= quantile ? 1 : 0;

  EXPECT_NEAR(below / static_cast<double>(draws), p, 4.0 * std::sqrt(p * (1.0 - p) / draws));
}

TEST(StudentNoise, TakesTheGivenDegreesOfFreedomAlsoWhereNormalNoiseIsLikelier) {
  RandomStream random(2, "given dof");
  const Matrix X = Matrix::Ones(80, 1);
  const WeightedRefit refit = regression(X, random.normals(80), false);

  const StudentNoise given = student_noise(refit, 80, {.dof = {4.0}, .given = true});
  const StudentNoise chosen = student_noise(refit, 80, {.dof = {4.0}});

  EXPECT_EQ(given.outcome, Outcome::converged);
  EXPECT_EQ(given.dof, 4.0);
  EXPECT_LT(given.bound_gain, 0.0);
  EXPECT_TRUE(std::isinf(chosen.dof));
  EXPECT_EQ(student_noise(refit, 80, {.dof = {4.0}, .max_iterations = 2, .given = true}).outcome,
            Outcome::iteration_limit);
  EXPECT_THROW(student_noise(refit, 80, {.dof = {4.0, 5.0}, .given = true}), InputError);
}

// How often nu <= 5 and nu >= 30 are chosen among 60 samples of 100 rows.
struct Chosen {
  int heavy = 0, normal = 0;
};
Chosen choose(int noise_dof) {
  Chosen chosen;
  for (std::uint64_t r = 0; r < 60; ++r) {
    RandomStream random(r, "choose dof");
    Matrix X = Matrix::Ones(100, 2);
    X.col(1) = random.normals(100);
    Vector y = X.col(1);
    for (Index i = 0; i < y.size(); ++i) y(i) += noise_dof > 0 ? student(random, noise_dof) : random.normal();
    const StudentNoise noise = student_noise(regression(X, y, false), y.size());
    EXPECT_EQ(noise.outcome, Outcome::converged);
    chosen.heavy += noise.dof <= 5.0 ? 1 : 0;
    chosen.normal += noise.dof >= 30.0 ? 1 : 0;
  }
  return chosen;
}

TEST(StudentNoise, FindsHeavyTailsAndLeavesNormalNoiseAlone) {
  // 100 rows: the standard error of 1/nu at the normal is about 0.08, so that 4 of 5 samples stay below
  // 1/nu = 0.07; at nu = 3 nearly all are above 1/7.
  const int heavy = choose(3).heavy, normal = choose(0).normal;
  RecordProperty("heavy", heavy);
  RecordProperty("normal", normal);

  EXPECT_GE(heavy, 48);
  EXPECT_GE(normal, 36);
}

TEST(StudentNoise, AnOutlierMovesTheNormalFitAndNotTheStudentFit) {
  RandomStream random(2, "outlier");
  const Index n = 60;
  const Matrix inputs = random.normals(n, 1);
  Vector y = inputs.col(0).array().sin();
  for (Index i = 0; i < n; ++i) y(i) += 0.2 * student(random, 3);
  Vector spoiled = y;
  spoiled(10) += 20.0;
  const DenseOperator H(gaussian_kernel(inputs, inputs));
  const FixedEffects fixed = FixedEffects::intercept(n);
  const StudentNoise clean = student_noise(ridge_refit(H, fixed, y), n);
  const StudentNoise noise = student_noise(ridge_refit(H, fixed, spoiled), n);
  const Vector normal = ridge_refit(H, fixed, spoiled)(Vector::Ones(n)).fitted;

  ASSERT_EQ(noise.outcome, Outcome::converged);
  EXPECT_LE(noise.dof, 5.0);
  EXPECT_LT(noise.weights(10), 0.01);
  EXPECT_GT(noise.bound_gain, 10.0);
  EXPECT_LT((noise.fit.fitted - clean.fit.fitted).norm(), 0.2 * (normal - clean.fit.fitted).norm());
}

TEST(StudentNoise, RescaledResponsesRescaleTheNoiseOnly) {
  RandomStream random(3, "rescaled");
  Vector y(50);
  for (Index i = 0; i < 50; ++i) y(i) = student(random, 3);
  const Matrix X = Matrix::Ones(50, 1);
  const StudentNoise a = student_noise(regression(X, y, false), 50);
  const StudentNoise b = student_noise(regression(X, 10.0 * y, false), 50);

  EXPECT_EQ(a.dof, b.dof);
  EXPECT_LT((a.weights - b.weights).cwiseAbs().maxCoeff(), 1e-10);
  EXPECT_NEAR(b.noise_variance / a.noise_variance, 100.0, 1e-8);
}

TEST(StudentNoise, TheBoundNeverFallsAlongTheIteration) {
  RandomStream random(8, "bound");
  const Index n = 40;
  const Matrix inputs = random.normals(n, 1);
  Vector y = inputs.col(0).array().sin();
  for (Index i = 0; i < n; ++i) y(i) += student(random, 3);
  const WeightedRefit refit =
      ridge_refit(DenseOperator(gaussian_kernel(inputs, inputs)), FixedEffects::intercept(n), y);
  Vector weights = Vector::Ones(n);
  double previous = -infinity;
  for (int iteration = 0; iteration < 20; ++iteration) {
    const WeightedFit fit = refit(weights);
    const double bound = student_bound(fit, weights, 3.0);

    // REML's time is exact to about 1e-8, its criterion to 1e-10 relative.
    EXPECT_GE(bound, previous - 1e-7);
    previous = bound;
    weights = student_t_weights(fit, weights, 3.0);
  }
}

TEST(StudentNoise, LeavesNormalNoiseAloneUnderAFlexibleFit) {
  int normal = 0;
  for (std::uint64_t r = 0; r < 5; ++r) {
    RandomStream random(r, "flexible");
    const Index n = 60;
    const Matrix inputs = random.normals(n, 2);
    const Vector y = inputs.col(0).array().sin().matrix() + 0.4 * random.normals(n);
    const DenseOperator H(gaussian_kernel(inputs, inputs));
    normal += student_noise(ridge_refit(H, FixedEffects::intercept(n), y), n).dof >= 30.0 ? 1 : 0;
  }

  EXPECT_GE(normal, 4);
}

TEST(StudentNoise, ReportsTheRefitThatFailed) {
  const WeightedRefit broken = [](const Vector&) {
    return WeightedFit{.outcome = Outcome::unidentified, .reason = "nothing left"};
  };
  const StudentNoise noise = student_noise(broken, 10);

  EXPECT_EQ(noise.outcome, Outcome::unidentified);
  EXPECT_EQ(noise.reason, "nothing left");
  EXPECT_THROW(student_noise(broken, 10, {.dof = {2.0}}), InputError);
}

TEST(StudentNoise, SaysWhenTheWeightsDidNotSettle) {
  RandomStream random(4, "not settled");
  Vector y(40);
  for (Index i = 0; i < 40; ++i) y(i) = student(random, 2);
  const StudentNoise noise =
      student_noise(regression(Matrix::Ones(40, 1), y, false), 40, {.dof = {3.0}, .max_iterations = 2});

  ASSERT_EQ(noise.candidates.size(), 2u);
  EXPECT_EQ(noise.candidates[1].outcome, Outcome::iteration_limit);
  EXPECT_TRUE(std::isinf(noise.dof));
}

struct PlantedNoise {
  Matrix X, U;
  Vector y;
};
// Noise variance exp(gamma'u) around a line; gamma = (1, -0.5) by default.
PlantedNoise planted_noise(Index n, const Vector& gamma, std::uint64_t seed) {
  RandomStream random(seed, "heteroscedastic");
  PlantedNoise p{Matrix::Ones(n, 2), random.normals(n, 2), Vector(n)};
  p.X.col(1) = random.normals(n);
  p.y = p.X.col(1) + Vector((0.5 * (p.U * gamma).array()).exp() * random.normals(n).array());
  return p;
}

TEST(HeteroscedasticNoise, RecoversPlantedCoefficientsUnderRidge) {
  const Index n = 150;
  const PlantedNoise p = planted_noise(n, Vector{{1.0, -0.5}}, 1);
  const Matrix inputs = p.X.col(1);
  const DenseOperator H(gaussian_kernel(inputs, inputs));
  const HeteroscedasticNoise noise =
      heteroscedastic_noise(ridge_refit(H, FixedEffects::intercept(n), p.y), p.U, {"a", "b"});

  ASSERT_EQ(noise.outcome, Outcome::converged);
  EXPECT_NEAR(noise.coefficients[0].estimate, 1.0, 3.0 * noise.coefficients[0].standard_error);
  EXPECT_NEAR(noise.coefficients[1].estimate, -0.5, 3.0 * noise.coefficients[1].standard_error);
  EXPECT_LT(noise.coefficients[0].standard_error, 0.2);
  EXPECT_LT(noise.score_p_value, 1e-6);
  EXPECT_LT(noise.wald_p_value, 1e-6);
  EXPECT_NEAR(noise.weights.array().log().mean(), 0.0, 1e-12);
}

TEST(HeteroscedasticNoise, MaximisesTheRestrictedLikelihood) {
  // -2 log L_R = sum log s_i + log|X'S^-1X| + r'S^-1r, S = diag(s_i), s2 profiled: brute force around.
  const Index n = 60;
  const PlantedNoise p = planted_noise(n, Vector{{1.0, -0.5}}, 2);
  const HeteroscedasticNoise noise = heteroscedastic_noise(regression(p.X, p.y, true), p.U, {"a", "b"});
  const auto criterion = [&](const Vector& gamma) {
    const Vector weights = (-(p.U * gamma).array()).exp();
    const Matrix information = p.X.transpose() * weights.asDiagonal() * p.X;
    const Vector r = p.y - p.X * reference::solve(information, p.X.transpose() * weights.cwiseProduct(p.y));
    const double s2 = r.dot(weights.cwiseProduct(r)) / static_cast<double>(n - 2);
    return static_cast<double>(n - 2) * std::log(s2) - weights.array().log().sum() +
           reference::log_determinant(information);
  };
  const Vector estimate{{noise.coefficients[0].estimate, noise.coefficients[1].estimate}};
  const double h = 1e-3;

  ASSERT_EQ(noise.outcome, Outcome::converged);
  for (Index j = 0; j < 2; ++j) {
    const Vector step = h * Vector::Unit(2, j);
    const double up = criterion(estimate + step), down = criterion(estimate - step);
    const double curvature = (up + down - 2.0 * criterion(estimate)) / (h * h);
    // The root of the slope, in standard errors.
    EXPECT_LT(std::abs((up - down) / (2.0 * h) / curvature), 1e-3 * noise.coefficients[0].standard_error);
  }
}

TEST(HeteroscedasticNoise, HasCalibratedStandardErrorsAndTests) {
  constexpr int replicates = 300;
  double squares = 0.0;
  int rejected_score = 0, rejected_wald = 0;
  for (std::uint64_t r = 0; r < replicates; ++r) {
    const PlantedNoise p = planted_noise(60, Vector{{0.7, 0.0}}, 100 + r);
    const HeteroscedasticNoise noise = heteroscedastic_noise(regression(p.X, p.y, true), p.U, {"a", "b"});
    squares += std::pow((noise.coefficients[0].estimate - 0.7) / noise.coefficients[0].standard_error, 2);
    const PlantedNoise null = planted_noise(60, Vector::Zero(2), 1000 + r);
    const HeteroscedasticNoise none =
        heteroscedastic_noise(regression(null.X, null.y, true), null.U, {"a", "b"});
    rejected_score += none.score_p_value < 0.05 ? 1 : 0;
    rejected_wald += none.wald_p_value < 0.05 ? 1 : 0;
  }
  RecordProperty("score", rejected_score);
  RecordProperty("wald", rejected_wald);
  RecordProperty("squares", std::to_string(squares / replicates));

  // Mean of 300 squares of standard normals, and 3.3 binomial standard errors.
  EXPECT_NEAR(squares / replicates, 1.0, 3.3 * std::sqrt(2.0 / replicates));
  EXPECT_NEAR(static_cast<double>(rejected_score) / replicates, 0.05,
              3.3 * std::sqrt(0.05 * 0.95 / replicates));
}

TEST(HeteroscedasticNoise, ARescaledColumnRescalesItsCoefficient) {
  PlantedNoise p = planted_noise(50, Vector{{1.0, -0.5}}, 3);
  const HeteroscedasticNoise a = heteroscedastic_noise(regression(p.X, p.y, true), p.U, {"a", "b"});
  p.U.col(1) = 1000.0 + 8.0 * p.U.col(1).array();
  const HeteroscedasticNoise b = heteroscedastic_noise(regression(p.X, 3.0 * p.y, true), p.U, {"a", "b"});

  EXPECT_NEAR(8.0 * b.coefficients[1].estimate, a.coefficients[1].estimate, 1e-8);
  EXPECT_NEAR(b.coefficients[0].estimate, a.coefficients[0].estimate, 1e-8);
  EXPECT_NEAR(b.score_statistic, a.score_statistic, 1e-8);
}

TEST(HeteroscedasticNoise, FollowsTheFittedMean) {
  RandomStream random(4, "fitted mean");
  const Index n = 300;
  Matrix X = Matrix::Ones(n, 2);
  X.col(1) = random.normals(n);
  const Vector mean = 5.0 + 2.0 * X.col(1).array();
  const Vector y = mean + Vector((0.2 * mean.array()).exp() * random.normals(n).array());
  const HeteroscedasticNoise noise =
      heteroscedastic_noise(regression(X, y, true), Matrix(n, 0), {}, {.on_fitted_mean = true});

  ASSERT_EQ(noise.outcome, Outcome::converged);
  ASSERT_EQ(noise.coefficients.size(), 1u);
  EXPECT_EQ(noise.coefficients[0].name, "(fitted mean)");
  EXPECT_NEAR(noise.coefficients[0].estimate, 0.4, 3.0 * noise.coefficients[0].standard_error);
}

TEST(HeteroscedasticNoise, NamesColumnsThatCannotBeUsed) {
  const PlantedNoise p = planted_noise(20, Vector{{1.0, -0.5}}, 5);
  const WeightedRefit refit = regression(p.X, p.y, true);
  Matrix constant = p.U, twice = p.U;
  constant.col(1).setConstant(3.0);
  twice.col(1) = 2.0 * twice.col(0).array() + 1.0;

  EXPECT_THROW(heteroscedastic_noise(refit, constant, {"a", "b"}), InputError);
  EXPECT_THROW(heteroscedastic_noise(refit, twice, {"a", "b"}), InputError);
  EXPECT_THROW(heteroscedastic_noise(refit, p.U, {"a"}), InputError);
  EXPECT_THROW(heteroscedastic_noise(refit, Matrix(20, 0), {}), InputError);
  EXPECT_THROW(heteroscedastic_noise(refit, p.U.topRows(4), {"a", "b"}), InputError);
}

TEST(HeteroscedasticNoise, StopsWhereRowsSeemToHaveNoNoise) {
  RandomStream random(6, "no noise");
  Vector y(40), u(40);
  for (Index i = 0; i < 40; ++i) {
    u(i) = i < 20 ? 0.0 : 1.0;
    y(i) = i < 20 ? 0.0 : random.normal();
  }
  const HeteroscedasticNoise noise =
      heteroscedastic_noise(regression(Matrix::Ones(40, 1), y, true), u, {"half"});

  EXPECT_EQ(noise.outcome, Outcome::on_boundary);
  EXPECT_NE(noise.reason.find("no noise"), std::string::npos);
}

TEST(HeteroscedasticNoise, AConstantFittedMeanIsLeftOutOrRefused) {
  RandomStream random(7, "constant mean");
  const Vector y = random.normals(30);
  const Matrix u = random.normals(30, 1);
  const WeightedRefit refit = regression(Matrix::Ones(30, 1), y, true);
  const HeteroscedasticOptions options{.on_fitted_mean = true};

  EXPECT_EQ(heteroscedastic_noise(refit, Matrix(30, 0), {}, options).outcome, Outcome::unidentified);
  EXPECT_EQ(heteroscedastic_noise(refit, u, {"u"}, options).coefficients.size(), 1u);
}

}  // namespace
}  // namespace gradflow
