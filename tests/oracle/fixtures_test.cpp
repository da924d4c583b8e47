// Six cases computed by the reference implementation of arXiv 2605.27991; provenance beside the numbers, in
// tests/oracle/CASE/README.md. From the given weights everything the paper computes must come out.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "gradflow/data/array_file.h"
#include "gradflow/inference/analysis.h"
#include "gradflow/network/dense_network.h"
#include "gradflow/operators/dense_operator.h"
#include "gradflow/operators/finite_ntk.h"

namespace gradflow {
namespace {

class Fixture : public testing::TestWithParam<std::string> {
 protected:
  std::string path(const std::string& name) const {
    return fmt::format("{}/tests/oracle/{}/{}", GRADFLOW_SOURCE_DIR, GetParam(), name);
  }
  Matrix matrix(const std::string& name) const {
    return read_npy(path(fmt::format("{}.npy", name))).as_matrix(name);
  }
  Vector vector(const std::string& name) const {
    return read_npy(path(fmt::format("{}.npy", name))).as_vector(name);
  }
  nlohmann::json expected() const { return nlohmann::json::parse(std::ifstream(path("expected.json"))); }

  DenseNetwork network() const {
    Parameters parameters;
    Architecture architecture;
    architecture.activation.kind = ActivationKind::relu;
    architecture.widths.clear();
    const int layers = expected()["layers"];
    for (int l = 0; l < layers; ++l) {
      parameters.weights.push_back(matrix(fmt::format("W{}", l)));
      parameters.biases.push_back(vector(fmt::format("b{}", l)));
      if (l + 1 < layers) architecture.widths.push_back(parameters.weights.back().rows());
    }
    return {architecture, parameters};
  }

  Analysis paper_analysis(const Matrix& H) const {
    const Observations observations{vector("y_train"), vector("f0_train"), Matrix(H.rows(), 0), {}, {}};
    return analyse(DenseOperator(H), observations, {.paper = true, .rule = RuleKind::reml_path});
  }
};

TEST_P(Fixture, OperatorsAndInitialOutputsFollowFromTheWeights) {
  const Matrix X = matrix("X_train"), X_test = matrix("X_test"), H = matrix("H"), C = matrix("C");
  const NtkPair kernels = ntk_gram_and_cross(network(), X, X_test);
  const auto n = static_cast<double>(X.rows());

  EXPECT_LT((kernels.gram / n - H).cwiseAbs().maxCoeff(), 1e-12 * H.cwiseAbs().maxCoeff());
  EXPECT_LT((kernels.cross / n - C).cwiseAbs().maxCoeff(), 1e-12 * C.cwiseAbs().maxCoeff());
  EXPECT_LT((kernels.output - vector("f0_train")).cwiseAbs().maxCoeff(), 1e-12);
  EXPECT_LT((kernels.output_new - vector("f0_test")).cwiseAbs().maxCoeff(), 1e-12);
}

TEST_P(Fixture, EigenvaluesAgree) {
  const ProjectedSpectrum spectrum = project(DenseOperator(matrix("H")), FixedEffects::none(200));

  EXPECT_LT((spectrum.values.reverse() - vector("eigvals")).cwiseAbs().maxCoeff(),
            1e-12 * spectrum.values(0));
}

TEST_P(Fixture, SatterthwaitePValueAgrees) {
  const ScoreTest test = paper_analysis(matrix("H")).test;
  const nlohmann::json values = expected();

  EXPECT_NEAR(0.5 * test.statistic / double(values["T"]), 1.0, 1e-9);
  EXPECT_NEAR(test.satterthwaite_scale / double(values["kappa"]), 1.0, 1e-9);
  EXPECT_NEAR(test.satterthwaite_dof / double(values["nu"]), 1.0, 1e-9);
  EXPECT_NEAR(test.p_value_satterthwaite / double(values["p_value_sf"]), 1.0, 1e-7);
}

TEST_P(Fixture, RemlFlowTimeAgreesAndNoSignalIsAResult) {
  const Analysis analysis = paper_analysis(matrix("H"));
  const double time = expected()["t_reml_bisect"];

  EXPECT_TRUE(analysis.is_usable());
  if (time == 0.0) {
    EXPECT_EQ(analysis.rule().outcome, Outcome::at_zero);
    EXPECT_EQ(analysis.rule().time, 0.0);
    return;
  }
  EXPECT_NEAR(analysis.rule().time / time, 1.0, 1e-9);
}

TEST_P(Fixture, FlowPredictionsAgreeAtTheFourTimes) {
  const Matrix flow_train = matrix("flow_train"), flow_test = matrix("flow_test"), C = matrix("C");
  const Vector times = vector("flow_t"), f0 = vector("f0_train"), response = vector("y_train") - f0;
  const DenseOperator H(matrix("H"));
  const FixedEffects none = FixedEffects::none(200);
  const ProjectedSpectrum spectrum = project(H, none);
  for (Index i = 0; i < times.size(); ++i) {
    const DualFit fit = dual_fit(H, none, spectrum, response, Path{.kind = PathKind::flow, .time = times(i)});

    EXPECT_LT((f0 + fit.fitted - flow_train.row(i).transpose()).cwiseAbs().maxCoeff(), 1e-8);
    EXPECT_LT((vector("f0_test") + C * fit.alpha - flow_test.row(i).transpose()).cwiseAbs().maxCoeff(), 1e-8);
  }
}

INSTANTIATE_TEST_SUITE_P(Reference, Fixture,
                         testing::Values("simple", "deep", "highdim", "nonlinear", "null", "null-root"),
                         [](const auto& fixture) {
                           std::string name = fixture.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace gradflow
