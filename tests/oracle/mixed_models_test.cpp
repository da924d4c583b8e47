// Ordinary mixed models fitted by lme4: path `ridge` on H = ZZ'/n is the random-effects model
//
//     y = X b + Z u + e,  u ~ N(0, s2_u I),  e ~ N(0, s2_e I):   s2_e = s2,  s2_u = s2 tau / n.
//
// Data, scripts and versions: tests/oracle/mixed/README.md.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numbers>

#include "gradflow/data/table.h"
#include "gradflow/inference/posterior.h"
#include "gradflow/inference/reml.h"
#include "gradflow/operators/dense_operator.h"
#include "oracle/mixed_models.h"
#include "support/reference.h"

namespace gradflow {
namespace {

using oracle::MixedModel;
using oracle::read_model;

constexpr double six_digits = 1e-6;

using Expected = std::map<std::string, Vector>;

Expected read_expected(const std::string& name) {
  const Table table = read_table(fmt::format("{}/tests/oracle/mixed/expected.csv", GRADFLOW_SOURCE_DIR));
  std::map<std::string, std::vector<double>> values;
  for (Index i = 0; i < table.rows(); ++i)
    if (table.cell(i, 0) == name) values[table.cell(i, 1)].push_back(std::stod(table.cell(i, 3)));
  Expected expected;
  for (const auto& [quantity, list] : values)
    expected[quantity] = Eigen::Map<const Vector>(list.data(), static_cast<Index>(list.size()));
  return expected;
}

class MixedModels : public testing::TestWithParam<std::string> {
 protected:
  MixedModels()
      : model(read_model(GetParam())),
        expected(read_expected(GetParam())),
        n(static_cast<double>(model.y.size())),
        H(model.Z * model.Z.transpose() / n),
        spectrum(project(H, model.fixed)),
        data{spectrum.values, spectrum.coordinates(model.y), {}, spectrum.trace},
        ridge(fit_reml(data, Path{.kind = PathKind::ridge})) {}

  // lme4's: Q has the contrasts of orthonormal columns, lme4 those of X, and Q leaves out constants.
  double minus_two_log_likelihood(double criterion) const {
    const double N = data.count();
    const Matrix& X = model.fixed.design();
    return criterion + N * (std::log(2.0 * std::numbers::pi) + 1.0) +
           reference::log_determinant(X.transpose() * X);
  }

  MixedModel model;
  Expected expected;
  double n;
  DenseOperator H;
  ProjectedSpectrum spectrum;
  SpectralData data;
  RemlFit ridge;
};

TEST_P(MixedModels, VarianceComponentsAgreeToSixDigits) {
  const double s2_u = ridge.noise_variance * ridge.path.time / n;

  EXPECT_NEAR(ridge.noise_variance / expected["s2_e"](0), 1.0, six_digits);
  if (expected["s2_u"](0) == 0.0) {
    EXPECT_EQ(ridge.outcome, Outcome::at_zero);
    EXPECT_EQ(s2_u, 0.0);
    return;
  }
  EXPECT_NEAR(s2_u / expected["s2_u"](0), 1.0, six_digits);
}

TEST_P(MixedModels, TheRestrictedLikelihoodAgreesAtItsMaximumAndElsewhere) {
  const double best = expected["minus_two_restricted_log_likelihood"](0);
  EXPECT_NEAR(minus_two_log_likelihood(ridge.criterion), best, 1e-9 * best);
  const Vector theta = expected["theta"],
               at = expected["minus_two_restricted_log_likelihood_at_theta"];  // theta^2 = s2_u / s2_e
  for (Index i = 0; i < theta.size(); ++i) {
    const Path path{.kind = PathKind::ridge, .time = theta(i) * theta(i) * n};
    const double criterion = reml_criterion(data, path);

    EXPECT_NEAR(minus_two_log_likelihood(criterion), at(i), 1e-9 * at(i));
    EXPECT_NEAR(criterion - ridge.criterion, at(i) - best, six_digits * std::abs(at(i) - best) + 1e-9);
  }
}

TEST_P(MixedModels, CoefficientsAndPredictionsOfTheEffectsAgreeToSixDigits) {
  const DualFit fit = dual_fit(H, model.fixed, spectrum, model.y, ridge.path);
  const Vector u = model.Z.transpose() * fit.alpha / n;  // Z u = H alpha

  EXPECT_LT((fit.beta - expected["beta"]).norm(), six_digits * expected["beta"].norm());
  ASSERT_EQ(u.size(), expected["u"].size());
  EXPECT_LE((u - expected["u"]).norm(), six_digits * expected["u"].norm());
  EXPECT_LT((model.fixed.design() * fit.beta + model.Z * u - fit.fitted).norm(), 1e-10 * fit.fitted.norm());
}

INSTANTIATE_TEST_SUITE_P(Lme4, MixedModels,
                         testing::Values("dyestuff", "dyestuff2", "sleepstudy", "unbalanced", "markers"),
                         [](const auto& tested) { return tested.param; });

TEST(BalancedGroups, TheEstimateIsThatOfTheAnalysisOfVariance) {
  // Balanced groups of k: s2_e = MS within, s2_u = (MS between - MS within)/k (Searle, Casella and McCulloch,
  // 1992, section 4.3). The mean squares are R's, aov(y ~ group) and aov(y ~ days + group).
  struct Case {
    const char* name;
    double s2_e, s2_u;
  };
  for (const auto& [name, s2_e, s2_u] :
       {Case{"dyestuff", 2451.25, 1764.05}, Case{"sleepstudy", 960.456578928759, 1378.1785084185}}) {
    const MixedModel model = read_model(name);
    const auto n = static_cast<double>(model.y.size());
    const DenseOperator H(model.Z * model.Z.transpose() / n);
    const ProjectedSpectrum spectrum = project(H, model.fixed);
    const RemlFit fit = fit_reml({spectrum.values, spectrum.coordinates(model.y), {}, spectrum.trace},
                                 Path{.kind = PathKind::ridge});

    EXPECT_NEAR(fit.noise_variance / s2_e, 1.0, six_digits) << name;
    EXPECT_NEAR(fit.noise_variance * fit.path.time / n / s2_u, 1.0, six_digits) << name;
  }
}

}  // namespace
}  // namespace gradflow
