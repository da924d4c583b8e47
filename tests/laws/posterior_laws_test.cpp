// Uncertainty and error estimates against computations written independently here.
#include <gtest/gtest.h>

#include "laws/problems.h"
#include "support/reference.h"

namespace gradflow::laws {
namespace {

// Universal kriging as in the textbooks (Cressie 1993, section 3.4): generalised least squares for the fixed
// effects, V = I + tau H, everything by explicit inverses.
struct Kriging {
  Vector mean, variance;
};

Kriging universal_kriging(const Matrix& H, const NewPoints& at, const Matrix& X, const Vector& y,
                          double tau) {
  const Matrix V_inverse = reference::inverse(Matrix::Identity(y.size(), y.size()) + tau * H);
  const Matrix information = reference::inverse(X.transpose() * V_inverse * X);
  const Vector beta = information * (X.transpose() * V_inverse * y);
  Kriging result{Vector(at.H_self.size()), Vector(at.H_self.size())};
  for (Index i = 0; i < at.H_self.size(); ++i) {
    const Vector k = tau * at.H_cross.row(i).transpose(), x = at.design.row(i).transpose();
    const Vector left = x - X.transpose() * V_inverse * k;
    result.mean(i) = x.dot(beta) + k.dot(V_inverse * (y - X * beta));
    result.variance(i) = tau * at.H_self(i) - k.dot(V_inverse * k) + left.dot(information * left);
  }
  return result;
}

TEST(Posterior, RidgeIsUniversalKrigingInMeanAndVariance) {
  const Problem p = make_problem(50, 3, 21);
  const DenseOperator H = p.H();
  Matrix X(50, 2), X_new(7, 2);
  X << Vector::Ones(50), p.X.col(2);
  X_new << Vector::Ones(7), p.X_new.col(2);
  const FixedEffects fixed(X, {"(intercept)", "x3"});
  const NewPoints at = p.new_points(X_new);
  const Path path{.kind = PathKind::ridge, .time = 40.0};
  const Kriging kriging = universal_kriging(H.entries(), at, X, p.observations.y, path.time);
  const ProjectedSpectrum spectrum = project(H, fixed);

  const DualFit fit = dual_fit(H, fixed, spectrum, p.observations.y, path);
  const Vector mean = X_new * fit.beta + at.H_cross * fit.alpha;
  const Vector variance = PosteriorVariance::from_spectrum(H, fixed, spectrum, path).at(at);
  const Vector from_factor = PosteriorVariance::for_ridge(H, fixed, path.time).at(at);

  EXPECT_LT((mean - kriging.mean).norm(), 1e-10 * kriging.mean.norm());
  EXPECT_LT((variance - kriging.variance).norm(), 1e-10 * kriging.variance.norm());
  EXPECT_LT((from_factor - kriging.variance).norm(), 1e-10 * kriging.variance.norm());
}

TEST(Posterior, InSampleWithoutFixedEffectsItIsThePapersSigmaSquaredTimesIMinusPhi) {
  const Problem p = make_problem(40, 3, 22);
  const DenseOperator H = p.H();
  const FixedEffects none = FixedEffects::none(40);
  const ProjectedSpectrum spectrum = project(H, none);
  const NewPoints in_sample{H.entries(), H.entries().diagonal(), Matrix(40, 0)};
  for (const Path& path : all_paths()) {
    const Vector expected = spectrum.basis.cwiseAbs2() * (Vector::Ones(40) - path.phi(spectrum.values));

    const Vector variance = PosteriorVariance::from_spectrum(H, none, spectrum, path).at(in_sample);

    EXPECT_LT((variance - expected).norm(), 1e-9 * expected.norm()) << to_string(path.kind);
  }
}

TEST(Posterior, OffSampleItIsTheGaussianModelWithTheExtendedPriorOnEveryPath) {
  // Prior kernel psi(0) h(x,x') + h_x'(psi(H) - psi(0)) H^-1 h_x' on training and new rows together, then
  // condition.
  const Problem p = make_problem(25, 3, 23, 4);
  const DenseOperator H = p.H();
  const FixedEffects none = FixedEffects::none(25);
  const ProjectedSpectrum s = project(H, none);
  const NewPoints at = p.new_points(Matrix(4, 0));
  for (const Path& path : all_paths()) {
    const double psi0 = path.psi_zero();
    Vector excess(25), prior_train(25);
    for (Index i = 0; i < 25; ++i) {
      const double lambda = s.values(i), psi = (1.0 / path.phi(lambda) - 1.0) / lambda;
      excess(i) = (psi - psi0) / lambda;
      prior_train(i) = psi * lambda;
    }
    const Matrix C = at.H_cross * s.basis;  // cross-covariances in the eigenbasis
    const Matrix K_cross = psi0 * C + C * excess.asDiagonal() * s.values.asDiagonal();
    const Vector K_self = psi0 * at.H_self + C.cwiseAbs2() * excess;
    const Vector expected = K_self - K_cross.cwiseAbs2() * (prior_train.array() + 1.0).inverse().matrix();

    const Vector variance = PosteriorVariance::from_spectrum(H, none, s, path).at(at);

    EXPECT_LT((variance - expected).norm(), 1e-8 * expected.norm()) << to_string(path.kind);
    EXPECT_TRUE((variance.array() >= 0.0).all());
  }
}

TEST(LeaveOneOut, IsExactForRidgeAtAFixedOperator) {
  const Problem p = make_problem(30, 3, 24);
  const DenseOperator H = p.H();
  const Path path{.kind = PathKind::ridge, .time = 40.0};
  const FixedEffects fixed = FixedEffects::intercept(30);
  const ProjectedSpectrum spectrum = project(H, fixed);
  const SpectralData data{spectrum.values, spectrum.coordinates(p.observations.y)};

  const Vector residuals = SpectralLeaveOneOut(spectrum, data).residuals(path);

  for (Index i = 0; i < 30; ++i) {
    std::vector<Index> others;
    for (Index j = 0; j < 30; ++j)
      if (j != i) others.push_back(j);
    const Matrix X = Matrix::Ones(29, 1);
    const NewPoints at{H.entries()(std::vector<Index>{i}, others), Vector::Constant(1, H.entries()(i, i)),
                       Matrix::Ones(1, 1)};
    const Kriging without =
        universal_kriging(H.entries()(others, others), at, X, p.observations.y(others), path.time);
    EXPECT_NEAR(residuals(i), p.observations.y(i) - without.mean(0), 1e-9);
  }
}

TEST(LeaveOneOut, YardstickStaysOfTheSizeOfTheResponseWhereTheFlowInterpolates) {
  // A smooth noise-free response: every rule trains until nothing is left, where r_i / (1 - S_ii) of the flow
  // is 0/0.
  Problem p = make_problem(80, 2, 27);
  p.observations.y = p.X.col(0).array().sin() + p.X.col(1).array();
  const Analysis a = analyse(p.H(), p.observations);

  ASSERT_GT(a.effective_dof, 75.0);
  const double sd = std::sqrt((p.observations.y.array() - p.observations.y.mean()).square().mean());
  for (const StoppingRule& rule : a.rules) EXPECT_LT(rule.loo_rmse, sd) << rule.name;
}

TEST(LeaveOneOut, RidgeWithGivenDegreesOfFreedomHasThem) {
  const Problem p = make_problem(60, 3, 28);
  const DenseOperator H = p.H();
  const ProjectedSpectrum s = project(H, FixedEffects::intercept(60));
  const SpectralData data{s.values, s.coordinates(p.observations.y)};
  for (const double dof : {0.0, 0.5, 7.0, 40.0})
    EXPECT_NEAR(data.effective_dof(ridge_with_dof(data, dof, {})), dof, 1e-8);
  EXPECT_DOUBLE_EQ(ridge_with_dof(data, 59.0, {}).time, 1e8 / s.values(0));
}

TEST(Validation, KrylovPathEqualsTheDenseComputationOnTheSameSplit) {
  const Problem p = make_problem(120, 3, 25);
  const DenseOperator H = p.H();
  const Analysis analysis = analyse(H, p.observations, {.seed = 3});
  const StoppingRule& rule = analysis.rule(RuleKind::validation);
  // The documented split: the first 20 % of the seeded permutation are held out.
  const std::vector<Index> order = RandomStream(3, "validation split").permutation(120);
  std::vector<Index> held(order.begin(), order.begin() + 24), train(order.begin() + 24, order.end());
  const Matrix H_train = p.Theta(train, train) / 96.0, H_cross = p.Theta(held, train) / 96.0;
  const DenseOperator operator_train(H_train);
  const FixedEffects fixed = FixedEffects::intercept(96);
  const ProjectedSpectrum spectrum = project(operator_train, fixed);
  const auto error = [&](double t) {
    const DualFit fit = dual_fit(operator_train, fixed, spectrum, p.observations.y(train),
                                 Path{.kind = PathKind::flow, .time = t});
    const Vector prediction = H_cross * fit.alpha + Vector::Constant(24, fit.beta(0));
    return std::sqrt((p.observations.y(held) - prediction).squaredNorm() / 24.0);
  };

  EXPECT_NEAR(rule.estimated_rmse / error(rule.time), 1.0, 1e-6);
  for (double x = -4.0; x < 12.0; x += 0.05)
    EXPECT_GE(error(std::exp(x)), rule.estimated_rmse * (1.0 - 1e-5));
}

TEST(Risk, MinimiserLiesInTheStatedRangeAndBeatsAFineGrid) {
  const Problem p = make_problem(60, 3, 26);
  const DenseOperator H = p.H();
  const ProjectedSpectrum s = project(H, FixedEffects::intercept(60));
  const SpectralData data{.values = s.values, .z = Vector::Ones(s.values.size())};
  for (const double tau : {0.01, 1.0, 100.0, 1e6}) {
    const Path flow{.kind = PathKind::flow};
    const double t = risk_minimiser(data, flow, tau);
    const double least = expected_risk(data, flow.at(t), tau);

    EXPECT_GE(t, 0.999 * std::log1p(tau * s.values(0)) / s.values(0));
    EXPECT_LE(t, 1.001 * tau);
    for (double x = -8.0; x < 18.0; x += 0.01)
      EXPECT_LE(least, expected_risk(data, flow.at(std::exp(x)), tau) * (1.0 + 1e-9));
    EXPECT_DOUBLE_EQ(risk_minimiser(data, Path{.kind = PathKind::ridge}, tau), tau);
  }
}

}  // namespace
}  // namespace gradflow::laws
