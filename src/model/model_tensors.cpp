#include "model/model_tensors.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <utility>

namespace gradflow {
namespace {

constexpr Index most_layers = 10000;

KernelSource read_network(const std::string& text, Index layers, TensorReader& tensors) {
  if (is_layered_text(text)) {
    LayeredArchitecture layered = parse_layered_architecture(text);
    Parameters parameters = read_parameters("network", layered.bias, layers, tensors);
    return KernelSource(LayeredNetwork(std::move(layered), std::move(parameters)));
  }
  Architecture architecture = parse_architecture(text);
  Parameters parameters = read_parameters("network", architecture.bias, layers, tensors);
  return KernelSource(DenseNetwork(std::move(architecture), std::move(parameters)));
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

struct Kind {
  const char* key;
  const char* what;    // of a file of this kind
  const char* wanted;  // where one is needed
  const char* writer;
};
constexpr std::array kinds{
    Kind{class_model_key, "a model of classes (gradflow fit --classes)", "one of classes", "gradflow fit"},
    Kind{fitted_model_key, "a model of a numeric response", "one of a numeric response", "gradflow fit"},
    Kind{trained_key, "a trained network (gradflow train)", "one of a numeric response", "gradflow train"},
    Kind{trained_classes_key, "a trained network of classes (gradflow train --classes)", "one of classes",
         "gradflow train"}};

[[noreturn]] void refuse_kind(const std::map<std::string, std::string>& metadata, const std::string& key,
                              const std::string& source) {
  const auto& asked = *std::find_if(kinds.begin(), kinds.end(), [&](const Kind& k) { return k.key == key; });
  for (const Kind& kind : kinds)
    if (metadata.contains(kind.key))
      throw InputError(fmt::format("{}: {}, where {} is needed", source, kind.what, asked.wanted));
  throw InputError(fmt::format("{}: a safetensors file, but not a gradflow model ({} writes those)", source,
                               asked.writer));
}

}  // namespace

Array array_of(const Matrix& matrix) {
  Array array;
  array.shape = {matrix.rows(), matrix.cols()};
  array.values.resize(static_cast<std::size_t>(matrix.size()));
  using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  Eigen::Map<RowMajor>(array.values.data(), matrix.rows(), matrix.cols()) = matrix;
  return array;
}

Array array_of(const Vector& vector) { return {{vector.size()}, {vector.begin(), vector.end()}}; }

nlohmann::ordered_json number_or_null(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

Array TensorReader::take(const std::string& name, std::size_t rank) {
  const auto found = file_.tensors.find(name);
  if (found == file_.tensors.end()) fail(fmt::format("tensor '{}' is missing", name));
  if (found->second.shape.size() != rank)
    fail(fmt::format("tensor '{}' has {} dimensions, not {}", name, found->second.shape.size(), rank));
  for (const double value : found->second.values)
    if (!std::isfinite(value)) fail(fmt::format("tensor '{}' has the value {}", name, value));
  return std::move(found->second);
}

Vector TensorReader::vector(const std::string& name, Index size) {
  const Array array = take(name, 1);
  if (size >= 0 && array.size() != size)
    fail(fmt::format("tensor '{}' has length {}, not {}", name, array.size(), size));
  return array.as_vector(name);
}

Matrix TensorReader::matrix(const std::string& name, Index rows, Index cols) {
  const Array array = take(name, 2);
  if ((rows >= 0 && array.shape[0] != rows) || (cols >= 0 && array.shape[1] != cols))
    fail(fmt::format("tensor '{}' has shape ({}, {}), not ({}, {})", name, array.shape[0], array.shape[1],
                     rows < 0 ? array.shape[0] : rows, cols < 0 ? array.shape[1] : cols));
  return array.as_matrix(name);
}

void TensorReader::fail(const std::string& reason) const { refuse_damaged(source_, reason); }

void refuse_damaged(const std::string& source, const std::string& reason) {
  throw InputError(fmt::format("{}: damaged gradflow model: {}", source, reason));
}

nlohmann::json read_description(const std::map<std::string, std::string>& metadata, const std::string& key,
                                int newest, const std::string& source) {
  const auto found = metadata.find(key);
  if (found == metadata.end()) refuse_kind(metadata, key, source);
  nlohmann::json document = nlohmann::json::parse(found->second, nullptr, false);
  if (document.is_discarded())
    throw InputError(fmt::format("{}: damaged gradflow model: its description is not valid JSON", source));
  const FieldReader fields(document, source);
  const Index format = fields.count("format_version", 1 << 30);
  if (format > newest)
    throw InputError(fmt::format(
        "{} was written by gradflow {}, format {}; this program reads up to format {}: update gradflow",
        source, fields.text("gradflow_version"), format, newest));
  if (format < 1) fields.fail("format_version", ">= 1");
  return document;
}

void add_parameters(TensorFile& file, const std::string& prefix, const Parameters& parameters) {
  for (std::size_t layer = 0; layer < parameters.weights.size(); ++layer)
    file.tensors[fmt::format("{}.W{}", prefix, layer)] = array_of(parameters.weights[layer]);
  for (std::size_t layer = 0; layer < parameters.biases.size(); ++layer)
    file.tensors[fmt::format("{}.b{}", prefix, layer)] = array_of(parameters.biases[layer]);
}

Parameters read_parameters(const std::string& prefix, bool bias, Index layers, TensorReader& tensors) {
  Parameters parameters;
  for (Index layer = 0; layer < layers; ++layer) {
    parameters.weights.push_back(tensors.matrix(fmt::format("{}.W{}", prefix, layer), -1, -1));
    if (bias) parameters.biases.push_back(tensors.vector(fmt::format("{}.b{}", prefix, layer), -1));
  }
  return parameters;
}

void add_kernel(TensorFile& file, const KernelSource& kernel, Index d) {
  if (kernel.finite() != nullptr) add_parameters(file, "network", kernel.finite()->parameters());
  if (kernel.kernel() && is_scaled(*kernel.kernel()))
    file.tensors["relevances"] = array_of(relevances_of(*kernel.kernel(), d));
}

KernelSource read_kernel_source(const FieldReader& fields, Index d, TensorReader& tensors) {
  const std::string kind = fields.text("kind"), text = fields.text("text");
  if (kind == to_string(OperatorKind::infinite) && is_layered_kernel_text(text)) {
    LayeredKernel kernel = parse_layered_kernel(text);
    kernel.check(d);
    return KernelSource(std::move(kernel));
  }
  if (kind == to_string(OperatorKind::infinite))
    return KernelSource(read_kernel(text, fields.flag_or("relevances", false), d, tensors));
  if (kind != to_string(OperatorKind::finite)) fields.fail("kind", "finite, infinite or matrix");
  KernelSource source = read_network(text, fields.count("layers", most_layers), tensors);
  if (source.finite()->inputs() != d)
    tensors.fail(fmt::format("its network takes {} features, and its encoding gives {}",
                             source.finite()->inputs(), d));
  return source;
}

bool has_metadata(const std::string& path_name, const std::string& key) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path_name, ignored)) return false;  // a pipe is read only once
  try {
    return read_safetensors_metadata(path_name).contains(key);
  } catch (const InputError&) {
    return false;
  }
}

}  // namespace gradflow
