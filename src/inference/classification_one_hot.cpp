#include <boost/math/distributions/chi_squared.hpp>
#include <cmath>

#include "gradflow/inference/posterior.h"
#include "gradflow/inference/reml.h"
#include "gradflow/inference/stopping.h"
#include "gradflow/spectrum/projected_spectrum.h"
#include "inference/classification_methods.h"

namespace gradflow {
namespace {

// K - 1 independent columns share N log s2 + log det: the pooled criterion is K - 1 times that of one.
double level_of_one(double level, Index classes) {
  const boost::math::chi_squared one(1.0);
  return boost::math::cdf(one, boost::math::quantile(one, level) / static_cast<double>(classes - 1));
}

// y_ic minus its leave-one-out residual.
Matrix leave_one_out_scores(const ProjectedSpectrum& spectrum, const Matrix& response, const Path& path) {
  Matrix scores(response.rows(), response.cols());
  for (Index c = 0; c < response.cols(); ++c) {
    SpectralData data{.values = spectrum.values, .z = spectrum.coordinates(response.col(c)).col(0)};
    data.trace = spectrum.trace;
    scores.col(c) = response.col(c) - SpectralLeaveOneOut(spectrum, data).residuals(path);
  }
  return scores;
}

}  // namespace

void fit_one_hot(const TrainingOperator& H, const Matrix& response, const Labels& labels,
                 const ClassOptions& options, ClassFit& fit) {
  const FixedEffects fixed = FixedEffects::intercept(H.size());
  const ProjectedSpectrum spectrum = project(H, fixed);
  SpectralData data{.values = spectrum.values, .z = spectrum.coordinates(response).rowwise().norm()};
  data.trace = spectrum.trace;
  const RemlFit reml =
      fit_reml(data, {.kind = PathKind::ridge}, {.level = level_of_one(options.level, fit.classes)});
  fit.outcome = reml.outcome;
  fit.reason = reml.reason;
  if (!usable(reml.outcome)) return;
  fit.tau = reml.path.time;
  const auto independent = static_cast<double>(fit.classes - 1);
  fit.criterion = independent * reml.criterion;
  fit.criterion_at_zero = independent * reml.criterion_at_zero;
  fit.interval = {reml.interval.lower, reml.interval.upper, options.level};
  fit.latent_variance = fit.tau * spectrum.trace / static_cast<double>(H.size());
  fit.evaluations = reml.evaluations;
  fit.path = options.path.at(fit.tau);
  if (options.path.kind != PathKind::ridge)
    fit.path = options.path.at(risk_minimiser(data, options.path, fit.tau));

  fit.dual = Matrix(H.size(), fit.classes);
  fit.bias = Vector(fit.classes);
  for (Index c = 0; c < fit.classes; ++c) {
    const DualFit one = dual_fit(H, fixed, spectrum, response.col(c), fit.path);
    fit.dual.col(c) = one.alpha;
    fit.bias(c) = one.beta(0);
  }
  // Scores about the frequencies, on the scale of log odds: offsets start at log frequencies less the slope's
  // share, and a slope of 0 gives the frequencies.
  const Vector base = ((fit.frequencies.array() * static_cast<double>(H.size()) + 0.5) /
                       (static_cast<double>(H.size()) + 0.5 * static_cast<double>(fit.classes)))
                          .log();
  Matrix scores = leave_one_out_scores(spectrum, response, fit.path);
  scores.rowwise() -= fit.frequencies.transpose();
  fit.map = fit_probability_map(scores, labels, {.slope_mean = 0.0, .slope_sd = 30.0, .base = base});
  fit.leave_one_out = fit.map.apply(scores);
  fit.map.offset -= fit.map.slope * fit.frequencies;
}

}  // namespace gradflow
