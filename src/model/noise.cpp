#include "gradflow/model/noise.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <tuple>

#include "gradflow/base/error.h"
#include "gradflow/operators/scaled_operator.h"
#include "model/column_names.h"

namespace gradflow {
namespace {

// The rows whitened by their given weights, so that the noise models see weights of mean 1 as none.
WeightedRefit refit_of(const TrainingOperator& H, const Observations& observations,
                       const AnalysisOptions& options) {
  const Index n = H.size();
  const Vector scale = observations.weights.cwiseSqrt();
  const bool weighted = scale.size() > 0;
  Vector response = observations.y - observations.f0;
  const FixedEffects fixed = make_fixed_effects(n, observations, options);
  const RemlOptions reml{.level = options.level, .largest_shrinkage = options.largest_shrinkage};
  WeightedRefit whitened;
  if (weighted) {
    response.array() *= scale.array();
    const double factor = static_cast<double>(n) / observations.total_weight();
    whitened = ridge_refit(ScaledOperator(H, scale, factor), fixed, response, {}, reml);
  } else {
    whitened = ridge_refit(H, fixed, response, {}, reml);
  }
  return [=, f0 = observations.f0, progress = options.progress,
          count = std::make_shared<int>(0)](const Vector& weights) {
    report_progress(progress, fmt::format("noise model: refit {}", ++*count), 0.0);
    WeightedFit fit;
    try {
      fit = whitened(weights);
    } catch (const InputError& error) {
      if (*count == 1) throw;  // the operator itself
      fit.reason = fmt::format(
          "the noise variances differ by a factor of {:.1g}, which leaves no usable "
          "operator ({})",
          weights.maxCoeff() / weights.minCoeff(), error.what());
      fit.outcome = Outcome::unidentified;
    }
    if (fit.fitted.size() != n) return fit;
    if (weighted) fit.fitted.array() /= scale.array();
    fit.fitted += f0;  // the fitted mean of the response
    return fit;
  };
}

// log p(y_i | the other rows) under normal noise.
Vector normal_scores(const WeightedFit& fit) {
  Vector scores(fit.residuals.size());
  for (Index i = 0; i < scores.size(); ++i)
    scores(i) = log_student_convolution(fit.residuals(i), fit.variances(i), 0.0,
                                        std::numeric_limits<double>::infinity());
  return scores;
}

void estimate_student(const NoiseOptions& noise, const WeightedRefit& refit, Index n,
                      NoiseEstimate& estimate) {
  StudentNoiseOptions options;
  if (noise.dof) {
    options.dof = {*noise.dof};
    options.given = true;
  }
  StudentNoise& student = estimate.student = student_noise(refit, n, options);
  student.fit = {};
  estimate.outcome = student.outcome;
  estimate.reason = student.reason;
  for (const StudentCandidate& candidate : student.candidates) {
    estimate.iterations += candidate.iterations;
    if (candidate.dof == student.dof) estimate.last_change = candidate.last_change;
  }
  if (!estimate.is_usable()) return;
  estimate.score_gain = student.score_gain;
  estimate.score_gain_standard_error = student.score_gain_standard_error;
  estimate.applied = std::isfinite(student.dof);
  if (!estimate.applied) return;
  estimate.model.kind = NoiseModelKind::student;
  estimate.model.dof = student.dof;
  estimate.weights = student.weights;
}

std::vector<NoiseModel::Term> terms_of(const HeteroscedasticNoise& noise, const NoiseColumns& columns) {
  std::vector<NoiseModel::Term> terms;
  for (std::size_t j = 0; j < noise.coefficients.size(); ++j) {
    const bool is_column = j < columns.names.size();
    const Vector u = is_column ? Vector(columns.values.col(static_cast<Index>(j))) : noise.fit.fitted;
    terms.push_back({.column = is_column ? columns.names[j] : "",
                     .fitted_mean = !is_column,
                     .coefficient = noise.coefficients[j].estimate,
                     .centre = u.mean(),
                     .lower = u.minCoeff(),
                     .upper = u.maxCoeff()});
  }
  return terms;
}

void estimate_variance(const NoiseOptions& noise, const Dataset& dataset, const WeightedRefit& refit, Index n,
                       NoiseEstimate& estimate) {
  NoiseColumns columns = noise_columns(dataset, noise.columns);
  if (columns.names.empty()) columns.values.resize(n, 0);
  HeteroscedasticNoise& variance = estimate.variance = heteroscedastic_noise(
      refit, columns.values, columns.names,
      {.on_fitted_mean = noise.on_fitted_mean, .max_iterations = noise.on_fitted_mean ? 200 : 50});
  estimate.outcome = variance.outcome;
  estimate.reason = variance.reason;
  estimate.iterations = variance.iterations;
  estimate.last_change = variance.last_change;
  estimate.applied = estimate.is_usable();
  if (estimate.applied) {
    estimate.model = {.kind = NoiseModelKind::variance, .terms = terms_of(variance, columns)};
    estimate.weights = variance.weights;
    std::tie(estimate.score_gain, estimate.score_gain_standard_error) =
        score_gain(normal_scores(variance.fit), normal_scores(refit(Vector::Ones(n))));
  }
  variance.fit = {};
}

// Where an encoded column is: among the features of X, or the covariates of Z; in units of the data.
std::optional<Vector> raw_column(const Recipe& recipe, ConstBlock X, ConstBlock Z, const std::string& name) {
  const auto find = [&](const std::vector<EncodedColumn>& columns, ConstBlock values) {
    std::optional<Vector> found;
    for (std::size_t j = 0; j < columns.size() && !found; ++j)
      if (columns[j].name == name && static_cast<Index>(j) < values.cols())
        found = columns[j].center + columns[j].scale * values.col(static_cast<Index>(j)).array();
    return found;
  };
  std::optional<Vector> found = find(recipe.features, X);
  return found ? found : find(recipe.covariates, Z);
}

// Encoded columns of a column of the table: of a category's features all but the first, which the others
// determine.
std::vector<std::string> encoded_names(const Recipe& recipe, const std::string& column) {
  std::vector<std::string> names;
  for (const auto& [encoded, is_covariate] :
       {std::pair{&recipe.features, false}, std::pair{&recipe.covariates, true}}) {
    if (!names.empty()) break;
    bool passed_one = is_covariate;
    for (const EncodedColumn& each : *encoded) {
      if (recipe.columns[static_cast<std::size_t>(each.source)].name != column) continue;
      if (each.level >= 0 && !std::exchange(passed_one, true)) continue;
      names.push_back(each.name);
    }
  }
  return names;
}

}  // namespace

std::string_view to_string(NoiseModelKind kind) {
  switch (kind) {
    case NoiseModelKind::student: return "student";
    case NoiseModelKind::variance: return "variance";
    case NoiseModelKind::normal: break;
  }
  return "normal";
}

std::string NoiseOptions::dof_requirement() {
  return fmt::format(
      "must be > 2 (below, the variance is infinite) and at most {:g} (above, take normal noise)",
      largest_dof);
}

void NoiseOptions::check() const {
  require(!dof || takes_dof(*dof), "degrees of freedom of the noise", dof.value_or(3.0), dof_requirement());
  require(kind != NoiseModelKind::variance || on_fitted_mean || !columns.empty(), "noise columns",
          columns.size(), "there must be one, or the fitted mean");
}

NoiseColumns noise_columns(const Dataset& dataset, const std::vector<std::string>& columns) {
  NoiseColumns result;
  for (const std::string& given : columns) {
    const std::string column = column_name(dataset.recipe, given);
    const std::vector<std::string> names = encoded_names(dataset.recipe, column);
    const std::vector<std::string>& constant = dataset.report.removed_constant;
    if (names.empty() && std::ranges::find(constant, column) != constant.end())
      throw InputError(fmt::format(
          "--noise-columns: '{}' is constant in the rows used: it cannot explain the noise", given));
    if (names.empty())
      throw InputError(
          fmt::format("--noise-columns: '{}' is neither a feature nor a covariate of this run", given));
    result.names.insert(result.names.end(), names.begin(), names.end());
  }
  result.values.resize(dataset.y.size(), static_cast<Index>(result.names.size()));
  for (std::size_t j = 0; j < result.names.size(); ++j)
    result.values.col(static_cast<Index>(j)) =
        *raw_column(dataset.recipe, dataset.X, dataset.Z, result.names[j]);
  return result;
}

Vector NoiseModel::factors(const Recipe& recipe, ConstBlock X, ConstBlock Z, const Vector& mean,
                           Index& outside) const {
  const Index m = mean.size();
  Vector log_factor = Vector::Zero(m);
  Eigen::Array<bool, Eigen::Dynamic, 1> far = Eigen::Array<bool, Eigen::Dynamic, 1>::Constant(m, false);
  for (const Term& term : terms) {
    const std::optional<Vector> u = term.fitted_mean ? mean : raw_column(recipe, X, Z, term.column);
    if (!u)
      throw InputError(fmt::format(
          "the noise model has column '{}', which is no feature or covariate of the model", term.column));
    log_factor.array() += term.coefficient * (u->array() - term.centre);
    const double slack = 0.5 * (term.upper - term.lower);
    far = far || u->array() < term.lower - slack || u->array() > term.upper + slack;
  }
  outside += far.count();
  return log_factor.array().exp();
}

NoiseEstimate estimate_noise(const NoiseOptions& noise, const Dataset& dataset, const TrainingOperator& H,
                             const Observations& observations, const AnalysisOptions& options) {
  noise.check();
  NoiseEstimate estimate;
  estimate.kind = noise.kind;
  if (!noise.estimates()) return estimate;
  const WeightedRefit refit = refit_of(H, observations, options);
  if (noise.kind == NoiseModelKind::student)
    estimate_student(noise, refit, H.size(), estimate);
  else
    estimate_variance(noise, dataset, refit, H.size(), estimate);
  return estimate;
}

}  // namespace gradflow
