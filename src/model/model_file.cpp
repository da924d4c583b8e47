#include <cmath>
#include <nlohmann/json.hpp>

#include "gradflow/base/error.h"
#include "gradflow/data/safetensors.h"
#include "gradflow/model/fitted_model.h"
#include "gradflow/model/version.h"
#include "model/recipe_json.h"

namespace gradflow {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* metadata_key = "gradflow_model";
constexpr Index most_layers = 10000;

Array array_of(const Matrix& matrix) {
  Array array;
  array.shape = {matrix.rows(), matrix.cols()};
  array.values.resize(static_cast<std::size_t>(matrix.size()));
  using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  Eigen::Map<RowMajor>(array.values.data(), matrix.rows(), matrix.cols()) = matrix;
  return array;
}

Array array_of(const Vector& vector) { return {{vector.size()}, {vector.begin(), vector.end()}}; }

Json number_or_null(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

bool is_one_network(const KernelSum& kernel) { return kernel == KernelSum(kernel.terms.front().network); }

// The oldest format that has everything in the model, so that older programs read what they can.
int format_of(const FittedModel& model) {
  // What an older program would pass over to give other predictions.
  if (model.transform.kind != TransformKind::none || model.weights.size() > 0) return 3;
  if (model.kernel && model.kernel->kernel() && !is_one_network(*model.kernel->kernel())) return 3;
  return model.linearised ? 2 : 1;
}

Json operator_json(const FittedModel& model) {
  Json json = {{"kind", to_string(model.operator_kind)},
               {"text", model.operator_text},
               {"layers", model.kernel && model.kernel->network() ? model.kernel->network()->layers() : 0},
               {"linearised", model.linearised.has_value()}};
  if (model.kernel && model.kernel->kernel() && is_scaled(*model.kernel->kernel())) json["relevances"] = true;
  return json;
}

Json header(const FittedModel& model) {
  Json json = {{"format_version", format_of(model)},
               {"gradflow_version", model.gradflow_version},
               {"recipe", to_json(model.recipe)},
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
  const ResponseTransform& transform = model.transform;
  if (transform.kind != TransformKind::none)
    json["transform"] = {{"kind", to_string(transform.kind)},
                         {"centre", transform.centre},
                         {"scale", transform.scale},
                         {"lambda", transform.lambda}};
  return json;
}

/// Takes the file's tensors one by one, holding each to its shape.
class TensorReader {
 public:
  TensorReader(TensorFile& file, const std::string& source) : file_(file), source_(source) {}

  Array take(const std::string& name, std::size_t rank) {
    const auto found = file_.tensors.find(name);
    if (found == file_.tensors.end()) fail(fmt::format("tensor '{}' is missing", name));
    if (found->second.shape.size() != rank)
      fail(fmt::format("tensor '{}' has {} dimensions, not {}", name, found->second.shape.size(), rank));
    for (const double value : found->second.values)
      if (!std::isfinite(value)) fail(fmt::format("tensor '{}' has the value {}", name, value));
    return std::move(found->second);
  }

  Vector vector(const std::string& name, Index size) {
    const Array array = take(name, 1);
    if (size >= 0 && array.size() != size)
      fail(fmt::format("tensor '{}' has length {}, not {}", name, array.size(), size));
    return array.as_vector(name);
  }

  Matrix matrix(const std::string& name, Index rows, Index cols) {
    const Array array = take(name, 2);
    if ((rows >= 0 && array.shape[0] != rows) || (cols >= 0 && array.shape[1] != cols))
      fail(fmt::format("tensor '{}' has shape ({}, {}), not ({}, {})", name, array.shape[0], array.shape[1],
                       rows < 0 ? array.shape[0] : rows, cols < 0 ? array.shape[1] : cols));
    return array.as_matrix(name);
  }

  bool has(const std::string& name) const { return file_.tensors.contains(name); }

  [[noreturn]] void fail(const std::string& reason) const {
    throw InputError(fmt::format("{}: damaged gradflow model: {}", source_, reason));
  }

 private:
  TensorFile& file_;
  const std::string& source_;
};

Parameters read_parameters(const std::string& prefix, bool bias, Index layers, TensorReader& tensors) {
  Parameters parameters;
  for (Index layer = 0; layer < layers; ++layer) {
    parameters.weights.push_back(tensors.matrix(fmt::format("{}.W{}", prefix, layer), -1, -1));
    if (bias) parameters.biases.push_back(tensors.vector(fmt::format("{}.b{}", prefix, layer), -1));
  }
  return parameters;
}

DenseNetwork read_network(const std::string& text, Index layers, TensorReader& tensors) {
  Architecture architecture = parse_architecture(text);
  Parameters parameters = read_parameters("network", architecture.bias, layers, tensors);
  return {std::move(architecture), std::move(parameters)};
}

// The change of the weights of a model whose fit was matrix-free, of the shapes of the network's own.
Parameters read_linearised(const DenseNetwork& network, TensorReader& tensors) {
  Parameters change = read_parameters("linearised", network.architecture().bias, network.layers(), tensors);
  const DenseNetwork checked(network.architecture(), change);
  if (checked.inputs() != network.inputs()) tensors.fail("its linearised weights are of another network");
  return change;
}

// One row for each term; a term without relevances has ones, by which a product changes no bit.
Matrix relevances_of(const KernelSum& kernel, Index d) {
  Matrix relevances = Matrix::Ones(static_cast<Index>(kernel.terms.size()), d);
  for (Index k = 0; k < relevances.rows(); ++k)
    if (const Vector& relevance = kernel.terms[static_cast<std::size_t>(k)].relevance; relevance.size() > 0)
      relevances.row(k) = relevance;
  return relevances;
}

// The text has the weights in full: numbers are printed so that they read back to the same bits.
KernelSum read_kernel(const std::string& text, bool scaled, Index d, TensorReader& tensors) {
  KernelSum kernel = parse_kernel_sum(text);
  if (scaled) {
    const auto terms = static_cast<Index>(kernel.terms.size());
    const Matrix relevances = tensors.matrix("relevances", terms, d);
    for (Index k = 0; k < terms; ++k)
      if ((relevances.row(k).array() != 1.0).any())
        kernel.terms[static_cast<std::size_t>(k)].relevance = relevances.row(k);
  }
  kernel.check(d);
  return kernel;
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
  if (kind == to_string(OperatorKind::infinite)) {
    model.operator_kind = OperatorKind::infinite;
    model.kernel =
        KernelSource(read_kernel(model.operator_text, fields.flag_or("relevances", false), d, tensors));
  } else if (kind == to_string(OperatorKind::finite)) {
    model.operator_kind = OperatorKind::finite;
    model.kernel =
        KernelSource(read_network(model.operator_text, fields.count("layers", most_layers), tensors));
    if (model.kernel->network()->inputs() != d)
      tensors.fail(fmt::format("its network takes {} features, and its encoding gives {}",
                               model.kernel->network()->inputs(), d));
    if (linearised) model.linearised = read_linearised(*model.kernel->network(), tensors);
  } else {
    fields.fail("kind", "finite, infinite or matrix");
  }
}

ResponseTransform transform_from(const FieldReader& fields) {
  ResponseTransform transform{.kind = parse_transform(fields.text("kind")),
                              .centre = fields.number("centre"),
                              .scale = fields.number("scale"),
                              .lambda = fields.number("lambda")};
  if (!(transform.scale > 0.0)) fields.fail("scale", "> 0");
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

// What a user asked for is a model, whatever the format beneath it.
template <typename Read>
TensorFile as_model(const std::string& source, Read read) {
  try {
    return read();
  } catch (const FileError&) {
    throw;
  } catch (const InputError& error) {
    std::string reason = error.what();
    if (reason.starts_with(source + ": ")) reason.erase(0, source.size() + 2);
    throw InputError(fmt::format("{} is not a gradflow model, or a damaged one ({})", source, reason));
  }
}

nlohmann::json parse_header(const TensorFile& file, const std::string& source) {
  const auto found = file.metadata.find(metadata_key);
  if (found == file.metadata.end())
    throw InputError(
        fmt::format("{}: a safetensors file, but not a gradflow model (gradflow fit writes those)", source));
  nlohmann::json document = nlohmann::json::parse(found->second, nullptr, false);
  if (document.is_discarded())
    throw InputError(fmt::format("{}: damaged gradflow model: its description is not valid JSON", source));
  const FieldReader fields(document, source);
  const Index format = fields.count("format_version", 1 << 30);
  if (format > FittedModel::format_version)
    throw InputError(fmt::format(
        "{} was written by gradflow {}, format {}; this program reads up to format {}: update gradflow",
        source, fields.text("gradflow_version"), format, FittedModel::format_version));
  if (format < 1) fields.fail("format_version", ">= 1");
  return document;
}

FittedModel from_tensors(TensorFile file, const std::string& source) {
  const nlohmann::json document = parse_header(file, source);
  const FieldReader fields(document, source);
  TensorReader tensors(file, source);
  FittedModel model;
  try {
    read_numbers(model, fields);
    model.recipe = recipe_from(fields.object("recipe"));
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
  } catch (const InputError& error) {
    const std::string message = error.what();
    if (message.starts_with(source)) throw;
    tensors.fail(message);
  }
  return model;
}

void add_parameters(TensorFile& file, const std::string& prefix, const Parameters& parameters) {
  for (std::size_t layer = 0; layer < parameters.weights.size(); ++layer)
    file.tensors[fmt::format("{}.W{}", prefix, layer)] = array_of(parameters.weights[layer]);
  for (std::size_t layer = 0; layer < parameters.biases.size(); ++layer)
    file.tensors[fmt::format("{}.b{}", prefix, layer)] = array_of(parameters.biases[layer]);
}

}  // namespace

void FittedModel::save(const std::string& path_name) const {
  TensorFile file;
  file.metadata[metadata_key] = header(*this).dump(-1, ' ', false, Json::error_handler_t::replace);
  file.tensors["alpha"] = array_of(alpha);
  file.tensors["beta"] = array_of(beta);
  if (weights.size() > 0) file.tensors["weights"] = array_of(weights);
  if (response.size() > 0) file.tensors["response"] = array_of(response);
  file.tensors["fixed_effects"] = array_of(design);
  if (operator_kind == OperatorKind::matrix)
    file.tensors["H_train"] = array_of(H);
  else if (X.cols() > 0)
    file.tensors["X_train"] = array_of(X);
  if (kernel && kernel->network()) add_parameters(file, "network", kernel->network()->parameters());
  if (linearised) add_parameters(file, "linearised", *linearised);
  if (kernel && kernel->kernel() && is_scaled(*kernel->kernel()))
    file.tensors["relevances"] =
        array_of(relevances_of(*kernel->kernel(), static_cast<Index>(recipe.features.size())));
  write_safetensors(path_name, file);
}

FittedModel FittedModel::load(const std::string& path_name) {
  return from_tensors(as_model(path_name, [&] { return read_safetensors(path_name); }), path_name);
}

FittedModel FittedModel::parse(std::string_view bytes, const std::string& source) {
  return from_tensors(as_model(source, [&] { return parse_safetensors(bytes, source); }), source);
}

}  // namespace gradflow
