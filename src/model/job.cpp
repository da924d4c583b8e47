#include "gradflow/model/job.h"

#include <chrono>

#include "gradflow/base/error.h"
#include "gradflow/model/memory.h"

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

constexpr double analysis_copies = 5.0;  // n x n matrices alive at the peak of analyse()

std::unique_ptr<DenseOperator> user_operator(const OperatorSpec& spec, const DataReport& report) {
  Matrix H = read_operator_matrix(spec.matrix, report.rows_read);
  if (report.rows_used != report.rows_read) {
    const std::vector<Index> rows = rows_used(report);
    H = Matrix(H(rows, rows));
  }
  return std::make_unique<DenseOperator>(std::move(H), spec.matrix);
}

Observations observe(const Dataset& dataset, const Vector& output) {
  Observations observations;
  observations.y = unstandardize_response(dataset.recipe, dataset.y);
  observations.f0 = unstandardize_response(dataset.recipe, output);
  observations.covariates = dataset.Z;
  for (const EncodedColumn& column : dataset.recipe.covariates)
    observations.covariate_names.push_back(column.name);
  observations.test_direction = output;
  return observations;
}

}  // namespace

PreparedJob prepare(const Job& job) {
  job.analysis.check();
  PreparedJob prepared;
  Stopwatch watch(prepared);
  const bool user_matrix = job.operator_spec.kind == OperatorKind::matrix;
  report_progress(job.analysis.progress, "reading the data", 0.0);
  prepared.dataset = user_matrix ? load_dataset_without_features(job.source, job.dataset)
                                 : load_dataset(job.source, job.dataset);
  const Index n = prepared.dataset.y.size();
  require_memory(n, analysis_copies);
  watch.lap("read the data");

  const std::string stage = fmt::format("building the training operator ({} rows; about {:.2g} GB of memory)",
                                        n, memory_of(n, analysis_copies) / 1e9);
  report_progress(job.analysis.progress, stage, 0.0);
  Vector output = Vector::Zero(n);
  if (user_matrix) {
    prepared.H = user_operator(job.operator_spec, prepared.dataset.report);
  } else {
    prepared.kernel = KernelSource::make(job.operator_spec, prepared.dataset.X.cols());
    prepared.H = prepared.kernel->training(prepared.dataset.X);
    output = prepared.kernel->output(prepared.dataset.X);
  }
  watch.lap("build the training operator");
  prepared.observations = observe(prepared.dataset, output);
  return prepared;
}

JobResult run(const Job& job) {
  JobResult result{prepare(job), {}};
  result.analysis = analyse(*result.prepared.H, result.prepared.observations, job.analysis);
  return result;
}

std::pair<PreparedJob, ScoreTest> run_test(const Job& job) {
  PreparedJob prepared = prepare(job);
  Stopwatch watch(prepared);
  ScoreTest test = analyse_test(*prepared.H, prepared.observations, job.analysis);
  watch.lap("test");
  return {std::move(prepared), std::move(test)};
}

}  // namespace gradflow
