#include "gradflow/model/job.h"

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "gradflow/base/error.h"
#include "gradflow/model/fitted_model.h"
#include "gradflow/model/memory.h"
#include "gradflow/model/version.h"
#include "gradflow/operators/recorded_operator.h"
#include "model/observations.h"
#include "model/sampled_calibration.h"

namespace gradflow {
namespace {

class Stopwatch {
 public:
  explicit Stopwatch(PreparedJob& job) : job_(job) {}
  void lap(const char* stage) {
    const auto now = std::chrono::steady_clock::now();
    job_.seconds.emplace_back(stage, std::chrono::duration<double>(now - start_).count());
    start_ = now;
  }

 private:
  PreparedJob& job_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

std::unique_ptr<DenseOperator> user_operator(const OperatorSpec& spec, const DataReport& report) {
  Matrix H = read_operator_matrix(spec.matrix, report.rows_read);
  if (report.rows_used != report.rows_read) {
    const std::vector<Index> rows = rows_used(report);
    H = Matrix(H(rows, rows));
  }
  return std::make_unique<DenseOperator>(std::move(H), spec.matrix);
}

// The network's output at its weights has seen the response, or foresees it: far beyond chance, |atanh r|
// (n - 3)^1/2 > 4 (p below 1e-4).
void warn_of_trained_weights(const Vector& output, PreparedJob& prepared) {
  const Vector& y = prepared.dataset.y;
  const Vector f = output.array() - output.mean(), e = y.array() - y.mean();
  const double n = static_cast<double>(y.size()), scale = f.norm() * e.norm();
  if (n < 10.0 || !(scale > 0.0)) return;
  const double r = f.dot(e) / scale;
  if (!(std::abs(std::atanh(r)) * std::sqrt(n - 3.0) > 4.0)) return;
  prepared.dataset.report.warnings.push_back(fmt::format(
      "the network at the given weights already predicts the response (correlation {:.2f} over {} rows): if "
      "these weights were trained on this response, p and the stopping time are not valid; test on rows that "
      "the weights have not seen",
      r, y.size()));
}

bool has_two_values(const Vector& y) {
  const double low = y.minCoeff(), high = y.maxCoeff();
  return low < high && (y.array() == low || y.array() == high).all();
}

std::vector<FileStamp> stamp_files(const Job& job) {
  std::vector<FileStamp> stamps;
  for (const std::string& name : {job.source.table, job.source.features, job.source.response,
                                  job.operator_spec.weights, job.operator_spec.matrix}) {
    const std::string path =
        name.substr(0, name.find(".npz:") == std::string::npos ? name.size() : name.find(".npz:") + 4);
    std::error_code ignored;
    if (!path.empty() && std::filesystem::exists(path, ignored)) stamps.push_back(stamp_file(path));
  }
  return stamps;
}

std::vector<std::string> changed_files(const PreparedJob& prepared) {
  std::vector<std::string> warnings;
  for (const FileStamp& stamp : prepared.files)
    if (!unchanged(stamp))
      warnings.push_back(fmt::format(
          "'{}' changed while the run was going on: the results are of the data as they were read first",
          stamp.path));
  return warnings;
}

// What the plan decides for the analysis.
AnalysisOptions planned(const Job& job, const Plan& plan) {
  AnalysisOptions options = job.analysis;
  options.engine = plan.engine;
  if (plan.engine == Engine::dense) return options;
  KrylovOptions& krylov = options.krylov;
  krylov.max_steps = std::min(krylov.max_steps, plan.max_steps);
  krylov.loo_probes = std::min(krylov.loo_probes, plan.loo_probes);
  krylov.basis = plan.basis;
  krylov.all_rules = job.all_rules;
  const bool narrow = plan.form != Plan::Form::matrix &&
                      (plan.precision == Precision::float32 || plan.storage == KernelStorage::float32);
  if (narrow) options.loosen_for_float32();
  return options;
}

// Everything that decides the numbers of a run.
std::string fingerprint_of(const PreparedJob& prepared, const AnalysisOptions& options) {
  Fingerprint print;
  const auto numbers = [&](const auto& values) {
    print.add(static_cast<std::int64_t>(values.size()));
    print.add(values.data(), static_cast<std::size_t>(values.size()));
  };
  const KrylovOptions& krylov = options.krylov;
  const std::string text = fmt::format(
      "{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}", version, prepared.H->description(),
      static_cast<int>(prepared.plan.form), static_cast<int>(prepared.plan.storage),
      static_cast<int>(prepared.plan.precision), krylov.max_steps, krylov.time_tolerance,
      krylov.fit_tolerance, static_cast<int>(krylov.basis), krylov.all_rules, krylov.probes,
      krylov.max_probes, krylov.loo_probes, static_cast<int>(options.chosen_rule()),
      static_cast<int>(options.path.kind), options.seed, options.level, options.paper,
      options.validation_fraction);
  print.add(text);
  numbers(prepared.observations.y);
  numbers(prepared.observations.f0);
  numbers(prepared.observations.covariates);
  numbers(prepared.dataset.X);
  numbers(prepared.observations.weights);
  print.add(prepared.observations.pure.squares);
  print.add(options.path.decay);
  print.add(options.path.learning_rate);
  print.add(static_cast<std::int64_t>(options.intercept));
  if (prepared.kernel && prepared.kernel->finite() != nullptr)
    numbers(prepared.kernel->finite()->parameters().flatten());
  else if (!prepared.kernel)
    numbers(prepared.H->diagonal());
  else if (prepared.kernel->kernel() &&
           is_scaled(*prepared.kernel->kernel()))  // the description has the rest
    for (const KernelTerm& term : prepared.kernel->kernel()->terms) numbers(term.relevance);
  return print.hex();
}

// Runs `work` on the operator, through a record of its products where a checkpoint is asked for; the warnings
// are what the user must know of either.
template <typename Work>
auto with_record(const Job& job, const PreparedJob& prepared, std::vector<std::string>& warnings,
                 Work&& work) {
  const AnalysisOptions options = planned(job, prepared.plan);
  if (job.checkpoint.empty() || prepared.plan.engine == Engine::dense) {
    if (!job.checkpoint.empty())
      warnings.push_back("no checkpoint was written: --checkpoint is for --engine krylov");
    return work(*prepared.H, options);
  }
  RecordedOperator record(*prepared.H, job.checkpoint, fingerprint_of(prepared, options));
  auto result = work(record, options);
  if (!record.problem().empty()) warnings.push_back(record.problem());
  record.finish();
  return result;
}

// Kernel and transform, as given or as the likelihood has them.
void choose(const Job& job, OperatorSpec& spec, PreparedJob& prepared) {
  const ChoiceOptions& options = job.choice;
  if (!options.chooses()) {
    if (options.transform == TransformKind::none) return;
    const Vector y = unstandardize_response(prepared.dataset.recipe, prepared.dataset.y);
    prepared.transform = ResponseTransform::for_response(options.transform, y).at(options.lambda);
    return;
  }
  if (spec.layered_kernel)
    throw InputError(
        "--select and a --transform left to the likelihood choose among kernels of dense networks: for one "
        "of "
        "layers give --transform with its number, as box-cox=0.5");
  if (spec.kind != OperatorKind::infinite)
    throw InputError(
        "--select and a --transform left to the likelihood are for infinite-width kernels (--kernel): for a "
        "network or a matrix of your own give --transform with its number, as box-cox=0.5");
  prepared.choice = choose_kernel(spec.kernel, prepared.dataset, options, job.analysis.progress);
  spec.kernel = prepared.choice->kernel;
  prepared.transform = prepared.choice->transform;
}

// The same choice without each fold, for the intervals of predictions. Noise models have no part in it: their
// fits are many, and of their own intervals nothing of the kind was measured.
void choose_again(const Job& job, Question question, PreparedJob& prepared) {
  if (!prepared.choice || !asks_for_rules(question)) return;
  const int folds = job.choice.folds_of(prepared.dataset.y.size());
  if (folds == 0 || job.noise.estimates()) return;
  prepared.repeated = repeat_choice(job.operator_spec.kernel, prepared.dataset, job.choice, job.analysis,
                                    folds, job.analysis.progress);
}

// The same kernel with the parameters that others of the rows give it, for the mean of predictions.
void choose_others(const Job& job, Question question, PreparedJob& prepared) {
  if (!prepared.choice || prepared.choice->best < 0 || !asks_for_rules(question)) return;
  const Index n = prepared.dataset.y.size();
  const int folds = job.choice.average_of(n);
  const auto best = static_cast<std::size_t>(prepared.choice->best);
  const bool something_free = prepared.choice->candidates[best].freedom != Freedom::nothing;
  if (folds == 0 || !something_free || job.noise.estimates()) return;
  if (n > FittedModel::most_factored_rows)
    throw InputError(
        fmt::format("--average {}: the fits to average are made for up to {} rows, and there are {}", folds,
                    FittedModel::most_factored_rows, n));
  prepared.average =
      choose_average(*prepared.choice, prepared.dataset, job.choice, folds, job.analysis.progress);
}

// The test of operator and response as they were given, before anything was chosen.
ScoreTest test_as_given(const Job& job) {
  Job given = job;
  given.choice = {};
  given.noise = {};
  given.checkpoint.clear();
  given.announce = {};
  return run_test(given).second;
}

bool models_noise(const Job& job, Question question) {
  return job.noise.estimates() && asks_for_rules(question);
}

void check_noise(const Job& job, Question question) {
  if (!models_noise(job, question)) return;
  if (job.analysis.paper) throw InputError("--noise and --paper: the paper's method has normal noise");
  if (job.compute.engine == EngineChoice::krylov)
    throw InputError("--noise and --engine krylov: noise models need the dense engine");
  if (job.choice.folds.value_or(0) > 0)
    throw InputError(
        "--choice-folds and --noise: the choice is repeated without folds for normal noise only");
  if (job.choice.average.value_or(0) > 0)
    throw InputError("--average and --noise: fits are averaged for normal noise only");
}

void check_noise(const Job& job, const Plan& plan, Index n, Question question) {
  if (!models_noise(job, question)) return;
  if (plan.engine != Engine::dense)
    throw InputError(fmt::format(
        "--noise: noise models need the dense engine, and for {} rows the Krylov engine is planned "
        "(--engine dense takes some tens of eigendecompositions; or give fewer rows)",
        n));
  constexpr double copies = 12.0;  // of the analysis, and beside it those of the refits
  require_memory(n, copies);
}

// The analysis with the weights of the noise model, where those could be estimated.
void model_noise(const Job& job, JobResult& result) {
  Stopwatch watch(result.prepared);
  Observations& observations = result.prepared.observations;
  AnalysisOptions options = planned(job, result.prepared.plan);
  result.noise =
      estimate_noise(job.noise, result.prepared.dataset, *result.prepared.H, observations, options);
  watch.lap("noise model");
  if (!result.noise->applied) return;
  const Vector& estimated = result.noise->weights;
  observations.weights =
      observations.weights.size() > 0 ? Vector(observations.weights.cwiseProduct(estimated)) : estimated;
  Analysis weighted = analyse(*result.prepared.H, observations, options);
  weighted.test = std::move(result.analysis.test);
  if (job.noise.kind == NoiseModelKind::student) weighted.residuals = std::move(result.analysis.residuals);
  result.analysis = std::move(weighted);
}

}  // namespace

PreparedJob prepare(const Job& job, Question question) {
  job.analysis.check();
  check_noise(job, question);
  PreparedJob prepared;
  Stopwatch watch(prepared);
  const bool user_matrix = job.operator_spec.kind == OperatorKind::matrix;
  report_progress(job.analysis.progress, "reading the data", 0.0);
  prepared.files = stamp_files(job);
  DatasetOptions dataset = job.dataset;
  dataset.feature_shape = job.operator_spec.array_shape();
  prepared.dataset =
      user_matrix ? load_dataset_without_features(job.source, dataset) : load_dataset(job.source, dataset);
  prepared.two_values = has_two_values(prepared.dataset.y);
  watch.lap("read the data");

  OperatorSpec spec = job.operator_spec;
  spec.take_shape(prepared.dataset.recipe.options.feature_shape);
  const auto plan_of = [&] {
    return make_plan(prepared.dataset.y.size(), prepared.dataset.X.cols(), prepared.dataset.Z.cols() + 1,
                     spec, question, job.compute);
  };
  // A choice may take minutes: what it cannot change is refused before it.
  if (job.choice.chooses() && models_noise(job, question))
    check_noise(job, plan_of(), prepared.dataset.y.size(), question);
  choose(job, spec, prepared);
  if (prepared.choice) watch.lap("choose kernel and transform");
  choose_again(job, question, prepared);
  if (prepared.repeated) watch.lap("choose again without each fold");
  choose_others(job, question, prepared);
  if (prepared.average) watch.lap("choose parameters to average");
  transform_response(prepared.dataset, prepared.transform);
  const bool merge = !user_matrix && !job.every_row && !job.noise.estimates();
  const WithinGroups within = merge ? merge_replicates(prepared.dataset) : WithinGroups{};
  const Index n = prepared.dataset.y.size();
  if (!user_matrix) prepared.kernel = KernelSource::make(spec, prepared.dataset.X.cols());
  if (prepared.kernel && prepared.kernel->network())
    spec.network = prepared.kernel->network()->architecture();
  if (prepared.kernel && prepared.kernel->layered())
    spec.layered = prepared.kernel->layered()->architecture();
  prepared.plan = plan_of();
  check_noise(job, prepared.plan, n, question);
  if (job.announce) job.announce(prepared.plan, n);
  const std::string stage = fmt::format(
      "building the training operator ({} rows; at most {:.2g} GB of memory)", n, prepared.plan.memory / 1e9);
  report_progress(job.analysis.progress, stage, 0.0);
  Vector output = Vector::Zero(n);
  if (user_matrix) {
    prepared.H = user_operator(job.operator_spec, prepared.dataset.report);
  } else {
    prepared.H = build_operator(*prepared.kernel, prepared.dataset.X, prepared.plan);
    output = prepared.kernel->output(prepared.dataset.X);
    if (!job.operator_spec.weights.empty()) warn_of_trained_weights(output, prepared);
  }
  watch.lap("build the training operator");
  prepared.observations = observe(prepared.dataset, within, output);
  return prepared;
}

PreparedJob prepare(const Job& job, std::unique_ptr<TrainingOperator> H, Observations observations,
                    Question question) {
  job.analysis.check();
  check_noise(job, question);
  const Index n = H->size();
  if (observations.y.size() != n)
    throw InputError(
        fmt::format("the operator has {} rows, and the response has {} values; they must be equal", n,
                    observations.y.size()));
  PreparedJob prepared;
  prepared.dataset.y = observations.y;
  prepared.dataset.X.resize(n, 0);
  prepared.dataset.Z = observations.covariates;
  prepared.dataset.report.rows_read = prepared.dataset.report.rows_used = n;
  for (const std::string& name : observations.covariate_names)
    prepared.dataset.recipe.covariates.push_back({.name = name});
  prepared.two_values = has_two_values(observations.y);
  prepared.plan =
      make_plan(n, 0, observations.covariates.cols() + 1, job.operator_spec, question, job.compute);
  check_noise(job, prepared.plan, n, question);
  if (job.announce) job.announce(prepared.plan, n);
  prepared.H = std::move(H);
  prepared.observations = std::move(observations);
  return prepared;
}

Question question_of(const Job& job) {
  const RuleKind rule = job.analysis.chosen_rule();
  if (job.all_rules || rule == RuleKind::loo) return Question::every_rule;
  return needs_traces(rule, job.analysis.path.kind) ? Question::one_traced_rule : Question::one_rule;
}

JobResult run(const Job& job) { return run_prepared(job, prepare(job, question_of(job))); }

JobResult run_prepared(const Job& job, PreparedJob prepared) {
  JobResult result{std::move(prepared), {}};
  std::vector<std::string> warnings;
  result.analysis = with_record(job, result.prepared, warnings,
                                [&](const TrainingOperator& H, const AnalysisOptions& options) {
                                  return analyse(H, result.prepared.observations, options);
                                });
  if (job.noise.estimates()) model_noise(job, result);
  if (result.noise && result.noise->applied)
    result.calibration.reason = "the weights of the noise model have seen the rows that would be left out";
  else if (result.analysis.krylov) {
    Stopwatch watch(result.prepared);
    result.calibration = calibrate_sample(result.prepared, result.analysis, job.analysis);
    watch.lap("calibrate by a sample's errors");
  } else
    result.calibration = calibrate(result.analysis);
  if (result.prepared.choice) {
    result.analysis.test = test_as_given(job);
    const std::vector<std::string>& chosen = result.prepared.choice->warnings;
    warnings.insert(warnings.end(), chosen.begin(), chosen.end());
  }
  if (const auto& repeated = result.prepared.repeated)
    warnings.insert(warnings.end(), repeated->warnings.begin(), repeated->warnings.end());
  if (const auto& average = result.prepared.average)
    warnings.insert(warnings.end(), average->warnings.begin(), average->warnings.end());
  for (std::string& warning : changed_files(result.prepared)) warnings.push_back(std::move(warning));
  result.analysis.warnings.insert(result.analysis.warnings.end(), warnings.begin(), warnings.end());
  return result;
}

std::pair<PreparedJob, ScoreTest> run_test(const Job& job) {
  return run_prepared_test(job, prepare(job, job.every_row ? Question::every_eigenvalue : Question::test));
}

std::pair<PreparedJob, ScoreTest> run_prepared_test(const Job& job, PreparedJob prepared) {
  Stopwatch watch(prepared);
  std::vector<std::string> warnings;
  ScoreTest test =
      with_record(job, prepared, warnings, [&](const TrainingOperator& H, const AnalysisOptions& options) {
        return analyse_test(H, prepared.observations, options);
      });
  for (std::string& warning : changed_files(prepared)) warnings.push_back(std::move(warning));
  std::vector<std::string>& shown = prepared.dataset.report.warnings;
  shown.insert(shown.end(), warnings.begin(), warnings.end());
  watch.lap("test");
  return {std::move(prepared), std::move(test)};
}

}  // namespace gradflow
