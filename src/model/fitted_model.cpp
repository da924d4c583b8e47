#include "gradflow/model/fitted_model.h"

#include <algorithm>
#include <boost/math/distributions/normal.hpp>
#include <cmath>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/inference/posterior.h"
#include "gradflow/model/memory.h"
#include "gradflow/model/version.h"
#include "gradflow/operators/jacobian_operator.h"
#include "gradflow/operators/scaled_operator.h"

namespace gradflow {
namespace {

constexpr Index block_entries = 25'000'000;  // of a block of H_cross: 200 MB
constexpr double prediction_copies = 3.0;    // n x n matrices alive while standard deviations are prepared
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// n / W: what Theta/n becomes where the loss is averaged with weights.
double weight_factor(const FittedModel& model) {
  return model.weights.size() > 0 ? 1.0 / model.weights.mean() : 1.0;
}

PosteriorVariance posterior_variance(const FittedModel& model, const TrainingOperator& H,
                                     const FixedEffects& fixed) {
  if (model.weights.size() == 0) return PosteriorVariance::for_ridge(H, fixed, model.tau);
  const ScaledOperator whitened(H, model.weights.cwiseSqrt(), weight_factor(model));
  return PosteriorVariance::for_ridge(whitened, fixed, model.tau);
}

// As the whitened rows see them.
NewPoints new_points(const FittedModel& model, CrossKernel cross, const Matrix& design) {
  if (model.weights.size() > 0) {
    cross.H_cross *= (weight_factor(model) * model.weights.cwiseSqrt()).asDiagonal();
    cross.H_self *= weight_factor(model);
  }
  return {std::move(cross.H_cross), std::move(cross.H_self), design};
}

std::unique_ptr<DenseOperator> training_operator(const FittedModel& model) {
  if (model.kernel) return model.kernel->training(model.X);
  return std::make_unique<DenseOperator>(model.H, model.operator_text);
}

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
  if (model.rows() > FittedModel::most_factored_rows)
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
  return base + model.kernel->network()->jvp(rows.X.middleRows(begin, design.rows()), *model.linearised);
}

Predictions empty_predictions(const NewRows& rows) {
  Predictions out;
  out.ids = rows.ids;
  out.warnings = rows.warnings;
  const auto m = static_cast<Index>(rows.ids.size());
  out.mean = out.sd = out.lower = out.upper = Vector::Constant(m, nan);
  return out;
}

}  // namespace

FittedModel make_model(const Job& job, JobResult result) {
  const Analysis& analysis = result.analysis;
  if (!analysis.is_usable() || !std::isfinite(analysis.chosen_path.time))
    throw InputError(fmt::format("rule '{}' gave no usable time ({}): {}", analysis.rule().name,
                                 to_string(analysis.rule().outcome), analysis.rule().reason));
  FittedModel model;
  model.gradflow_version = version;
  model.recipe = std::move(result.prepared.dataset.recipe);
  model.operator_kind = job.operator_spec.kind;
  model.kernel = std::move(result.prepared.kernel);
  model.operator_text = model.kernel ? model.kernel->text() : job.operator_spec.text();
  model.X = std::move(result.prepared.dataset.X);
  if (!model.kernel) model.H = result.prepared.H->matrix();
  if (const auto* jacobian = dynamic_cast<const JacobianOperator*>(result.prepared.H.get())) {
    model.linearised = jacobian->pullback(analysis.fit.alpha);
    if (analysis.fit.alpha.size() > FittedModel::most_factored_rows) model.X.resize(model.X.rows(), 0);
  }
  model.design = analysis.fixed.design();
  model.fixed_names = analysis.fixed.names();
  model.intercept = job.analysis.intercept && !job.analysis.paper;
  model.weights = result.prepared.observations.weights;
  model.alpha = analysis.fit.alpha;
  model.beta = analysis.fit.beta;
  model.rule = analysis.rule().name;
  model.path = analysis.chosen_path;
  if (usable(analysis.ridge.outcome)) {
    model.tau = analysis.ridge.path.time;
    model.ridge_variance = analysis.ridge.noise_variance;
  }
  model.noise_variance = analysis.noise_variance;
  model.effective_dof = analysis.effective_dof;
  model.log10_p_value = analysis.test.log10_p_value;
  model.steps = analysis.rule().steps;
  model.learning_rate = job.analysis.learning_rate;
  model.level = job.analysis.level;
  model.seed = job.analysis.seed;
  model.warnings = analysis.warnings;
  return model;
}

Predictions predict(const FittedModel& model, const NewRows& rows, const GivenCross& given,
                    Progress* progress) {
  check_given(model, rows, given);
  require_address_space();
  Predictions out = empty_predictions(rows);
  const auto count = static_cast<Index>(rows.row.size());
  if (count == 0) return out;

  const bool small = model.rows() <= FittedModel::most_factored_rows;
  const bool with_sd = std::isfinite(model.tau) && std::isfinite(model.ridge_variance) && small &&
                       (model.kernel || given.H_self.size() > 0);
  const FixedEffects fixed(model.design, model.fixed_names);
  std::optional<PosteriorVariance> variance;
  if (with_sd) {
    require_memory(model.rows(), prediction_copies);
    report_progress(progress, "building the training operator", 0.0);
    variance = posterior_variance(model, *training_operator(model), fixed);
  } else {
    out.warnings.push_back(why_no_sd(model));
  }

  const double z = boost::math::quantile(boost::math::normal(), 0.5 + 0.5 * model.level);
  const Index block = std::max<Index>(1, block_entries / model.rows());
  for (Index begin = 0; begin < count; begin += block) {
    report_progress(progress, "predicting", static_cast<double>(begin) / static_cast<double>(count));
    const Index size = std::min(block, count - begin);
    CrossKernel cross;
    if (model.linearised && !variance)
      cross.output = model.kernel->output(rows.X.middleRows(begin, size));
    else
      cross = cross_at(model, rows, given, begin, size);
    const Matrix design = design_at(model, rows, begin, size);
    const Vector mean = mean_at(model, rows, cross, design, begin);
    Vector sd = Vector::Constant(size, nan);
    if (variance)
      sd = (model.ridge_variance * variance->at(new_points(model, std::move(cross), design)).array()).sqrt();
    for (Index i = 0; i < size; ++i) {
      const Index row = rows.row[static_cast<std::size_t>(begin + i)];
      const double half_width = z * std::sqrt(model.ridge_variance + sd(i) * sd(i));
      out.mean(row) = mean(i);
      out.sd(row) = sd(i);
      out.lower(row) = mean(i) - half_width;
      out.upper(row) = mean(i) + half_width;
    }
  }
  return out;
}

}  // namespace gradflow
