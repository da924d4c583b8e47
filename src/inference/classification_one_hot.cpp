#include <boost/math/distributions/chi_squared.hpp>
#include <limits>
#include <utility>
#include <vector>

#include "gradflow/inference/posterior.h"
#include "gradflow/inference/reml.h"
#include "gradflow/inference/stopping.h"
#include "gradflow/spectrum/projected_spectrum.h"
#include "inference/classification_methods.h"
#include "inference/search.h"

namespace gradflow {
namespace {

// K - 1 independent columns share N log s2 + log det: the pooled criterion is K - 1 times that of one.
double level_of_one(double level, Index classes) {
  const boost::math::chi_squared one(1.0);
  return boost::math::cdf(one, boost::math::quantile(one, level) / static_cast<double>(classes - 1));
}

// One eigendecomposition, and from it everything at any tau.
class OneHot {
 public:
  OneHot(const TrainingOperator& H, const Matrix& response, const Labels& labels, const ClassOptions& options,
         const Vector& frequencies)
      : fixed_(FixedEffects::intercept(H.size())),
        spectrum_(project(H, fixed_)),
        response_(response),
        labels_(labels),
        path_(options.path),
        frequencies_(frequencies) {
    const Matrix z = spectrum_.coordinates(response);
    pooled_ = data_of(z.rowwise().norm());
    for (Index c = 0; c < z.cols(); ++c) columns_.push_back(data_of(z.col(c)));
    // A slope of 0 gives the frequencies.
    prior_ = {.slope_mean = 0.0, .slope_sd = 30.0, .own_sd = 2.0, .base = {}, .offset_sd = 1.0};
    prior_.base = smoothed_log_frequencies(response);
  }

  const FixedEffects& fixed() const { return fixed_; }
  const ProjectedSpectrum& spectrum() const { return spectrum_; }
  const SpectralData& pooled() const { return pooled_; }

  // The path at its time under ridge components tau.
  Path path_at(double tau) const {
    return path_.at(path_.kind == PathKind::ridge ? tau : risk_minimiser(pooled_, path_, tau));
  }

  // y_ic minus its leave-one-out residual, about the frequencies.
  Matrix leave_one_out_scores(const Path& path) const {
    Matrix scores = response_.rowwise() - frequencies_.transpose();
    for (Index c = 0; c < response_.cols(); ++c)
      scores.col(c) -= SpectralLeaveOneOut(spectrum_, columns_[static_cast<std::size_t>(c)]).residuals(path);
    return scores;
  }

  ProbabilityMap map_of(const Matrix& scores) const { return fit_probability_map(scores, labels_, prior_); }

  // -2 log of the leave-one-out probabilities' product.
  double leave_one_out_criterion(double tau) const {
    const Matrix scores = leave_one_out_scores(path_at(tau));
    if (!scores.allFinite()) return std::numeric_limits<double>::infinity();
    return 2.0 * static_cast<double>(response_.rows()) * log_loss(map_of(scores).apply(scores), labels_);
  }

 private:
  SpectralData data_of(Vector z) const {
    SpectralData data{.values = spectrum_.values, .z = std::move(z)};
    data.trace = spectrum_.trace;
    return data;
  }

  FixedEffects fixed_;
  ProjectedSpectrum spectrum_;
  const Matrix& response_;
  const Labels& labels_;
  Path path_;
  const Vector& frequencies_;
  SpectralData pooled_;
  std::vector<SpectralData> columns_;
  MapPrior prior_;
};

void choose_by_likelihood(const OneHot& problem, const ClassOptions& options, ClassFit& fit) {
  const RemlFit reml = fit_reml(problem.pooled(), {.kind = PathKind::ridge},
                                {.level = level_of_one(options.level, fit.classes)});
  fit.outcome = reml.outcome;
  fit.reason = reml.reason;
  fit.tau = reml.path.time;
  const auto independent = static_cast<double>(fit.classes - 1);
  fit.criterion = independent * reml.criterion;
  fit.criterion_at_zero = independent * reml.criterion_at_zero;
  fit.interval = {reml.interval.lower, reml.interval.upper, options.level};
  fit.evaluations = reml.evaluations;
}

void choose_by_leave_one_out(const OneHot& problem, ClassFit& fit) {
  const double largest = problem.spectrum().values.size() > 0 ? problem.spectrum().values(0) : 0.0;
  if (!(largest > 0.0)) {
    fit.outcome = Outcome::unidentified;
    fit.reason = "the training operator is zero or constant: it cannot tell rows apart";
    return;
  }
  const auto criterion = [&](double tau) { return problem.leave_one_out_criterion(tau); };
  const double bound = RemlOptions{}.largest_shrinkage / largest;
  const Minimum minimum = minimise_over_time(criterion, log_grid(1e-10 * bound, bound, 31), false);
  fit.outcome = outcome_of(minimum);
  fit.reason = minimum.at_zero ? "leave-one-out prefers the classes' frequencies"
               : minimum.at_bound
                   ? "the leave-one-out log-loss still falls at the bound of tau: the classes are separable"
                   : "minimum of the log-loss of the mapped leave-one-out scores";
  fit.tau = minimum.time;
  fit.criterion = minimum.value;
  fit.criterion_at_zero = criterion(0.0);
  fit.evaluations = minimum.evaluations + 1;
}

}  // namespace

void fit_one_hot(const TrainingOperator& H, const Matrix& response, const Labels& labels,
                 const ClassOptions& options, ClassFit& fit) {
  const OneHot problem(H, response, labels, options, fit.frequencies);
  if (options.scale == ScaleRule::likelihood)
    choose_by_likelihood(problem, options, fit);
  else
    choose_by_leave_one_out(problem, fit);
  if (!usable(fit.outcome)) return;
  fit.latent_variance = fit.tau * problem.spectrum().trace / static_cast<double>(H.size());
  fit.path = problem.path_at(fit.tau);
  fit.dual = Matrix(H.size(), fit.classes);
  fit.bias = Vector(fit.classes);
  for (Index c = 0; c < fit.classes; ++c) {
    const DualFit one = dual_fit(H, problem.fixed(), problem.spectrum(), response.col(c), fit.path);
    fit.dual.col(c) = one.alpha;
    fit.bias(c) = one.beta(0);
  }
  const Matrix scores = problem.leave_one_out_scores(fit.path);
  fit.map = problem.map_of(scores);
  fit.leave_one_out = fit.map.apply(scores);
  fit.map.offset -= fit.map.slope.cwiseProduct(fit.frequencies);
}

}  // namespace gradflow
