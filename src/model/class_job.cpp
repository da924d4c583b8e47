#include "gradflow/model/class_job.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "gradflow/base/error.h"
#include "gradflow/model/memory.h"

namespace gradflow {
namespace {

class Stages {
 public:
  Stages(ClassResult& result, Progress* progress) : result_(result), progress_(progress) {}
  void begin(const std::string& stage) {
    end();
    stage_ = stage;
    report_progress(progress_, stage, 0.0);
  }
  void end() {
    const auto now = std::chrono::steady_clock::now();
    if (!stage_.empty())
      result_.seconds.emplace_back(stage_, std::chrono::duration<double>(now - start_).count());
    stage_.clear();
    start_ = now;
  }

 private:
  ClassResult& result_;
  Progress* progress_;
  std::string stage_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

void require_size(const ClassJob& job, const ClassDataset& data) {
  const Index n = data.data.X.rows();
  if (n > ClassJob::most_rows)
    throw InputError(
        fmt::format("{} rows: classes are fitted with whole matrices, to at most {} rows; draw so many of "
                    "them at random",
                    n, ClassJob::most_rows));
  const bool laplace = job.classification.method == ClassMethod::laplace;
  constexpr double one_hot_copies = 6.0, laplace_copies = 4.0;  // n x n matrices alive at once
  require_memory(n, laplace ? laplace_copies + static_cast<double>(data.classes.size()) : one_hot_copies);
}

ClassScores scores_of(const Matrix& P, const Labels& labels) {
  return {.accuracy = accuracy(P, labels),
          .log_loss = log_loss(P, labels),
          .brier = brier_score(P, labels),
          .calibration_error = expected_calibration_error(P, labels)};
}

void measure(const ClassJob& job, ClassResult& result) {
  const Labels& labels = result.data.labels;
  const Matrix& P = result.fit.leave_one_out;
  const auto n = static_cast<Index>(labels.size());
  result.frequencies = scores_of(result.fit.frequencies.transpose().replicate(n, 1), labels);
  result.frequencies.calibration_error = 0.0;  // one probability for all rows: bins of them would be by order
  if (!P.allFinite()) return;
  constexpr Index bins = 15;
  result.scores = scores_of(P, labels);
  result.calibrated = calibration_error_if_calibrated(P, bins, job.level, 1000, job.seed);
  result.reliability = reliability(P, labels, bins, job.level);
  for (Index c = 0; c < P.cols(); ++c)
    result.of_class.push_back(reliability_of_class(P, labels, c, bins, job.level));
  const auto K = static_cast<std::size_t>(P.cols());
  result.confusion.assign(K, std::vector<Index>(K, 0));
  const Labels predicted = most_probable(P);
  for (std::size_t i = 0; i < labels.size(); ++i)
    ++result.confusion[static_cast<std::size_t>(labels[i])][static_cast<std::size_t>(predicted[i])];
}

ClassFit fit_with(const ClassJob& job, const TrainingOperator& H, const ClassResult& result) {
  ClassOptions options = job.classification;
  options.level = job.level;
  return classify(H, result.data.labels, static_cast<Index>(result.data.classes.size()), options);
}

double flow_time(const ClassJob& job, const TrainingOperator& H, const ClassResult& result) {
  ClassJob along_flow = job;
  along_flow.classification.path.kind = PathKind::flow;
  return fit_with(along_flow, H, result).path.time;
}

// The best of the candidates, which are compared by what the method maximises for each.
void choose_kernel(const ClassJob& job, ClassResult& result) {
  std::size_t best = 0;
  for (const KernelSum& candidate : kernel_candidates()) {
    KernelSource kernel(candidate);
    ClassFit fit = fit_with(job, *kernel.training(result.data.data.X), result);
    result.candidates.push_back({kernel.text(), fit.outcome, fit.criterion, false});
    const bool first = result.candidates.size() == 1;
    const bool better = !usable(result.fit.outcome) || fit.criterion < result.fit.criterion;
    if (!first && !(usable(fit.outcome) && better)) continue;
    best = result.candidates.size() - 1;
    result.fit = std::move(fit);
    result.kernel = std::move(kernel);
  }
  result.candidates[best].chosen = true;
}

void warn(ClassResult& result) {
  result.warnings = warnings_of(result.data);
  if (usable(result.fit.outcome) && result.fit.outcome != Outcome::converged)
    result.warnings.push_back(fmt::format("The fit: {}.", result.fit.reason));
  const ProbabilityMap& map = result.fit.map;
  if (usable(map.outcome) && map.outcome != Outcome::converged)
    result.warnings.push_back(fmt::format("The map to probabilities: {}.", map.reason));
}

}  // namespace

std::vector<std::string> warnings_of(const ClassDataset& data) {
  const DataReport& report = data.data.report;
  std::vector<std::string> warnings = report.warnings;
  if (!report.dropped_copies.empty())
    warnings.push_back(
        fmt::format("{} rows equal to an earlier one in features and class were taken for copies and left "
                    "out; if they are observations of their own, give --copies all.",
                    report.dropped_copies.size()));
  return warnings;
}

std::vector<KernelSum> kernel_candidates() {
  std::vector<KernelSum> candidates;
  for (const Index depth : {1, 2, 3})
    for (const double sb2 : {0.0, 0.1, 1.0}) {
      InfiniteArchitecture candidate;
      candidate.depth = depth;
      candidate.sb2 = sb2;
      candidates.emplace_back(candidate);
    }
  return candidates;
}

ClassResult run(const ClassJob& job) {
  job.classification.check();
  require(job.classification.path.kind == PathKind::ridge, "path", to_string(job.classification.path.kind),
          "must be ridge");
  if (job.operator_spec.kind == OperatorKind::matrix)
    throw InputError("--operator is not for classes: they need a kernel of their own or a network");
  ClassResult result;
  Stages stages(result, job.progress);
  stages.begin("reading the data");
  std::vector<FileStamp> files;
  for (const std::string& name : {job.source.table, job.operator_spec.weights})
    if (!name.empty()) files.push_back(stamp_file(name));
  DatasetOptions dataset = job.dataset;
  dataset.feature_shape = job.operator_spec.array_shape();
  result.data = load_class_dataset(job.source, dataset);
  require_address_space();
  require_size(job, result.data);

  stages.begin("building the training operator");
  const Matrix& X = result.data.data.X;
  OperatorSpec spec = job.operator_spec;
  spec.take_shape(result.data.data.recipe.options.feature_shape);
  result.kernel = KernelSource::make(spec, X.cols());
  std::unique_ptr<DenseOperator> H = result.kernel->training(X);
  stages.begin("testing");
  result.test_kernel = H->description();
  result.test =
      class_test(*H, result.data.labels, static_cast<Index>(result.data.classes.size()), {.seed = job.seed});
  if (!job.test_only) stages.begin("fitting the classes");
  if (job.choose_kernel && !job.test_only)
    choose_kernel(job, result);
  else if (!job.test_only)
    result.fit = fit_with(job, *H, result);
  result.operator_description = result.kernel->description();
  if (usable(result.fit.outcome)) measure(job, result);
  if (usable(result.fit.outcome) && result.fit.method == ClassMethod::one_hot)
    result.flow_time = flow_time(job, job.choose_kernel ? *result.kernel->training(X) : *H, result);
  stages.end();
  warn(result);
  for (const FileStamp& stamp : files)
    if (!unchanged(stamp))
      result.warnings.push_back(fmt::format(
          "'{}' changed while the run was going on: the results are of the data as they were read first",
          stamp.path));
  return result;
}

}  // namespace gradflow
