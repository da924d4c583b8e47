#include "model/uncertainty.h"

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "gradflow/model/memory.h"
#include "gradflow/operators/scaled_operator.h"

namespace gradflow {
namespace {

constexpr double deviation_copies = 3.0;  // n x n matrices alive while standard deviations are prepared

std::vector<Index> sample_of(const FittedModel& model) {
  if (model.rows() <= FittedModel::most_factored_rows) return {};
  return RandomStream(model.seed, "rows for standard deviations")
      .sample(model.rows(), FittedModel::most_factored_rows);
}

// Theta / (rows of the operator)
std::unique_ptr<DenseOperator> training_operator(const FittedModel& model, const std::vector<Index>& rows) {
  if (rows.empty())
    return model.kernel ? model.kernel->training(model.X)
                        : std::make_unique<DenseOperator>(model.H, model.operator_text);
  if (model.kernel) return model.kernel->training(Matrix(model.X(rows, Eigen::all)));
  const double share = static_cast<double>(model.rows()) / static_cast<double>(rows.size());
  return std::make_unique<DenseOperator>(share * model.H(rows, rows), model.operator_text);
}

}  // namespace

Uncertainty::Uncertainty(const FittedModel& model, IntervalKind interval, double level)
    : model_(model),
      interval_(interval),
      level_(level),
      rows_(sample_of(model)),
      scale_(model.weights.cwiseSqrt()),
      factor_(model.weights.size() > 0 ? 1.0 / model.weights.mean() : 1.0) {
  const bool distribution_free =
      interval == IntervalKind::jackknife_plus || interval == IntervalKind::leave_one_out;
  if (interval == IntervalKind::cross_validated) take_left_out();
  if (distribution_free && model.noise.kind != NoiseModelKind::normal)
    throw InputError(
        fmt::format("--interval {}: not for a model with noise model '{}': its weights have seen the rows "
                    "that would be left out: use --interval model",
                    to_string(interval), to_string(model.noise.kind)));
  if (distribution_free && sampled())
    throw InputError(fmt::format(
        "--interval {}: leave-one-out fits need a factorisation of all {} training rows, which is "
        "made up to {}: use --interval model",
        to_string(interval), model.rows(), FittedModel::most_factored_rows));
  if (distribution_free && model.response.size() == 0)
    throw InputError(
        fmt::format("--interval {}: the model file is of an earlier format, which does not hold "
                    "the responses: fit it again, or use --interval model",
                    to_string(interval)));
  const Index n = sampled() ? FittedModel::most_factored_rows : model.rows();
  require_memory(n, deviation_copies);
  const std::unique_ptr<DenseOperator> H = training_operator(model, rows_);
  const Vector ones = Vector::Ones(n);
  const Vector scale = scale_.size() == 0 ? ones : sampled() ? Vector(scale_(rows_)) : scale_;
  const double share = static_cast<double>(n) / static_cast<double>(model.rows());
  const bool plain = scale_.size() == 0 && !sampled();
  const ScaledOperator scaled(*H, scale, factor_ * share);
  const TrainingOperator& whitened = plain ? static_cast<const TrainingOperator&>(*H) : scaled;
  const FixedEffects fixed(sampled() ? Matrix(model.design(rows_, Eigen::all)) : model.design,
                           model.fixed_names);
  dof_ = static_cast<double>(model.rows() - fixed.count() + model.pure.dof);
  if (interval == IntervalKind::calibrated) take_calibration();
  if (sampled() || model.response.size() == 0) {
    variance_ = PosteriorVariance::for_ridge(whitened, fixed, model.tau);
    return;
  }
  const Vector response = scale.cwiseProduct(model.response);
  const double log_time_sd = std::isfinite(model.log_time_sd) ? model.log_time_sd : 0.0;
  predictive_ = RidgePredictive::delta(whitened, fixed, response, model.tau, log_time_sd, model.pure);
  if (distribution_free) conformal_ = ConformalRidge::for_ridge(whitened, fixed, response, model.tau);
  if (!distribution_free && model.noise.kind == NoiseModelKind::normal) allow_for_misfit(*H, response);
}

// Where the noise variance is not identified, s2 may be next to 0 and the trained function, which is not that
// of `ridge`, miss its own rows by far more.
void Uncertainty::allow_for_misfit(const DenseOperator& H, const Vector& response) {
  constexpr double noise_sds = 2.0;
  Vector fitted = H.matrix() * model_.alpha;
  if (scale_.size() > 0) fitted.array() *= scale_.array();
  const Vector residual = response - fitted - model_.design * model_.beta;
  const double misfit =
      (residual.squaredNorm() + model_.pure.squares) / static_cast<double>(model_.rows() + model_.pure.dof);
  misfit_ = std::max(0.0, misfit - noise_sds * noise_sds * model_.ridge_variance);
}

Uncertainty::Answer Uncertainty::at(Matrix H_cross, Vector H_self, const Matrix& design, const Vector& mean,
                                    const Vector& f0, const Vector& noise) {
  if (sampled()) H_cross = Matrix(H_cross(Eigen::all, rows_));
  if (scale_.size() > 0) {
    const Vector scale = sampled() ? Vector(scale_(rows_)) : scale_;
    H_cross *= (factor_ * scale).asDiagonal();
    H_self *= factor_;
  }
  const NewPoints points{std::move(H_cross), std::move(H_self), design};
  Answer answer;
  if (predictive_) {
    const StudentMixtures mixtures = predictive_->at(points);
    answer.scale = mixtures.scales.col(0);
    answer.sd = (answer.scale.array().square() - model_.ridge_variance).cwiseMax(0.0).sqrt();
    answer.scale = (answer.scale.array().square() + misfit_).sqrt();
  } else {
    answer.sd = (model_.ridge_variance * variance_->at(points).array()).sqrt();
    answer.scale = (model_.ridge_variance + answer.sd.array().square()).sqrt();
  }
  if (model_.noise.kind == NoiseModelKind::variance)
    answer.scale = (answer.sd.array().square() + model_.ridge_variance * noise.array()).sqrt();
  if (interval_ == IntervalKind::model)
    model_ends(mean, answer);
  else if (interval_ == IntervalKind::cross_validated || interval_ == IntervalKind::calibrated)
    measured_ends(mean, answer);
  else
    conformal_ends(points, f0, answer);
  return answer;
}

void Uncertainty::take_calibration() {
  const ErrorCalibration& calibration = model_.calibration;
  if (!calibration.known())
    throw InputError(fmt::format(
        "--interval calibrated: the model's errors were not calibrated ({}): use --interval model",
        calibration.reason));
  widening_ = calibration.factor;
  quantile_ = calibration.half_width(level_, dof_);
  shape_ = calibration.shape;
  statements_.push_back(calibration.sentence());
  statements_.push_back(
      fmt::format("Intervals of {:g} %: {:.3g} of the model's standard deviations either way; standard "
                  "deviations: {:.3g} "
                  "times the model's.",
                  100.0 * level_, quantile_, widening_));
}

void require_left_out(const FittedModel& model) {
  if (!model.left_out.known())
    throw InputError(
        "--interval cross-validated: the model has no choice that was made again without folds: fit it "
        "with --select and --choice-folds 5, or use --interval model");
}

std::vector<std::string> left_out_statements(const LeftOutErrors& errors, double level) {
  const double q = errors.quantile(level);
  std::vector<std::string> statements;
  statements.push_back(
      fmt::format("The choice of the model was made again without each of {} folds of the rows: the errors "
                  "of the {} left out "
                  "are {:.3g} times the standard deviations that the model gives them (root mean square).",
                  errors.folds, errors.sizes.size(), errors.root_mean_square()));
  statements.push_back(
      std::isfinite(q)
          ? fmt::format(
                "Intervals of {:g} %: {:.3g} of the model's standard deviations either way, the quantile of "
                "these errors.",
                100.0 * level, q)
          : fmt::format("Intervals of {:g} % are infinite: they take {:.0f} such errors.", 100.0 * level,
                        std::ceil(level / (1.0 - level) - 1e-9)));
  return statements;
}

// The factors of scale(x), and what they claim.
void Uncertainty::take_left_out() {
  require_left_out(model_);
  const LeftOutErrors& errors = model_.left_out;
  widening_ = errors.widening();
  quantile_ = errors.quantile(level_);
  statements_ = left_out_statements(errors, level_);
  if (widening_ > 1.0)
    statements_.push_back(fmt::format(
        "Standard deviations and densities: {:.3g} times the model's standard deviations.", widening_));
  const ErrorCalibration calibration = calibrate(errors.sizes);
  shape_ = calibration.shape;
  if (calibration.known() && !calibration.nearly_normal())
    statements_.push_back(
        fmt::format("These errors are not normal: densities are of a mixture of {} scales; the "
                    "best has a log-likelihood higher by {:.1f}.",
                    shape_.weights.size(), calibration.gain));
}

void Uncertainty::measured_ends(const Vector& mean, Answer& answer) const {
  answer.lower = mean - quantile_ * answer.scale;
  answer.upper = mean + quantile_ * answer.scale;
  answer.sd *= widening_;
  answer.scale *= widening_;
}

void Uncertainty::model_ends(const Vector& mean, Answer& answer) const {
  const double p = 0.5 + 0.5 * level_;
  Vector half;
  if (model_.noise.kind == NoiseModelKind::student) {
    half.resize(mean.size());
    parallel_for(mean.size(), 4, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i)
        half(i) = student_convolution_quantile(p, answer.sd(i) * answer.sd(i), model_.ridge_variance,
                                               model_.noise.dof);
    });
  } else {
    half = boost::math::quantile(boost::math::students_t(dof_), p) * answer.scale;
  }
  answer.lower = mean - half;
  answer.upper = mean + half;
}

void Uncertainty::conformal_ends(const NewPoints& points, const Vector& f0, Answer& answer) {
  ConformalOptions options;
  options.level = level_;
  options.method = interval_ == IntervalKind::jackknife_plus ? ConformalMethod::jackknife_plus
                                                             : ConformalMethod::leave_one_out;
  options.studentised = true;
  ConformalIntervals intervals = conformal_->at(points, f0, options);
  answer.lower = std::move(intervals.lower);
  answer.upper = std::move(intervals.upper);
  statements_ = std::move(intervals.statements);
}

}  // namespace gradflow
