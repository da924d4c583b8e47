#include <Eigen/Cholesky>
#include <cmath>
#include <memory>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/inference/noise_models.h"
#include "gradflow/operators/dense_operator.h"

namespace gradflow {
namespace {

struct RidgeProblem {
  Matrix H;
  FixedEffects fixed;
  Vector response;
  std::optional<double> tau;
  RemlOptions options;

  WeightedFit fit(const Vector& weights) const;
};

WeightedFit RidgeProblem::fit(const Vector& weights) const {
  require(weights.size() == response.size(), "weights.size()", weights.size(), "must be one per row");
  require(weights.allFinite() && weights.minCoeff() > 0.0, "smallest weight", weights.minCoeff(),
          "weights must be finite and positive");
  const Vector root = weights.cwiseSqrt();
  const DenseOperator weighted(root.asDiagonal() * H * root.asDiagonal());
  const FixedEffects effects(root.asDiagonal() * fixed.design(), fixed.names());
  const Vector y = root.cwiseProduct(response);
  const ProjectedSpectrum spectrum = project(weighted, effects);
  const SpectralData data{spectrum.values, spectrum.coordinates(y).col(0)};
  WeightedFit result;
  Path path{.kind = PathKind::ridge};
  if (tau) {
    path.time = *tau;
    result.outcome = Outcome::converged;
    result.reason = "tau as given";
  } else {
    const RemlFit reml = fit_reml(data, path, options);
    result.outcome = reml.outcome;
    result.reason = reml.reason;
    if (!usable(reml.outcome)) return result;
    path = reml.path;
  }
  result.time = path.time;
  result.noise_variance = reml_noise_variance(data, path);
  const Matrix information = effects.design().transpose() * effects.design();
  const double log_information =
      effects.count() == 0 ? 0.0 : information.ldlt().vectorD().array().log().sum();
  result.log_likelihood =
      -0.5 * (data.count() * (std::log(2.0 * M_PI * result.noise_variance) + 1.0) -
              path.log_phi(spectrum.values).sum() - weights.array().log().sum() + log_information);
  // R = (QU) phi (QU)', in the weighted coordinates, where every row's noise is s2
  const Vector half = path.phi(spectrum.values).cwiseSqrt();
  const Matrix scaled = spectrum.basis * half.asDiagonal();
  result.residual_operator.resize(y.size(), y.size());
  rank_update_lower(scaled, result.residual_operator);
  mirror_lower(result.residual_operator);
  const Vector residuals = result.residual_operator * y, diagonal = result.residual_operator.diagonal();
  result.fitted = response - residuals.cwiseQuotient(root);
  result.residuals = residuals.cwiseQuotient(diagonal.cwiseProduct(root));
  result.variances = result.noise_variance * diagonal.cwiseProduct(weights).cwiseInverse();
  return result;
}

}  // namespace

WeightedRefit ridge_refit(const TrainingOperator& H, const FixedEffects& fixed, const Vector& response,
                          std::optional<double> tau, const RemlOptions& options) {
  options.check();
  require(H.size() == fixed.rows(), "H.size()", H.size(), "must equal the rows of the fixed effects");
  require(response.size() == H.size(), "response.size()", response.size(), "must equal H.size()");
  if (tau) require(*tau >= 0.0 && std::isfinite(*tau), "tau", *tau, "must be finite and >= 0");
  const auto problem =
      std::make_shared<RidgeProblem>(RidgeProblem{H.matrix(), fixed, response, tau, options});
  return [problem](const Vector& weights) { return problem->fit(weights); };
}

}  // namespace gradflow
