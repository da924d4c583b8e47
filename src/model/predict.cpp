#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "base/special_values.h"
#include "gradflow/base/error.h"
#include "gradflow/model/fitted_model.h"
#include "gradflow/model/memory.h"
#include "model/averaged_predictions.h"
#include "model/cross_blocks.h"
#include "model/uncertainty.h"

namespace gradflow {
namespace {

Matrix design_at(const FittedModel& model, const NewRows& rows, Index begin, Index count) {
  Matrix design(count, model.beta.size());
  if (design.cols() == 0) return design;
  const Index intercept = model.intercept ? 1 : 0;
  if (model.intercept) design.col(0).setOnes();
  design.rightCols(design.cols() - intercept) = rows.Z.middleRows(begin, count);
  return design;
}

CrossKernel cross_at(const FittedModel& model, const NewRows& rows, const GivenCross& given, Index begin,
                     Index count) {
  if (model.kernel) return model.kernel->cross(rows.X.middleRows(begin, count), model.X);
  CrossKernel cross;
  const std::vector<Index> selected(rows.row.begin() + begin, rows.row.begin() + begin + count);
  cross.H_cross = given.H_cross(selected, Eigen::all);
  if (given.H_self.size() > 0) cross.H_self = given.H_self(selected);
  cross.output = Vector::Zero(count);
  return cross;
}

void check_given(const FittedModel& model, const NewRows& rows, const GivenCross& given) {
  if (model.kernel) {
    if (given.H_cross.size() > 0 || given.H_self.size() > 0)
      throw InputError(
          "a cross matrix is only for models of a user's operator; this model has its own kernel");
    return;
  }
  const auto m = static_cast<Index>(rows.ids.size());
  if (given.H_cross.size() == 0)
    throw InputError(
        fmt::format("the model's operator is a user's matrix: new rows need their cross matrix (m x {}, "
                    "Theta(new, train)/n)",
                    model.rows()));
  if (given.H_cross.rows() != m || given.H_cross.cols() != model.rows())
    throw InputError(fmt::format("the cross matrix is {} x {}: must be {} x {}, new rows by training rows",
                                 given.H_cross.rows(), given.H_cross.cols(), m, model.rows()));
  if (given.H_self.size() != 0 && given.H_self.size() != m)
    throw InputError(fmt::format("the cross diagonal has {} entries: must be {}, one per new row",
                                 given.H_self.size(), m));
  if (!given.H_cross.allFinite() || !given.H_self.allFinite())
    throw InputError("the cross matrix and its diagonal must be finite");
}

std::string why_no_sd(const FittedModel& model) {
  if (model.kernel && model.X.cols() == 0)
    return fmt::format(
        "Standard deviations and intervals are NA: they need a factorisation of {0} x {0} entries, which "
        "is made up to {1} training rows.",
        model.rows(), FittedModel::most_factored_rows);
  return model.kernel ? "Standard deviations are NA: the model has no variance components."
                      : "Standard deviations are NA: they need the new rows' own kernel values.";
}

// mean(x) = f0(x) + x'beta + h_x'alpha, by the linearised weights where the model has them.
Vector mean_at(const FittedModel& model, const NewRows& rows, const CrossKernel& cross, const Matrix& design,
               Index begin) {
  const Vector base = unstandardize_response(model.recipe, cross.output) + design * model.beta;
  if (!model.linearised) return base + cross.H_cross * model.alpha;
  return base + model.kernel->finite()->jvp(rows.X.middleRows(begin, design.rows()), *model.linearised);
}

void warn_of_misfit(Predictions& out) {
  if (out.misfit > 0.0)
    out.warnings.push_back(
        "The trained function misses its own rows by more than twice the noise of the variance components "
        "(which data that nearly interpolate do not identify; a time too early leaves a trend): intervals "
        "allow for that.");
}

Predictions empty_predictions(const NewRows& rows) {
  Predictions out;
  out.ids = rows.ids;
  out.warnings = rows.warnings;
  const auto m = static_cast<Index>(rows.ids.size());
  out.mean = out.sd = out.lower = out.upper = out.location = out.scale = Vector::Constant(m, not_a_number);
  return out;
}

bool can_give_sd(const FittedModel& model, const GivenCross& given) {
  const bool holds_rows = !model.kernel || model.X.cols() > 0;
  return std::isfinite(model.tau) && std::isfinite(model.ridge_variance) && holds_rows &&
         (model.kernel || given.H_self.size() > 0);
}

// E g^-1(location + scale T), T at the given quantiles; the median where that is not finite.
double expected_response(const ResponseTransform& transform, double location, double scale,
                         const Vector& quantiles) {
  double sum = 0.0;
  for (const double t : quantiles) sum += transform.inverse(location + scale * t);
  const double mean = sum / static_cast<double>(quantiles.size());
  return std::isfinite(mean) ? mean : transform.inverse(location);
}

// dof NaN, of predictions without standard deviations: normal.
Vector quantiles_of(const ScaleMixture& shape, double dof) {
  constexpr Index nodes = 128;
  if (std::isnan(dof)) dof = infinity;
  Vector quantiles(nodes);
  for (Index k = 0; k < nodes; ++k)
    quantiles(k) = shape.quantile((static_cast<double>(k) + 0.5) / static_cast<double>(nodes), dof);
  return quantiles;
}

// From the transformed response's units to the response's own.
void transform_back(const FittedModel& model, Predictions& out) {
  const ResponseTransform& transform = model.transform;
  if (transform.kind == TransformKind::none) return;
  const bool median_only = model.noise.kind == NoiseModelKind::student;
  const Vector quantiles = median_only ? Vector::Zero(1) : quantiles_of(out.shape, out.dof);
  for (Index i = 0; i < out.mean.size(); ++i) {
    const double location = out.location(i);
    if (std::isnan(location)) continue;
    const double scale = std::isnan(out.scale(i)) ? std::sqrt(model.noise_variance) : out.scale(i);
    const double median = transform.inverse(location);
    out.mean(i) = expected_response(transform, location, scale, quantiles);
    out.sd(i) *= std::exp(-transform.log_derivative(median));
    out.lower(i) = transform.inverse(out.lower(i));
    out.upper(i) = transform.inverse(out.upper(i));
  }
}

// By the model's own fit.
Predictions predict_alone(const FittedModel& model, const NewRows& rows, const GivenCross& given,
                          IntervalKind interval, double level, Progress* progress) {
  Predictions out = empty_predictions(rows);
  const auto count = static_cast<Index>(rows.row.size());
  if (count == 0) return out;
  std::optional<Uncertainty> uncertainty;
  if (interval != IntervalKind::none && can_give_sd(model, given)) {
    report_progress(progress, "building the training operator", 0.0);
    uncertainty.emplace(model, interval, level);
    out.interval = interval;
    out.widening = uncertainty->widening();
    out.shape = uncertainty->shape();
    if (model.noise.kind != NoiseModelKind::student) out.dof = uncertainty->dof();
    if (uncertainty->sampled())
      out.warnings.push_back(
          fmt::format("Standard deviations are those given a seeded sample of {} of the {} training rows: "
                      "never below those "
                      "given all, so intervals are too wide rather than too narrow.",
                      FittedModel::most_factored_rows, model.rows()));
  } else if (interval != IntervalKind::none) {
    out.warnings.push_back(why_no_sd(model));
  }
  Index outside = 0;
  const Index block = std::max<Index>(1, cross_block_entries / model.rows());
  for (Index begin = 0; begin < count; begin += block) {
    report_progress(progress, "predicting", static_cast<double>(begin) / static_cast<double>(count));
    const Index size = std::min(block, count - begin);
    CrossKernel cross;
    if (model.linearised && !uncertainty)
      cross.output = model.kernel->output(rows.X.middleRows(begin, size));
    else
      cross = cross_at(model, rows, given, begin, size);
    const Matrix design = design_at(model, rows, begin, size);
    const Vector mean = mean_at(model, rows, cross, design, begin);
    const std::vector<Index> to(rows.row.begin() + begin, rows.row.begin() + begin + size);
    out.mean(to) = mean;
    out.location(to) = mean;
    if (!uncertainty) continue;
    const Vector f0 = unstandardize_response(model.recipe, cross.output);
    const Vector noise = model.noise.factors(model.recipe, rows.X.middleRows(begin, size),
                                             rows.Z.middleRows(begin, size), mean, outside);
    const Uncertainty::Answer answer =
        uncertainty->at(std::move(cross.H_cross), std::move(cross.H_self), design, mean, f0, noise);
    out.sd(to) = answer.sd;
    out.scale(to) = answer.scale;
    out.lower(to) = answer.lower;
    out.upper(to) = answer.upper;
    out.statements = uncertainty->statements();
    out.misfit = uncertainty->misfit();
  }
  warn_of_misfit(out);
  if (outside > 0)
    out.warnings.push_back(fmt::format(
        "The noise variance of {} of {} rows is extrapolated: a column of the noise model is more "
        "than half its range beyond the training rows.",
        outside, count));
  transform_back(model, out);
  return out;
}

Vector log_densities_alone(const FittedModel& model, const Predictions& predictions, const Vector& y) {
  const ScaleMixture& shape = predictions.shape;
  const Vector transformed = model.transform.forward(y);
  Vector log_density = StudentMixtures{shape.weights, predictions.location.replicate(1, shape.weights.size()),
                                       predictions.scale * shape.scales.transpose(), predictions.dof}
                           .log_density(transformed);
  for (Index i = 0; i < y.size(); ++i) {
    const double scale = predictions.scale(i), e = transformed(i) - predictions.location(i);
    if (model.noise.kind == NoiseModelKind::student) {
      const double variance = std::max(0.0, scale * scale - model.ridge_variance);
      log_density(i) = log_student_convolution(e, variance, model.ridge_variance, model.noise.dof) +
                       model.transform.log_derivative(y(i));
      continue;
    }
    if (!std::isfinite(e) || std::isnan(scale) || std::isnan(y(i))) {
      const bool impossible = std::isfinite(y(i)) && std::isfinite(scale);  // the transform is of y > 0
      log_density(i) = impossible ? -std::numeric_limits<double>::infinity() : not_a_number;
      continue;
    }
    log_density(i) += model.transform.log_derivative(y(i));
  }
  return log_density;
}

}  // namespace

IntervalKind parse_interval(const std::string& text) {
  for (const IntervalKind kind :
       {IntervalKind::calibrated, IntervalKind::model, IntervalKind::jackknife_plus,
        IntervalKind::leave_one_out, IntervalKind::cross_validated, IntervalKind::none})
    if (text == to_string(kind)) return kind;
  throw InputError(fmt::format(
      "--interval {}: must be calibrated, model, jackknife+, leave-one-out, cross-validated or none", text));
}

std::string_view to_string(IntervalKind kind) {
  switch (kind) {
    case IntervalKind::calibrated: return "calibrated";
    case IntervalKind::jackknife_plus: return "jackknife+";
    case IntervalKind::leave_one_out: return "leave-one-out";
    case IntervalKind::cross_validated: return "cross-validated";
    case IntervalKind::none: return "none";
    case IntervalKind::model: break;
  }
  return "model";
}

IntervalKind default_interval(const FittedModel& model) {
  if (model.left_out.known()) return IntervalKind::cross_validated;
  return model.calibration.known() ? IntervalKind::calibrated : IntervalKind::model;
}

Predictions predict(const FittedModel& model, const NewRows& rows, const GivenCross& given,
                    const PredictOptions& options) {
  check_given(model, rows, given);
  require_address_space();
  const IntervalKind interval = options.interval.value_or(default_interval(model));
  const bool of_one_fit = interval == IntervalKind::jackknife_plus || interval == IntervalKind::leave_one_out;
  const bool alone = model.others.empty() || rows.row.empty() || of_one_fit;
  // Left-out errors give the ends of intervals alone; what distributions lack is the fits' spread, not a
  // factor.
  const IntervalKind own_kind = alone || interval != IntervalKind::cross_validated ? interval
                                : model.calibration.known()                        ? IntervalKind::calibrated
                                                                                   : IntervalKind::model;
  if (interval == IntervalKind::cross_validated) require_left_out(model);
  Predictions own = predict_alone(model, rows, given, own_kind, model.level, options.progress);
  if (of_one_fit && !model.others.empty())
    own.statements.push_back(
        "Predictions and intervals are of the kernel chosen with all rows alone, not of the mean of fits.");
  if (alone) return own;
  std::vector<Predictions> members{std::move(own)};
  for (const FittedModel& other : model.others)
    members.push_back(predict_alone(other, rows, given, own_kind, model.level, options.progress));
  return averaged(model, std::move(members), interval);
}

Vector log_densities(const FittedModel& model, const Predictions& predictions, const Vector& y) {
  require(y.size() == predictions.mean.size(), "observed responses", y.size(),
          "must be as many as the predictions");
  if (predictions.members.empty()) return log_densities_alone(model, predictions, y);
  Matrix all(y.size(), static_cast<Index>(predictions.members.size()));
  for (Index k = 0; k < all.cols(); ++k)
    all.col(k) = log_densities_alone(k == 0 ? model : model.others[static_cast<std::size_t>(k - 1)],
                                     predictions.members[static_cast<std::size_t>(k)], y);
  return averaged_log_densities(model, predictions, y, all);
}

}  // namespace gradflow
