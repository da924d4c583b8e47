#pragma once

#include <map>
#include <string>
#include <string_view>

#include "gradflow/data/array_file.h"

namespace gradflow {

/// A safetensors file: named float64 tensors and string metadata.
struct TensorFile {
  std::map<std::string, Array> tensors;
  std::map<std::string, std::string> metadata;
};

/// Reads F64, F32, F16, BF16, integer and BOOL tensors (converted to float64). Throws InputError naming the
/// file and what is wrong: too short, header length beyond the file, invalid JSON, offsets outside or
/// overlapping or not covering the data, shape and byte length that disagree, unknown dtype.
TensorFile read_safetensors(const std::string& path);
TensorFile parse_safetensors(std::string_view bytes, const std::string& source);
/// The metadata alone, from the header of a regular file: the tensors are neither read nor checked. Throws
/// InputError as read_safetensors() of a header.
std::map<std::string, std::string> read_safetensors_metadata(const std::string& path);

/// Writes F64 tensors in the order of their names, atomically; the header is padded with spaces to a multiple
/// of 8 bytes, so that the data are aligned. Throws InputError for a tensor whose shape and number of values
/// disagree and for names or metadata that are not UTF-8.
void write_safetensors(const std::string& path, const TensorFile& file);

/// The bytes of that file; `source` is what messages call it.
std::string safetensors_bytes(const TensorFile& file, const std::string& source);

}  // namespace gradflow
