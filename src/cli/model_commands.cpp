#include <fmt/format.h>

#include <cstdio>
#include <numeric>

#include "cli/class_command.h"
#include "cli/make_job.h"
#include "cli/new_rows.h"
#include "cli/numbers.h"
#include "cli/output.h"
#include "cli/terminal_progress.h"
#include "cli/train_classes.h"
#include "cli/train_command.h"
#include "gradflow/base/atomic_file.h"
#include "gradflow/base/error.h"
#include "gradflow/data/csv_writer.h"
#include "gradflow/model/class_model.h"
#include "gradflow/model/memory.h"
#include "gradflow/model/trained_class_model.h"
#include "gradflow/model/trained_model.h"
#include "gradflow/report/json_report.h"
#include "gradflow/report/text_report.h"

namespace gradflow::cli {
namespace {

constexpr double kernel_copies = 3.0;  // matrices of n x n alive while one is built and written

// Rows of a user's matrix that come without a table: counted by their cross matrix.
NewRows rows_of_cross(const FittedModel& model, const GivenCross& given) {
  if (!model.recipe.covariates.empty())
    throw InputError("the model has covariates: new rows are needed with their values, as a table");
  NewRows rows;
  const Index m = given.H_cross.rows();
  rows.X.resize(m, 0);
  rows.Z.resize(m, 0);
  for (Index i = 0; i < m; ++i) rows.ids.push_back(std::to_string(i + 1));
  rows.row.resize(static_cast<std::size_t>(m));
  std::iota(rows.row.begin(), rows.row.end(), Index{0});
  return rows;
}

GivenCross read_given(const Settings& s) {
  GivenCross given;
  if (s.cross.empty() && !s.cross_diagonal.empty()) throw InputError("--cross-diagonal needs --cross");
  if (!s.cross.empty()) given.H_cross = read_array(s.cross).as_matrix(s.cross);
  if (!s.cross_diagonal.empty()) given.H_self = read_array(s.cross_diagonal).as_vector(s.cross_diagonal);
  return given;
}

NewRows read_new_rows(const Settings& s, const FittedModel& model, const GivenCross& given) {
  if (s.table.empty() && s.features.empty() && !model.kernel) {
    if (given.H_cross.size() > 0) return rows_of_cross(model, given);
    throw InputError("no new rows: a model of --operator needs --cross");
  }
  const bool one_source = s.table.empty() || s.features.empty();
  if (!model.kernel && one_source && given.H_cross.size() == 0)
    throw InputError(fmt::format(
        "'{}' was fitted with --operator: give --cross, the kernel of new rows with training rows", s.model));
  return read_new_rows(s, model.recipe);
}

}  // namespace

int predict_command(Invocation& invocation) {
  const Settings& s = invocation.settings;
  const std::vector<std::string> inputs{s.model, s.table, s.features, s.cross, s.cross_diagonal};
  require_writable(s.output, inputs);
  require_writable(s.json, inputs);
  if (is_class_model(s.model)) return predict_classes(invocation);
  if (is_trained_model(s.model)) return predict_trained(invocation);
  if (is_trained_class_model(s.model)) return predict_trained_classes(invocation);
  FittedModel model = FittedModel::load(s.model);
  if (!s.level.empty()) model.level = open_fraction("--level", s.level);
  invocation.record.seed = model.seed;
  const IntervalKind interval = s.interval.empty() ? default_interval(model) : parse_interval(s.interval);
  const GivenCross given = read_given(s);
  const NewRows rows = read_new_rows(s, model, given);
  const Predictions predictions = [&] {
    TerminalProgress progress(!s.quiet);
    return predict(model, rows, given, {.interval = interval, .progress = &progress});
  }();
  if (!s.json.empty())
    write_file_atomically(s.json, json_prediction_report(invocation.record, model, predictions));
  warn(predictions.warnings);
  give_predictions(s, rows, predictions_csv(predictions), predictions.statements);
  return exit_usable;
}

int kernel_command(Invocation& invocation) {
  const Settings& s = invocation.settings;
  const std::vector<std::string> inputs{s.table, s.features, s.response, s.weights, s.cross};
  require_writable(s.output, inputs);
  require_writable(s.json, inputs);
  const Job job = make_job(s, Purpose::kernel);
  invocation.record.seed = job.operator_spec.seed;
  if (job.operator_spec.kind == OperatorKind::matrix)
    throw InputError(
        "--operator is a matrix already: gradflow kernel computes those of networks and kernels");
  DatasetOptions options = job.dataset;
  options.feature_shape = job.operator_spec.array_shape();
  const Dataset dataset = load_features(job.source, options);
  OperatorSpec spec = job.operator_spec;
  spec.take_shape(dataset.recipe.options.feature_shape);
  const KernelSource kernel = KernelSource::make(spec, dataset.X.cols());
  require_memory(dataset.X.rows(), kernel_copies);
  Matrix result;
  if (s.cross.empty()) {
    result = kernel.training(dataset.X)->entries();
  } else {
    const NewRows rows = encode_file(dataset.recipe, s.cross, s);
    warn(rows.warnings);
    if (rows.row.size() != rows.ids.size())
      throw InputError(fmt::format(
          "'{}' has {} rows with missing values, for which there is no kernel: leave them out or use "
          "--missing mean",
          s.cross, rows.ids.size() - rows.row.size()));
    result = kernel.cross(rows.X, dataset.X).H_cross;
  }
  write_npy(s.output, result);
  if (!s.json.empty())
    write_file_atomically(s.json, json_kernel_report(invocation.record, dataset.report, kernel.description(),
                                                     result.rows(), result.cols()));
  if (!s.quiet)
    print(fmt::format("{} x {} matrix of the {} written to {}.\n", result.rows(), result.cols(),
                      kernel.description(), s.output));
  return exit_usable;
}

}  // namespace gradflow::cli
