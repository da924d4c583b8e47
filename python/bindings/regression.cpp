// A regression: fit, test, and the fitted model.
#include "bindings/convert.h"
#include "cli/make_job.h"
#include "gradflow/model/class_model.h"
#include "gradflow/model/fitted_model.h"
#include "gradflow/report/json_report.h"

namespace gradflow::python {
namespace {

Job make_job(const Options& options, const Columns& columns, Progress& progress) {
  Job job = cli::make_job(to_settings(options), cli::Purpose::inference);
  set_lists(options, job.dataset);
  const auto noise = options.lists.find("noise_columns");
  if (noise != options.lists.end()) job.noise.columns = noise->second;
  job.source = {};
  job.source.columns = &columns.table();
  job.analysis.progress = &progress;
  return job;
}

nb::tuple fit(const Options& options, const Columns& columns, nb::object callback) {
  PythonProgress progress(std::move(callback));
  JobResult result;
  std::string json;
  Job job = make_job(options, columns, progress);
  {
    const nb::gil_scoped_release unlock;
    result = run(job);
    json = json_report(run_record("fit", job.analysis.seed), job, result);
  }
  nb::dict arrays = analysis_arrays(result.analysis);
  arrays["ids"] = result.prepared.dataset.ids;
  arrays["json"] = json;
  const bool noise_known = !result.noise || result.noise->is_usable();
  const bool has_model =
      result.analysis.is_usable() && std::isfinite(result.analysis.rule().time) && noise_known;
  if (!has_model) return nb::make_tuple(nb::none(), arrays);
  FittedModel model;
  {
    const nb::gil_scoped_release unlock;
    model = make_model(job, std::move(result));
  }
  model.run = run_for_model(json);
  return nb::make_tuple(nb::cast(std::move(model)), arrays);
}

std::string test(const Options& options, const Columns& columns, nb::object callback) {
  PythonProgress progress(std::move(callback));
  Job job = make_job(options, columns, progress);
  const FurtherTestOptions further = to_further_tests(options, job);
  job.every_row = further.any();
  const nb::gil_scoped_release unlock;
  auto [prepared, score] = run_test(job);
  FurtherTests tests;
  if (further.any()) tests = run_further_tests(job, prepared, further);
  return json_test_report(run_record("test", job.analysis.seed), job, prepared, score, tests);
}

// H = Theta(X, X)/n, or with new rows Theta(X_new, X)/n.
NumpyMatrix kernel(const Options& options, const Columns& columns, const Columns* rows, nb::object callback) {
  PythonProgress progress(std::move(callback));
  Job job = cli::make_job(to_settings(options), cli::Purpose::kernel);
  set_lists(options, job.dataset);
  job.dataset.target.clear();
  Matrix result;
  {
    const nb::gil_scoped_release unlock;
    job.source = {};
    job.source.columns = &columns.table();
    const Dataset dataset = load_features(job.source, job.dataset);
    const KernelSource source = KernelSource::make(job.operator_spec, dataset.X.cols());
    progress.update("building the training operator", 0.0);
    result = rows == nullptr ? source.training(dataset.X)->entries()
                             : source.cross(encode(dataset.recipe, rows->table()).X, dataset.X).H_cross;
  }
  return to_numpy(std::move(result));
}

nb::dict predictions(const FittedModel& model, const Columns& columns,
                     const std::optional<std::string>& interval, std::optional<double> level,
                     nb::object callback) {
  PythonProgress progress(std::move(callback));
  Predictions result;
  std::vector<std::string> warnings;
  {
    const nb::gil_scoped_release unlock;
    const NewRows rows = encode(model.recipe, columns.table());
    PredictOptions options{.interval = {}, .progress = &progress};
    if (interval) options.interval = parse_interval(*interval);
    if (level && *level != model.level) {
      FittedModel at_level = model;
      at_level.level = *level;
      result = predict(at_level, rows, {}, options);
    } else {
      result = predict(model, rows, {}, options);
    }
  }
  nb::dict answer;
  answer["mean"] = to_numpy(std::move(result.mean));
  answer["sd"] = to_numpy(std::move(result.sd));
  answer["lower"] = to_numpy(std::move(result.lower));
  answer["upper"] = to_numpy(std::move(result.upper));
  answer["statements"] = result.statements;
  answer["warnings"] = result.warnings;
  return answer;
}

nb::dict description(const FittedModel& model) {
  nb::dict facts;
  facts["columns"] = needed_columns(model.recipe);
  facts["input_columns"] = model.recipe.input_columns;
  facts["target"] = model.recipe.options.target;
  facts["operator"] = model.operator_text;
  facts["gradflow_version"] = model.gradflow_version;
  facts["rule"] = model.rule;
  facts["path"] = std::string(to_string(model.path.kind));
  facts["time"] = model.path.time;
  facts["noise_variance"] = model.noise_variance;
  facts["effective_dof"] = model.effective_dof;
  facts["log10_pvalue"] = model.log10_p_value;
  facts["steps"] = model.steps;
  facts["learning_rate"] = model.learning_rate;
  facts["level"] = model.level;
  facts["seed"] = model.seed;
  facts["rows"] = model.rows();
  facts["warnings"] = model.warnings;
  return facts;
}

nb::bytes to_bytes(const FittedModel& model) {
  const std::string bytes = model.bytes();
  return nb::bytes(bytes.data(), bytes.size());
}

FittedModel from_bytes(const nb::bytes& bytes) {
  return FittedModel::parse({bytes.c_str(), bytes.size()}, "the model");
}

}  // namespace

void bind_regression(nb::module_& module) {
  nb::class_<FittedModel>(module, "Model", "A fitted regression, as the program's model files hold it.")
      .def("save", &FittedModel::save, nb::arg("path"))
      .def_static("load", &FittedModel::load, nb::arg("path"))
      .def("to_bytes", &to_bytes)
      .def_static("from_bytes", &from_bytes, nb::arg("bytes"))
      .def("describe", &description)
      .def("predict", &predictions, nb::arg("columns"), nb::arg("interval").none(), nb::arg("level").none(),
           nb::arg("progress").none());
  module.def("fit", &fit, nb::arg("options"), nb::arg("columns"), nb::arg("progress").none());
  module.def("test", &test, nb::arg("options"), nb::arg("columns"), nb::arg("progress").none());
  module.def("kernel", &kernel, nb::arg("options"), nb::arg("columns"), nb::arg("new_rows").none(),
             nb::arg("progress").none());
  module.def("is_class_model", &is_class_model, nb::arg("path"));
}

}  // namespace gradflow::python
