#include "gradflow/inference/path_leave_one_out.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/inference/posterior.h"
#include "gradflow/operators/dense_operator.h"
#include "inference/test_support.h"

namespace gradflow {
namespace {

struct LeaveOneOutFit {
  Matrix inputs, design;
  Vector response;
  ProjectedSpectrum spectrum;
  SpectralData data;

  explicit LeaveOneOutFit(Index n, std::uint64_t seed = 5) {
    RandomStream random(seed, "path leave-one-out");
    inputs = random.normals(n, 2);
    design = Matrix::Ones(n, 2);
    design.col(1) = random.normals(n);
    response = inputs.col(0).array().sin().matrix() + 0.5 * design.col(1) + 0.3 * random.normals(n);
    spectrum =
        project(DenseOperator(gaussian_kernel(inputs, inputs)), FixedEffects(design, {"one", "slope"}));
    data = {spectrum.values, spectrum.coordinates(response).col(0)};
  }

  // By training without the row: f = h'alpha + x'beta, alpha = Q M^-1 (1 - phi(M)) w, beta by least squares.
  double error_without(Index row, const Path& path) const {
    std::vector<Index> kept;
    for (Index j = 0; j < inputs.rows(); ++j)
      if (j != row) kept.push_back(j);
    const Matrix X = inputs(kept, Eigen::all), Z = design(kept, Eigen::all), H = gaussian_kernel(X, X);
    const ProjectedSpectrum other = project(DenseOperator(H), FixedEffects(Z, {"one", "slope"}));
    const Vector y = response(kept), w = other.coordinates(y).col(0);
    const Vector alpha = other.basis * path.dual(other.values).cwiseProduct(w);
    const Vector beta = Z.colPivHouseholderQr().solve(y - H * alpha);
    return response(row) - (gaussian_kernel(inputs.row(row), X) * alpha)(0) - design.row(row).dot(beta);
  }
};

TEST(PathLeaveOneOut, IsTheErrorOfTrainingWithoutTheRow) {
  const LeaveOneOutFit fit(25);
  for (const PathKind kind : {PathKind::flow, PathKind::decay, PathKind::ridge})
    for (const double time : {0.0, 1e-3, 0.3, 7.0, 200.0, 1e4}) {
      const Path path{.kind = kind, .time = time, .decay = kind == PathKind::decay ? 0.02 : 0.0};
      const Vector errors = path_leave_one_out(fit.spectrum, fit.data, path);
      for (Index i = 0; i < 25; ++i)
        EXPECT_NEAR(errors(i), fit.error_without(i, path), 1e-9)
            << to_string(kind) << " at " << time << ", row " << i;
    }
}

// Where the data are nearly interpolated r_i / (1 - S_ii) is not the error without the row.
TEST(PathLeaveOneOut, IsNotTheResidualOverOneLessItsLeverage) {
  const LeaveOneOutFit fit(25);
  const Path path{.kind = PathKind::flow, .time = 1e4};
  const Vector phi = path.phi(fit.spectrum.values);
  const Vector residuals = fit.spectrum.basis * phi.cwiseProduct(fit.data.z);

  const Vector errors = path_leave_one_out(fit.spectrum, fit.data, path);

  const Vector approximate = residuals.cwiseQuotient(fit.spectrum.diagonals(phi).col(0));
  EXPECT_GT((approximate - errors).norm(), 0.1 * errors.norm());
}

TEST(PathLeaveOneOut, DecaysTowardsNoFlowAtAll) {
  const LeaveOneOutFit fit(30, 6);
  const Vector flow = path_leave_one_out(fit.spectrum, fit.data, {.kind = PathKind::flow, .time = 5.0}),
               decay = path_leave_one_out(fit.spectrum, fit.data,
                                          {.kind = PathKind::decay, .time = 5.0, .decay = 1e-9});

  EXPECT_LT((flow - decay).cwiseAbs().maxCoeff(), 1e-7);
}

TEST(PathLeaveOneOut, KnowsWhichPathsItDoesNotKnow) {
  const LeaveOneOutFit fit(10);
  EXPECT_FALSE(has_leave_one_out(PathKind::descent));
  EXPECT_THROW(path_leave_one_out(fit.spectrum, fit.data,
                                  {.kind = PathKind::descent, .time = 3.0, .learning_rate = 0.1}),
               InputError);
}

}  // namespace
}  // namespace gradflow
