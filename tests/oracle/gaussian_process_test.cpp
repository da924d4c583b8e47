// scikit-learn's GaussianProcessRegressor: with no fixed effects path `ridge` on H = k(X, X)/n is the process
//
//     y ~ N(0, c k(X, X) + s2 I):   c = s2 tau / n.
//
// Data, script and versions: tests/oracle/gaussian_process/README.md.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "gradflow/data/table.h"
#include "gradflow/inference/posterior.h"
#include "gradflow/operators/dense_operator.h"

namespace gradflow {
namespace {

Matrix numbers(const std::string& name) {
  const Table table =
      read_table(fmt::format("{}/tests/oracle/gaussian_process/{}", GRADFLOW_SOURCE_DIR, name));
  Matrix values(table.rows(), table.cols());
  for (Index i = 0; i < table.rows(); ++i)
    for (Index j = 0; j < table.cols(); ++j) values(i, j) = std::stod(table.cell(i, j));
  return values;
}

// scikit-learn's RBF(1.5), Matern(2, nu = 3/2) and DotProduct(0.7).
double kernel_value(const std::string& name, const Vector& x, const Vector& y) {
  const double distance = (x - y).norm(), r = std::sqrt(3.0) * distance / 2.0;
  if (name == "rbf") return std::exp(-0.5 * distance * distance / (1.5 * 1.5));
  if (name == "matern32") return (1.0 + r) * std::exp(-r);
  return x.dot(y) + 0.7 * 0.7;
}

Matrix kernel_matrix(const std::string& name, const Matrix& A, const Matrix& B) {
  Matrix K(A.rows(), B.rows());
  for (Index i = 0; i < A.rows(); ++i)
    for (Index j = 0; j < B.rows(); ++j)
      K(i, j) = kernel_value(name, A.row(i).transpose(), B.row(j).transpose());
  return K;
}

// The numbers of one kernel at one (c, s2).
struct Setting {
  double c = 0.0, s2 = 0.0;
  double log_likelihood = 0.0;  // maximised: the largest that the optimiser found
  bool maximised = false;
  std::vector<double> mean, sd;
};

std::vector<Setting> read_settings(const std::string& kernel) {
  const Table table =
      read_table(fmt::format("{}/tests/oracle/gaussian_process/expected.csv", GRADFLOW_SOURCE_DIR));
  std::vector<Setting> settings;
  for (Index i = 0; i < table.rows(); ++i) {
    if (table.cell(i, 0) != kernel) continue;
    const double c = std::stod(table.cell(i, 1)), s2 = std::stod(table.cell(i, 2)),
                 value = std::stod(table.cell(i, 5));
    if (settings.empty() || settings.back().c != c || settings.back().s2 != s2)
      settings.push_back({c, s2, 0.0, false, {}, {}});
    Setting& setting = settings.back();
    const std::string& quantity = table.cell(i, 3);
    if (quantity == "mean") {
      setting.mean.push_back(value);
    } else if (quantity == "sd") {
      setting.sd.push_back(value);
    } else {
      setting.log_likelihood = value;
      setting.maximised = quantity == "largest_log_marginal_likelihood";
    }
  }
  return settings;
}

class GaussianProcess : public testing::TestWithParam<std::string> {
 protected:
  GaussianProcess()
      : table(numbers("data.csv")),
        X(table.leftCols(3)),
        X_new(numbers("new.csv")),
        y(table.col(3)),
        n(static_cast<double>(y.size())),
        H(kernel_matrix(GetParam(), X, X) / n),
        none(FixedEffects::none(y.size())),
        spectrum(project(H, none)),
        data{spectrum.values, spectrum.coordinates(y), {}, spectrum.trace},
        settings(read_settings(GetParam())) {}

  Path path_of(const Setting& setting) const {
    return {.kind = PathKind::ridge, .time = setting.c * n / setting.s2};
  }

  // log N(y; 0, s2 phi(H)^-1), phi = (I + tau H)^-1.
  double log_likelihood(const Path& path, double s2) const {
    const double fit = n * reml_noise_variance(data, path);  // y' phi y
    const double log_determinant = -data.trace_of(path.log_phi(data.values));
    return -0.5 * (n * std::log(2.0 * std::numbers::pi * s2) + log_determinant + fit / s2);
  }

  NewPoints new_points() const {
    NewPoints points{kernel_matrix(GetParam(), X_new, X) / n, Vector(X_new.rows()), Matrix(X_new.rows(), 0)};
    for (Index i = 0; i < X_new.rows(); ++i)
      points.H_self(i) = kernel_value(GetParam(), X_new.row(i).transpose(), X_new.row(i).transpose()) / n;
    return points;
  }

  Matrix table, X, X_new;
  Vector y;
  double n;
  DenseOperator H;
  FixedEffects none;
  ProjectedSpectrum spectrum;
  SpectralData data;
  std::vector<Setting> settings;
};

constexpr double agreement = 1e-8;

TEST_P(GaussianProcess, TheLogMarginalLikelihoodAgrees) {
  ASSERT_EQ(settings.size(), 4u);
  for (const Setting& setting : settings)
    EXPECT_NEAR(log_likelihood(path_of(setting), setting.s2), setting.log_likelihood,
                agreement * std::max(1.0, std::abs(setting.log_likelihood)));
}

TEST_P(GaussianProcess, MeanAndStandardDeviationAtNewPointsAgree) {
  const NewPoints points = new_points();
  for (const Setting& setting : settings) {
    if (setting.maximised) continue;
    const Path path = path_of(setting);
    const Vector mean = points.H_cross * dual_fit(H, none, spectrum, y, path).alpha;
    const Vector by_spectrum =
        (setting.s2 * PosteriorVariance::from_spectrum(H, none, spectrum, path).at(points)).cwiseSqrt();
    const Vector by_factor =
        (setting.s2 * PosteriorVariance::for_ridge(H, none, path.time).at(points)).cwiseSqrt();

    ASSERT_EQ(mean.size(), static_cast<Index>(setting.mean.size()));
    for (Index i = 0; i < mean.size(); ++i) {
      const auto at = static_cast<std::size_t>(i);
      EXPECT_NEAR(mean(i), setting.mean[at], agreement);
      EXPECT_NEAR(by_spectrum(i), setting.sd[at], agreement);
      EXPECT_NEAR(by_factor(i), setting.sd[at], agreement);
    }
  }
}

TEST_P(GaussianProcess, TheLargestLikelihoodIsNoSmallerThanTheirsAndNoLarger) {
  // Without fixed effects REML is maximum likelihood. Their optimiser stops within 1e-6 of the maximum.
  const RemlFit fit = fit_reml(data, Path{.kind = PathKind::ridge});
  const double ours = log_likelihood(fit.path, fit.noise_variance), theirs = settings.back().log_likelihood;

  ASSERT_TRUE(settings.back().maximised);
  EXPECT_GT(ours, theirs - agreement);
  EXPECT_LT(ours, theirs + 1e-6);
}

INSTANTIATE_TEST_SUITE_P(ScikitLearn, GaussianProcess, testing::Values("rbf", "matern32", "linear"),
                         [](const auto& tested) { return tested.param; });

}  // namespace
}  // namespace gradflow
