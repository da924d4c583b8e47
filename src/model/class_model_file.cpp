#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "gradflow/base/error.h"
#include "gradflow/model/class_model.h"
#include "model/model_tensors.h"

namespace gradflow {
namespace {

constexpr Index most_classes_in_file = 100000;

Json header(const ClassModel& model) {
  const ClassFit& fit = model.fit;
  const Network* network = model.kernel->finite();
  const auto& kernel = model.kernel->kernel();
  return {{"format_version", ClassModel::format_version},
          {"gradflow_version", model.gradflow_version},
          {"recipe", to_json(model.recipe)},
          {"operator",
           {{"kind", to_string(model.kernel->kind())},
            {"text", model.kernel->text()},
            {"layers", network != nullptr ? network->layers() : 0},
            {"relevances", kernel && is_scaled(*kernel)}}},
          {"classes", model.classes},
          {"fit",
           {{"method", to_string(fit.method)},
            {"outcome", to_string(fit.outcome)},
            {"reason", fit.reason},
            {"tau", number_or_null(fit.tau)},
            {"path", to_json(fit.path)},
            {"bias_variance", fit.bias_variance},
            {"mapped", fit.map.outcome != Outcome::not_run},
            {"map_outcome", to_string(fit.map.outcome)},
            {"map_reason", fit.map.reason}}},
          {"log10_p_value", number_or_null(model.log10_p_value)},
          {"seed", model.seed},
          {"warnings", model.warnings}};
}

Outcome outcome_from(const FieldReader& fields, const std::string& name) {
  const std::string text = fields.text(name);
  for (const Outcome outcome : {Outcome::converged, Outcome::at_zero, Outcome::on_boundary})
    if (text == to_string(outcome)) return outcome;
  fields.fail(name, "that of a usable fit");
}

void read_map(ProbabilityMap& map, const FieldReader& fields, Index K, TensorReader& tensors) {
  if (!fields.flag("mapped")) return;
  map.outcome = outcome_from(fields, "map_outcome");
  map.reason = fields.text("map_reason");
  map.slope = tensors.vector("map_slope", K);
  map.offset = tensors.vector("map_offset", K);
}

ClassFit read_fit(const FieldReader& fields, Index n, Index K, TensorReader& tensors) {
  ClassFit fit;
  const std::string method = fields.text("method");
  const bool laplace = method == to_string(ClassMethod::laplace);
  if (!laplace && method != to_string(ClassMethod::one_hot)) fields.fail("method", "one-hot or laplace");
  fit.method = laplace ? ClassMethod::laplace : ClassMethod::one_hot;
  fit.outcome = outcome_from(fields, "outcome");
  fit.reason = fields.text("reason");
  fit.classes = K;
  const double tau = fields.number_or_nan("tau");
  fit.tau = std::isnan(tau) && !laplace ? std::numeric_limits<double>::infinity() : tau;
  if (!(fit.tau >= 0.0)) fields.fail("tau", ">= 0");
  fit.path = path_from(fields.object("path"));
  fit.bias_variance = fields.number("bias_variance");
  fit.dual = tensors.matrix("dual", n, K);
  fit.bias = tensors.vector("bias", K);
  fit.frequencies = tensors.vector("frequencies", K);
  read_map(fit.map, fields, K, tensors);
  if (!laplace) {
    if (fit.map.outcome == Outcome::not_run) fields.fail("mapped", "true for method one-hot");
    return fit;
  }
  if (!(fit.bias_variance > 0.0)) fields.fail("bias_variance", "> 0");
  fit.site_probabilities = tensors.matrix("site_probabilities", n, K);
  const auto P = fit.site_probabilities.array();
  if (P.minCoeff() < 0.0 || ((P.rowwise().sum() - 1.0).abs() > 1e-6).any())
    tensors.fail("tensor 'site_probabilities' has rows that are no probabilities");
  return fit;
}

ClassModel class_model_from(TensorFile file, const std::string& source) {
  const nlohmann::json document =
      read_description(file.metadata, class_model_key, ClassModel::format_version, source);
  const FieldReader fields(document, source);
  TensorReader tensors(file, source);
  ClassModel model;
  if (file.metadata.contains(run_key)) model.run = file.metadata.at(run_key);
  naming_file(source, [&] {
    model.gradflow_version = fields.text("gradflow_version");
    model.recipe = recipe_from(fields.object("recipe"));
    model.classes = fields.texts("classes");
    const auto K = static_cast<Index>(model.classes.size());
    const auto d = static_cast<Index>(model.recipe.features.size());
    if (K < 2 || K > most_classes_in_file) fields.fail("classes", "at least 2 names");
    if (d < 1) tensors.fail("it has no features");
    model.X = tensors.matrix("X_train", -1, d);
    if (model.X.rows() < 2) tensors.fail("it has fewer than 2 training rows");
    model.kernel = read_kernel_source(fields.object("operator"), d, tensors);
    model.fit = read_fit(fields.object("fit"), model.X.rows(), K, tensors);
    model.log10_p_value = fields.number_or_nan("log10_p_value");
    model.seed = fields.seed("seed");
    model.warnings = fields.texts("warnings");
  });
  return model;
}

TensorFile tensors_of(const ClassModel& model) {
  const ClassFit& fit = model.fit;
  TensorFile file;
  file.metadata[class_model_key] = header(model).dump(-1, ' ', false, Json::error_handler_t::replace);
  if (!model.run.empty()) file.metadata[run_key] = model.run;
  file.tensors["X_train"] = array_of(model.X);
  file.tensors["dual"] = array_of(fit.dual);
  file.tensors["bias"] = array_of(fit.bias);
  file.tensors["frequencies"] = array_of(fit.frequencies);
  if (fit.method == ClassMethod::laplace)
    file.tensors["site_probabilities"] = array_of(fit.site_probabilities);
  if (fit.map.outcome != Outcome::not_run) {
    file.tensors["map_slope"] = array_of(fit.map.slope);
    file.tensors["map_offset"] = array_of(fit.map.offset);
  }
  add_kernel(file, *model.kernel, model.X.cols());
  return file;
}

}  // namespace

void ClassModel::save(const std::string& path_name) const { write_safetensors(path_name, tensors_of(*this)); }

std::string ClassModel::bytes() const { return safetensors_bytes(tensors_of(*this), "the model"); }

ClassModel ClassModel::load(const std::string& path_name) {
  return class_model_from(as_model(path_name, [&] { return read_safetensors(path_name); }), path_name);
}

ClassModel ClassModel::parse(std::string_view bytes, const std::string& source) {
  return class_model_from(as_model(source, [&] { return parse_safetensors(bytes, source); }), source);
}

bool is_class_model(const std::string& path_name) { return has_metadata(path_name, class_model_key); }

}  // namespace gradflow
