#include "gradflow/model/reanalyse.h"

#include "gradflow/base/error.h"
#include "gradflow/model/memory.h"

namespace gradflow {
namespace {

constexpr Index most_rows = 4000;          // the plan's choice of engine
constexpr double reanalysis_copies = 5.0;  // n x n matrices at the peak

void check(const FittedModel& model, const std::string& source) {
  const auto refuse = [&](const std::string& why) {
    throw InputError(
        fmt::format("'{}' does not keep the run that fitted it, and {}: fit it again", source, why));
  };
  if (model.response.size() != model.rows()) refuse("holds no responses to repeat the analysis with");
  if (model.kernel && model.X.cols() == 0) refuse("holds no training rows to repeat the analysis with");
  if (model.noise.kind != NoiseModelKind::normal) refuse("its noise model cannot be estimated again");
  if (model.rows() > most_rows)
    refuse(fmt::format("repeating the analysis is for up to {} rows, it has {}", most_rows, model.rows()));
}

Observations observations_of(const FittedModel& model) {
  Observations observations;
  const Index n = model.rows(), intercept = model.intercept ? 1 : 0;
  Vector output = Vector::Zero(n);
  if (model.kernel) output = model.kernel->output(model.X);
  observations.f0 = unstandardize_response(model.recipe, output);
  observations.y = model.response + observations.f0;
  observations.weights = model.weights;
  observations.pure = model.pure;
  observations.covariates = model.design.rightCols(std::max<Index>(0, model.design.cols() - intercept));
  if (model.weights.size() > 0)
    observations.covariates = model.weights.cwiseSqrt().cwiseInverse().asDiagonal() * observations.covariates;
  for (Index j = intercept; j < model.design.cols(); ++j)
    observations.covariate_names.push_back(model.fixed_names[static_cast<std::size_t>(j)]);
  observations.test_direction = output;
  return observations;
}

}  // namespace

std::pair<Job, JobResult> reanalyse(const FittedModel& model, const std::string& source) {
  check(model, source);
  require_memory(model.rows(), reanalysis_copies);
  Job job;
  job.operator_spec.kind = model.operator_kind;
  job.operator_spec.matrix = model.operator_kind == OperatorKind::matrix ? model.operator_text : "";
  if (model.kernel && model.kernel->kernel()) job.operator_spec.kernel = *model.kernel->kernel();
  if (model.kernel && model.kernel->network())
    job.operator_spec.network = model.kernel->network()->architecture();
  if (model.kernel && model.kernel->layered())
    job.operator_spec.layered = model.kernel->layered()->architecture();
  if (model.kernel) job.operator_spec.layered_kernel = model.kernel->layered_kernel();
  AnalysisOptions& options = job.analysis;
  options.intercept = model.intercept;
  options.path = model.path.at(0.0);
  options.rule = parse_rule(model.rule, model.path.kind);
  options.level = model.level;
  options.learning_rate = model.learning_rate;
  options.seed = model.seed;

  JobResult result;
  PreparedJob& prepared = result.prepared;
  prepared.dataset.recipe = model.recipe;
  prepared.dataset.X = model.X;
  prepared.observations = observations_of(model);
  prepared.dataset.y = prepared.observations.y;
  prepared.dataset.Z = prepared.observations.covariates;
  prepared.transform = model.transform;
  prepared.kernel = model.kernel;
  if (model.kernel)
    prepared.H = model.kernel->training(model.X);
  else
    prepared.H = std::make_unique<DenseOperator>(model.H, model.operator_text);
  for (Index i = 0; i < model.rows(); ++i) prepared.dataset.ids.push_back(std::to_string(i + 1));
  result.analysis = analyse(*prepared.H, prepared.observations, options);
  return {std::move(job), std::move(result)};
}

}  // namespace gradflow
