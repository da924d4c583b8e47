#include "gradflow/model/fitted_model.h"

#include <cmath>
#include <utility>

#include "base/special_values.h"
#include "gradflow/base/error.h"
#include "gradflow/inference/left_out.h"
#include "gradflow/inference/predictive.h"
#include "gradflow/model/version.h"
#include "gradflow/operators/jacobian_operator.h"
#include "model/fit_rows.h"

namespace gradflow {
namespace {

// `errors`: of all rows by each choice; `chosen`: those whose fits are averaged. Where the model knows its
// own errors each of them does.
MixtureCalibration calibrated_mixture(const ChoiceAverage& average, const std::vector<Vector>& errors,
                                      const std::vector<std::size_t>& chosen, const Vector& own_errors,
                                      const FittedModel& model) {
  std::vector<ErrorCalibration> fits{model.calibration};
  Matrix all(own_errors.size(), static_cast<Index>(chosen.size()) + 1);
  all.col(0) = own_errors;
  for (std::size_t j = 0; j < chosen.size(); ++j) {
    fits.push_back(model.others[j].calibration);
    all.col(static_cast<Index>(j) + 1) = errors[chosen[j]];
  }
  const auto by_fold = [&](int k, const std::vector<Index>&, const std::vector<Index>& held) -> Vector {
    const Vector& of_fold = errors[static_cast<std::size_t>(k)];
    if (of_fold.size() == 0) return Vector::Constant(static_cast<Index>(held.size()), not_a_number);
    return of_fold(held);
  };
  return calibrate_mixture(fits, all, leave_folds_out(average.fold, by_fold).errors);
}

void add_others(const ChoiceAverage& average, const AnalysisOptions& analysis, const Vector& own_errors,
                FittedModel& model) {
  const std::size_t count = average.choices.size();
  std::vector<Vector> errors(count);  // of all rows by each choice; empty: none
  std::vector<std::size_t> taken;     // the choices that have a part
  for (std::size_t k = 0; k < count; ++k) {
    const ChosenWithout& chosen = average.choices[k];
    if (!chosen.problem.empty()) continue;
    report_progress(analysis.progress, "fitting what is averaged",
                    static_cast<double>(k) / static_cast<double>(count));
    try {
      FittedRows fitted = fit_rows(average.data, chosen.kernel, chosen.transform, analysis);
      FittedModel& other = fitted.model;
      // What the model knows of its errors each fit has to know.
      if (std::isfinite(model.tau) && !std::isfinite(other.tau))
        throw InputError("it has no variance components");
      if (model.calibration.known() && !other.calibration.known()) throw InputError(other.calibration.reason);
      other.left_out = model.left_out;
      errors[k] = std::move(fitted.errors);
      model.others.push_back(std::move(other));
      taken.push_back(k);
    } catch (const InputError& error) {
      model.warnings.push_back(
          fmt::format("the fit with what was chosen without fold {} of {} has no part in the average: {}",
                      k + 1, count, error.what()));
    }
  }
  if (!model.others.empty() && own_errors.size() > 0)
    model.mixture_calibration = calibrated_mixture(average, errors, taken, own_errors, model);
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
  const Observations& observations = result.prepared.observations;
  model.transform = result.prepared.transform;
  if (result.noise && result.noise->applied) model.noise = result.noise->model;
  model.response = observations.y - observations.f0;
  model.pure = observations.pure;
  model.alpha = analysis.fit.alpha;
  model.beta = analysis.fit.beta;
  model.rule = analysis.rule().name;
  model.path = analysis.chosen_path;
  if (usable(analysis.ridge.outcome)) {
    model.tau = analysis.ridge.path.time;
    model.ridge_variance = analysis.ridge.noise_variance;
    model.log_time_sd = log_time_standard_deviation(analysis.data, analysis.ridge.path);
  }
  model.noise_variance = analysis.noise_variance;
  model.effective_dof = analysis.effective_dof;
  model.log10_p_value = analysis.test.log10_p_value;
  model.steps = analysis.rule().steps;
  model.learning_rate = job.analysis.learning_rate;
  model.level = job.analysis.level;
  model.calibration = std::move(result.calibration);
  if (result.prepared.repeated) model.left_out = std::move(result.prepared.repeated->errors);
  model.seed = job.analysis.seed;
  model.warnings = analysis.warnings;
  if (result.prepared.average)
    add_others(*result.prepared.average, job.analysis,
               model.calibration.known() ? standardised_errors(analysis) : Vector{}, model);
  return model;
}

}  // namespace gradflow
