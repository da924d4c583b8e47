#include "gradflow/inference/held_out.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <cmath>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/inference/likelihood.h"
#include "inference/test_families.h"

namespace gradflow {
namespace {

struct Rows {
  explicit Rows(Index n, Index q) : fixed(Matrix(n, 0), {}) {
    RandomStream random(1, "held out");
    H = testing_families::RelevanceRbf(random.normals(n, 2)).at(Vector{{0.2, -0.4}})->H();
    w = random.normals(n);
    Matrix design = random.normals(n, q);
    std::vector<std::string> names;
    for (Index k = 0; k < q; ++k) names.push_back(fmt::format("x{}", k));
    fixed = FixedEffects(design, names);
  }
  Matrix H;
  Vector w;
  FixedEffects fixed;
};

TEST(PredictHeldOut, OfOneRowIsLeaveOneOut) {
  const Index n = 25;
  RandomStream random(2, "held out");
  const testing_families::RelevanceRbf family(random.normals(n, 2));
  const Vector y = random.normals(n), p{{0.3, -0.2}};
  const FixedEffects fixed = FixedEffects::intercept(n);
  const double log_tau = std::log(40.0);
  const LikelihoodValue value =
      RestrictedLikelihood(family, {.y = y}, fixed).at(Vector{{p(0), p(1), log_tau}});

  for (const Index row : {0, 7, 24}) {
    const HeldOut left = predict_held_out(family.at(p)->H(), std::exp(log_tau), y, fixed, {row});
    EXPECT_NEAR(left.error(0), value.leave_one_out_residual(row), 1e-10);
    EXPECT_NEAR(left.variance(0) * value.noise_variance, value.leave_one_out_variance(row), 1e-10);
  }
}

// Fixed effects of prior variance c -> infinity: the conditional mean and variance of a joint normal.
TEST(PredictHeldOut, OfABlockIsTheConditionalDistribution) {
  const Rows rows(14, 2);
  const std::vector<Index> held{3, 9, 10, 13}, kept{0, 1, 2, 4, 5, 6, 7, 8, 11, 12};
  const double tau = 11.0, vague = 1e7;
  const Matrix V =
      Matrix::Identity(14, 14) + tau * rows.H + vague * rows.fixed.design() * rows.fixed.design().transpose();
  const Matrix A = V(kept, kept).ldlt().solve(V(kept, held)).transpose();

  const HeldOut left = predict_held_out(rows.H, tau, rows.w, rows.fixed, held);

  // Relative error of order 1/vague, times a condition number near vague times rounding.
  EXPECT_LT((left.error - (rows.w(held) - A * rows.w(kept))).norm(), 1e-5);
  EXPECT_LT((left.variance - Matrix(V(held, held) - A * V(kept, held)).diagonal()).norm(), 1e-5);
}

TEST(PredictHeldOut, RefusesWhatItCannotPredict) {
  const Rows rows(6, 1);
  const auto predict = [&](const std::vector<Index>& held) {
    return predict_held_out(rows.H, 1.0, rows.w, rows.fixed, held);
  };

  EXPECT_THROW(predict({}), InputError);
  EXPECT_THROW(predict({6}), InputError);
  EXPECT_THROW(predict({0, 1, 2, 3, 4, 5}), InputError);
  EXPECT_TRUE(predict_held_out(-rows.H, 1e9, rows.w, rows.fixed, {2}).error.hasNaN());
}

}  // namespace
}  // namespace gradflow
