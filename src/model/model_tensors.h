#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "gradflow/base/error.h"
#include "gradflow/data/safetensors.h"
#include "gradflow/model/operator_spec.h"
#include "model/recipe_json.h"

/// What the model files have in common: one safetensors file, arrays as tensors, all else as JSON.
namespace gradflow {

/// Metadata keys of the kinds of models.
inline constexpr const char* fitted_model_key = "gradflow_model";
inline constexpr const char* class_model_key = "gradflow_class_model";
inline constexpr const char* trained_key = "gradflow_trained";
inline constexpr const char* trained_classes_key = "gradflow_trained_classes";
/// Metadata key of the run that fitted the model, either kind's; absent where it was not kept.
inline constexpr const char* run_key = "gradflow_run";

Array array_of(const Matrix& matrix);
Array array_of(const Vector& vector);
nlohmann::ordered_json number_or_null(double value);

/// Takes the file's tensors one by one, holding each to its shape and to finite values.
class TensorReader {
 public:
  TensorReader(TensorFile& file, const std::string& source) : file_(file), source_(source) {}

  Vector vector(const std::string& name, Index size);              ///< any length where size < 0
  Matrix matrix(const std::string& name, Index rows, Index cols);  ///< any where negative
  bool has(const std::string& name) const { return file_.tensors.contains(name); }
  [[noreturn]] void fail(const std::string& reason) const;

 private:
  Array take(const std::string& name, std::size_t rank);

  TensorFile& file_;
  const std::string& source_;
};

/// Runs `read`, with its errors as those of a model; what a user asked for is a model, whatever the format
/// beneath it.
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

/// Throws InputError: the model's file is damaged, and why.
[[noreturn]] void refuse_damaged(const std::string& source, const std::string& reason);

/// The result of `read`; what it refuses without naming the file is refused as a part of that file.
template <typename Read>
auto naming_file(const std::string& source, Read read) {
  try {
    return read();
  } catch (const InputError& error) {
    const std::string message = error.what();
    if (message.find(source) != std::string::npos) throw;
    refuse_damaged(source, message);
  }
}

/// Whether a regular file is a safetensors file with this metadata key; reads its header alone.
bool has_metadata(const std::string& path_name, const std::string& key);

/// The JSON under `key`, one of the above. Throws InputError: no such key (a model of another kind is named
/// as what it is), no JSON, a format newer than `newest`.
nlohmann::json read_description(const std::map<std::string, std::string>& metadata, const std::string& key,
                                int newest, const std::string& source);

void add_parameters(TensorFile& file, const std::string& prefix, const Parameters& parameters);
Parameters read_parameters(const std::string& prefix, bool bias, Index layers, TensorReader& tensors);

/// A kernel's tensors: a network's weights, or a sum's relevances where it has some; d features.
void add_kernel(TensorFile& file, const KernelSource& kernel, Index d);
/// The kernel that the fields kind, text, layers (of a network) and relevances (whether there are) describe.
KernelSource read_kernel_source(const FieldReader& fields, Index d, TensorReader& tensors);

}  // namespace gradflow
