#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "gradflow/base/error.h"
#include "gradflow/data/safetensors.h"
#include "gradflow/model/fitted_model.h"
#include "gradflow/model/version.h"
#include "model/model_tensors.h"

namespace gradflow {
namespace {

bool is_one_network(const KernelSum& kernel) { return kernel == KernelSum(kernel.terms.front().network); }

bool has_tangents(const ResponseTransform& transform) {
  return std::isfinite(transform.below) || std::isfinite(transform.beyond);
}

// The oldest format that has everything in the model, so that older programs read what they can.
int format_of(const FittedModel& model) {
  // What an older program would pass over to give other predictions.
  if (model.mixture_calibration.known()) return 9;
  if (has_tangents(model.transform)) return 8;
  if (!model.others.empty()) return 7;
  if (model.calibration.known()) return 6;
  if (model.left_out.known()) return 5;
  if (model.noise.kind != NoiseModelKind::normal) return 4;
  if (model.transform.kind != TransformKind::none || model.weights.size() > 0) return 3;
  if (model.kernel && (model.kernel->layered() || model.kernel->layered_kernel())) return 3;
  if (model.kernel && model.kernel->kernel() && !is_one_network(*model.kernel->kernel())) return 3;
  return model.linearised ? 2 : 1;
}

Json operator_json(const FittedModel& model) {
  Json json = {
      {"kind", to_string(model.operator_kind)},
      {"text", model.operator_text},
      {"layers", model.kernel && model.kernel->finite() != nullptr ? model.kernel->finite()->layers() : 0},
      {"linearised", model.linearised.has_value()}};
  if (model.kernel && model.kernel->kernel() && is_scaled(*model.kernel->kernel())) json["relevances"] = true;
  return json;
}

Json noise_json(const NoiseModel& noise) {
  Json json = {{"kind", to_string(noise.kind)}};
  if (noise.kind == NoiseModelKind::student) {
    json["dof"] = noise.dof;
    return json;
  }
  json["terms"] = Json::array();
  for (const NoiseModel::Term& term : noise.terms)
    json["terms"].push_back({{"column", term.column},
                             {"fitted_mean", term.fitted_mean},
                             {"coefficient", term.coefficient},
                             {"centre", term.centre},
                             {"lower", term.lower},
                             {"upper", term.upper}});
  return json;
}

NoiseModel noise_from(const FieldReader& fields) {
  NoiseModel noise;
  const std::string kind = fields.text("kind");
  if (kind == to_string(NoiseModelKind::student)) {
    noise.kind = NoiseModelKind::student;
    noise.dof = fields.number("dof");
    if (!(noise.dof > 2.0)) fields.fail("dof", "> 2");
    return noise;
  }
  if (kind != to_string(NoiseModelKind::variance)) fields.fail("kind", "student or variance");
  noise.kind = NoiseModelKind::variance;
  for (const FieldReader& term : fields.objects("terms"))
    noise.terms.push_back({.column = term.text("column"),
                           .fitted_mean = term.flag("fitted_mean"),
                           .coefficient = term.number("coefficient"),
                           .centre = term.number("centre"),
                           .lower = term.number("lower"),
                           .upper = term.number("upper")});
  return noise;
}

Json calibration_json(const ErrorCalibration& calibration) {
  Json json = {{"rows", calibration.rows},
               {"factor", calibration.factor},
               {"gain", calibration.gain},
               {"normal_probability", calibration.normal_probability},
               {"members", Json::array()}};
  if (calibration.sampled_from > 0) json["sampled_from"] = calibration.sampled_from;
  const ScaleMixture& shape = calibration.shape;
  for (Index k = 0; k < shape.weights.size(); ++k)
    json["members"].push_back({{"weight", shape.weights(k)}, {"scale", shape.scales(k)}});
  return json;
}

ErrorCalibration calibration_from(const FieldReader& fields) {
  ErrorCalibration calibration;
  calibration.reason.clear();
  calibration.rows = fields.count("rows", std::numeric_limits<int>::max());
  if (fields.has("sampled_from"))
    calibration.sampled_from = fields.count("sampled_from", std::numeric_limits<int>::max());
  calibration.factor = fields.number("factor");
  calibration.gain = fields.number("gain");
  const std::vector<FieldReader> members = fields.objects("members");
  const auto K = static_cast<Index>(members.size());
  ScaleMixture& shape = calibration.shape;
  shape.weights.resize(K);
  shape.scales.resize(K);
  for (Index k = 0; k < K; ++k) {
    shape.weights(k) = members[static_cast<std::size_t>(k)].number("weight");
    shape.scales(k) = members[static_cast<std::size_t>(k)].number("scale");
  }
  if (calibration.rows < 1) fields.fail("rows", ">= 1");
  if (!(calibration.factor > 0.0)) fields.fail("factor", "> 0");
  calibration.normal_probability = fields.has("normal_probability") ? fields.number("normal_probability")
                                   : K == 1                         ? 1.0
                                                                    : 0.0;
  if (K < 1 || !(shape.weights.minCoeff() > 0.0) || !(shape.scales.minCoeff() > 0.0) ||
      std::abs(shape.weights.sum() - 1.0) > 1e-6)
    fields.fail("members", "scales > 0 with weights > 0 of sum 1");
  return calibration;
}

Json mixture_json(const MixtureCalibration& mixture) {
  return {{"scores", calibration_json(mixture.scores)},
          {"folds", mixture.folds},
          {"own_factor", mixture.own_factor},
          {"left_out_factor", mixture.left_out_factor}};
}

MixtureCalibration mixture_from(const FieldReader& fields) {
  MixtureCalibration mixture;
  mixture.scores = calibration_from(fields.object("scores"));
  mixture.folds = static_cast<int>(fields.count("folds", std::numeric_limits<int>::max()));
  mixture.own_factor = fields.number("own_factor");
  mixture.left_out_factor = fields.number("left_out_factor");
  if (!(mixture.own_factor > 0.0)) fields.fail("own_factor", "> 0");
  if (!(mixture.left_out_factor > 0.0)) fields.fail("left_out_factor", "> 0");
  return mixture;
}

Json transform_json(const ResponseTransform& transform) {
  Json json = {{"kind", to_string(transform.kind)},
               {"centre", transform.centre},
               {"scale", transform.scale},
               {"lambda", transform.lambda}};
  if (std::isfinite(transform.below)) json["below"] = transform.below;
  if (std::isfinite(transform.beyond)) json["beyond"] = transform.beyond;
  return json;
}

// Of a fit, without what all fits of the file have in common.
Json fit_json(const FittedModel& model) {
  Json json = {{"gradflow_version", model.gradflow_version},
               {"operator", operator_json(model)},
               {"fixed_effects", {{"names", model.fixed_names}, {"intercept", model.intercept}}},
               {"rule", model.rule},
               {"path", to_json(model.path)},
               {"tau", number_or_null(model.tau)},
               {"ridge_variance", number_or_null(model.ridge_variance)},
               {"noise_variance", number_or_null(model.noise_variance)},
               {"effective_dof", number_or_null(model.effective_dof)},
               {"log10_p_value", number_or_null(model.log10_p_value)},
               {"steps", number_or_null(model.steps)},
               {"learning_rate", number_or_null(model.learning_rate)},
               {"level", model.level},
               {"seed", model.seed},
               {"warnings", model.warnings}};
  if (std::isfinite(model.log_time_sd)) json["log_time_sd"] = model.log_time_sd;
  if (model.pure.dof > 0) json["pure_error"] = {{"squares", model.pure.squares}, {"dof", model.pure.dof}};
  if (model.transform.kind != TransformKind::none) json["transform"] = transform_json(model.transform);
  if (model.noise.kind != NoiseModelKind::normal) json["noise"] = noise_json(model.noise);
  if (model.calibration.known()) json["error_calibration"] = calibration_json(model.calibration);
  return json;
}

Json header(const FittedModel& model) {
  Json json = fit_json(model);
  json["format_version"] = format_of(model);
  json["recipe"] = to_json(model.recipe);
  if (model.left_out.known()) json["choice_folds"] = model.left_out.folds;
  if (model.mixture_calibration.known())
    json["mixture_calibration"] = mixture_json(model.mixture_calibration);
  for (const FittedModel& other : model.others) json["others"].push_back(fit_json(other));
  return json;
}

// The change of the weights of a model whose fit was matrix-free, of the shapes of the network's own.
Parameters read_linearised(const Network& network, TensorReader& tensors) {
  const Parameters& own = network.parameters();
  Parameters change = read_parameters("linearised", !own.biases.empty(), network.layers(), tensors);
  for (std::size_t l = 0; l < own.weights.size(); ++l)
    if (change.weights[l].rows() != own.weights[l].rows() ||
        change.weights[l].cols() != own.weights[l].cols() ||
        (!own.biases.empty() && change.biases[l].size() != own.biases[l].size()))
      tensors.fail("its linearised weights are of another network");
  return change;
}

void read_operator(FittedModel& model, const FieldReader& fields, TensorReader& tensors) {
  const std::string kind = fields.text("kind");
  model.operator_text = fields.text("text");
  const Index n = model.alpha.size(), d = static_cast<Index>(model.recipe.features.size());
  if (kind == to_string(OperatorKind::matrix)) {
    model.operator_kind = OperatorKind::matrix;
    model.X.resize(n, 0);
    model.H = tensors.matrix("H_train", n, n);
    return;
  }
  if (d < 1) tensors.fail("it has no features");
  const bool linearised = fields.flag_or("linearised", false);
  if (!linearised || tensors.has("X_train"))
    model.X = tensors.matrix("X_train", n, d);
  else
    model.X.resize(n, 0);
  model.kernel = read_kernel_source(fields, d, tensors);
  model.operator_kind = model.kernel->kind();
  if (linearised && model.kernel->finite() == nullptr)
    fields.fail("linearised", "false for a sum of kernels");
  if (linearised) model.linearised = read_linearised(*model.kernel->finite(), tensors);
}

ResponseTransform transform_from(const FieldReader& fields) {
  ResponseTransform transform{.kind = parse_transform(fields.text("kind")),
                              .centre = fields.number("centre"),
                              .scale = fields.number("scale"),
                              .lambda = fields.number("lambda")};
  if (!(transform.scale > 0.0)) fields.fail("scale", "> 0");
  if (fields.has("below")) transform.below = fields.number("below");
  if (fields.has("beyond")) transform.beyond = fields.number("beyond");
  if (!(transform.below < transform.beyond)) fields.fail("beyond", "> below");
  return transform;
}

void read_numbers(FittedModel& model, const FieldReader& fields) {
  model.gradflow_version = fields.text("gradflow_version");
  model.rule = fields.text("rule");
  model.path = path_from(fields.object("path"));
  if (!(model.path.time >= 0.0) || model.path.decay < 0.0 || model.path.iterations < 1)
    fields.fail("path", "a point on a training path");
  model.tau = fields.number_or_nan("tau");
  model.ridge_variance = fields.number_or_nan("ridge_variance");
  if (model.tau < 0.0) fields.fail("tau", ">= 0");
  if (model.ridge_variance < 0.0) fields.fail("ridge_variance", ">= 0");
  if (fields.has("log_time_sd")) model.log_time_sd = fields.number_or_nan("log_time_sd");
  if (fields.has("pure_error")) {
    const FieldReader pure = fields.object("pure_error");
    model.pure = {pure.number("squares"), pure.count("dof", std::numeric_limits<int>::max())};
    if (model.pure.squares < 0.0 || model.pure.dof < 0) fields.fail("pure_error", ">= 0");
  }
  if (fields.has("transform")) model.transform = transform_from(fields.object("transform"));
  if (fields.has("noise")) model.noise = noise_from(fields.object("noise"));
  model.calibration.reason = "the file has none, as those of earlier formats and of noise models";
  if (fields.has("error_calibration"))
    model.calibration = calibration_from(fields.object("error_calibration"));
  model.noise_variance = fields.number_or_nan("noise_variance");
  model.effective_dof = fields.number_or_nan("effective_dof");
  model.log10_p_value = fields.number_or_nan("log10_p_value");
  model.steps = fields.number_or_nan("steps");
  model.learning_rate = fields.number_or_nan("learning_rate");
  model.level = fields.number("level");
  if (!(model.level > 0.0 && model.level < 1.0)) fields.fail("level", "between 0 and 1");
  model.seed = fields.seed("seed");
  model.warnings = fields.texts("warnings");
}

void read_fixed_effects(FittedModel& model, const FieldReader& fields, TensorReader& tensors) {
  model.fixed_names = fields.texts("names");
  model.intercept = fields.flag("intercept");
  const auto q = static_cast<Index>(model.fixed_names.size());
  model.beta = tensors.vector("beta", q);
  model.design = tensors.matrix("fixed_effects", model.alpha.size(), q);
  const auto covariates = static_cast<Index>(model.recipe.covariates.size());
  const bool none = q == 0;  // paper mode leaves the covariates out
  if (!none && q != covariates + (model.intercept ? 1 : 0))
    tensors.fail(fmt::format("it has {} fixed effects for {} covariates", q, covariates));
}

void read_left_out(FittedModel& model, const FieldReader& fields, TensorReader& tensors) {
  model.left_out = {tensors.vector("left_out_errors", -1),
                    static_cast<int>(fields.count("choice_folds", std::numeric_limits<int>::max()))};
  const Vector& sizes = model.left_out.sizes;
  if (sizes.size() < 1 || model.left_out.folds < 2 || sizes(0) < 0.0 ||
      !std::is_sorted(sizes.begin(), sizes.end()))
    tensors.fail("its left-out errors are not sizes in ascending order");
}

// What the other fits of a file share with its own.
constexpr std::array shared_tensors{"X_train", "fixed_effects", "weights"};

std::string prefix_of_other(std::size_t k) { return fmt::format("others.{}.", k); }

// A fit whose tensors are the reader's.
FittedModel read_fit(const FieldReader& fields, TensorReader& tensors, const Recipe& recipe) {
  FittedModel model;
  read_numbers(model, fields);
  model.recipe = recipe;
  model.alpha = tensors.vector("alpha", -1);
  if (model.alpha.size() < 1) tensors.fail("it has no training rows");
  read_fixed_effects(model, fields.object("fixed_effects"), tensors);
  read_operator(model, fields.object("operator"), tensors);
  if (tensors.has("weights")) {
    model.weights = tensors.vector("weights", model.alpha.size());
    if (model.weights.minCoeff() <= 0.0) tensors.fail("tensor 'weights' has a value that is not > 0");
  }
  if (tensors.has("response")) model.response = tensors.vector("response", model.alpha.size());
  const FixedEffects checked(model.design, model.fixed_names);
  return model;
}

// Their tensors, from under names of their own.
TensorFile tensors_of_other(const TensorFile& file, std::size_t k) {
  const std::string prefix = prefix_of_other(k);
  TensorFile own;
  for (const auto& [name, array] : file.tensors)
    if (name.starts_with(prefix)) own.tensors[name.substr(prefix.size())] = array;
  for (const char* name : shared_tensors)
    if (const auto found = file.tensors.find(name); found != file.tensors.end())
      own.tensors[name] = found->second;
  return own;
}

FittedModel fitted_model_from(TensorFile file, const std::string& source) {
  const nlohmann::json document =
      read_description(file.metadata, fitted_model_key, FittedModel::format_version, source);
  const FieldReader fields(document, source);
  return naming_file(source, [&] {
    const std::vector<FieldReader> others =
        fields.has("others") ? fields.objects("others") : std::vector<FieldReader>{};
    std::vector<TensorFile> files;
    for (std::size_t k = 0; k < others.size(); ++k) files.push_back(tensors_of_other(file, k));
    TensorReader tensors(file, source);
    FittedModel model = read_fit(fields, tensors, recipe_from(fields.object("recipe")));
    if (file.metadata.contains(run_key)) model.run = file.metadata.at(run_key);
    if (fields.has("choice_folds")) read_left_out(model, fields, tensors);
    if (fields.has("mixture_calibration"))
      model.mixture_calibration = mixture_from(fields.object("mixture_calibration"));
    for (std::size_t k = 0; k < others.size(); ++k) {
      TensorReader own(files[k], source);
      model.others.push_back(read_fit(others[k], own, model.recipe));
      if (model.others.back().rows() != model.rows()) own.fail("fits that are averaged have other rows");
      model.others.back().left_out = model.left_out;
    }
    return model;
  });
}

TensorFile tensors_of(const FittedModel& model) {
  TensorFile file;
  file.tensors["alpha"] = array_of(model.alpha);
  file.tensors["beta"] = array_of(model.beta);
  if (model.weights.size() > 0) file.tensors["weights"] = array_of(model.weights);
  if (model.response.size() > 0) file.tensors["response"] = array_of(model.response);
  file.tensors["fixed_effects"] = array_of(model.design);
  if (model.operator_kind == OperatorKind::matrix)
    file.tensors["H_train"] = array_of(model.H);
  else if (model.X.cols() > 0)
    file.tensors["X_train"] = array_of(model.X);
  if (model.kernel) add_kernel(file, *model.kernel, static_cast<Index>(model.recipe.features.size()));
  if (model.linearised) add_parameters(file, "linearised", *model.linearised);
  return file;
}

TensorFile file_of(const FittedModel& model) {
  TensorFile file = tensors_of(model);
  file.metadata[fitted_model_key] = header(model).dump(-1, ' ', false, Json::error_handler_t::replace);
  if (!model.run.empty()) file.metadata[run_key] = model.run;
  if (model.left_out.known()) file.tensors["left_out_errors"] = array_of(model.left_out.sizes);
  for (std::size_t k = 0; k < model.others.size(); ++k)
    for (auto& [name, array] : tensors_of(model.others[k]).tensors)
      if (std::ranges::find(shared_tensors, name) == shared_tensors.end())
        file.tensors[prefix_of_other(k) + name] = std::move(array);
  return file;
}

}  // namespace

void FittedModel::save(const std::string& path_name) const { write_safetensors(path_name, file_of(*this)); }

std::string FittedModel::bytes() const { return safetensors_bytes(file_of(*this), "the model"); }

FittedModel FittedModel::load(const std::string& path_name) {
  return fitted_model_from(as_model(path_name, [&] { return read_safetensors(path_name); }), path_name);
}

FittedModel FittedModel::parse(std::string_view bytes, const std::string& source) {
  return fitted_model_from(as_model(source, [&] { return parse_safetensors(bytes, source); }), source);
}

}  // namespace gradflow
