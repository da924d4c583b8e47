// Classes: fit and the fitted model.
#include "bindings/convert.h"
#include "cli/make_class_job.h"
#include "gradflow/model/class_model.h"
#include "gradflow/report/class_report.h"
#include "gradflow/report/json_report.h"

namespace gradflow::python {
namespace {

nb::tuple fit(const Options& options, const Columns& columns, nb::object callback) {
  PythonProgress progress(std::move(callback));
  ClassJob job = cli::make_class_job(to_settings(options));
  set_lists(options, job.dataset);
  job.source = {};
  job.source.columns = &columns.table();
  job.progress = &progress;
  ClassResult result;
  std::string json;
  {
    const nb::gil_scoped_release unlock;
    result = run(job);
    json = json_class_report(run_record("fit", job.seed), job, result);
  }
  nb::dict arrays;
  arrays["json"] = json;
  arrays["ids"] = result.data.data.ids;
  arrays["labels"] = result.data.labels;
  arrays["classes"] = result.data.classes;
  arrays["leave_one_out"] = to_numpy(result.fit.leave_one_out);
  arrays["interval"] = nb::make_tuple(result.fit.interval.lower, result.fit.interval.upper);
  arrays["time"] = result.fit.path.time;
  if (!usable(result.fit.outcome)) return nb::make_tuple(nb::none(), arrays);
  ClassModel model = make_model(job, std::move(result));
  model.run = run_for_model(json);
  return nb::make_tuple(nb::cast(std::move(model)), arrays);
}

nb::dict predictions(const ClassModel& model, const Columns& columns, nb::object callback) {
  PythonProgress progress(std::move(callback));
  ClassPredictions result;
  {
    const nb::gil_scoped_release unlock;
    result = predict(model, encode(model.recipe, columns.table()), &progress);
  }
  nb::dict answer;
  answer["most_probable"] = result.most_probable;
  answer["probabilities"] = to_numpy(std::move(result.probabilities));
  answer["warnings"] = result.warnings;
  return answer;
}

nb::dict description(const ClassModel& model) {
  nb::dict facts;
  facts["columns"] = needed_columns(model.recipe);
  facts["input_columns"] = model.recipe.input_columns;
  facts["target"] = model.recipe.options.target;
  facts["operator"] = model.kernel->text();
  facts["gradflow_version"] = model.gradflow_version;
  facts["method"] = std::string(to_string(model.fit.method));
  facts["classes"] = model.classes;
  facts["frequencies"] = to_numpy(model.fit.frequencies);
  facts["time"] = model.fit.path.time;
  facts["log10_pvalue"] = model.log10_p_value;
  facts["seed"] = model.seed;
  facts["rows"] = model.rows();
  facts["warnings"] = model.warnings;
  return facts;
}

nb::bytes to_bytes(const ClassModel& model) {
  const std::string bytes = model.bytes();
  return nb::bytes(bytes.data(), bytes.size());
}

ClassModel from_bytes(const nb::bytes& bytes) {
  return ClassModel::parse({bytes.c_str(), bytes.size()}, "the model");
}

}  // namespace

void bind_classes(nb::module_& module) {
  nb::class_<ClassModel>(module, "ClassModel", "Fitted classes, as the program's model files hold them.")
      .def("save", &ClassModel::save, nb::arg("path"))
      .def_static("load", &ClassModel::load, nb::arg("path"))
      .def("to_bytes", &to_bytes)
      .def_static("from_bytes", &from_bytes, nb::arg("bytes"))
      .def("describe", &description)
      .def("predict", &predictions, nb::arg("columns"), nb::arg("progress").none());
  module.def("fit_classes", &fit, nb::arg("options"), nb::arg("columns"), nb::arg("progress").none());
}

}  // namespace gradflow::python
