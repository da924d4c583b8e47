#include "gradflow/data/safetensors.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "data/file_bytes.h"
#include "data/scalar_type.h"
#include "data/text.h"
#include "gradflow/base/atomic_file.h"
#include "gradflow/base/error.h"

// Format: 8 bytes N (little-endian), N bytes of JSON, then the data. The JSON maps each tensor's name to its
// dtype, shape and data_offsets [begin, end) within the data, and "__metadata__" to strings. The tensors
// cover the data without holes or overlaps. Source: huggingface/safetensors, README, "Format".

namespace gradflow {
namespace {

using nlohmann::json;

constexpr std::uint64_t longest_header = 100'000'000;  // the reference implementation's limit
constexpr std::size_t length_bytes = 8;

struct Reader {
  const std::string& source;

  [[noreturn]] void fail(const std::string& reason) const {
    throw InputError(fmt::format("{}: not a usable safetensors file: {}", source, reason));
  }
  void check(bool condition, const std::string& reason) const {
    if (!condition) fail(reason);
  }
};

// From the first bytes of a file of `size` bytes.
std::uint64_t header_length(std::string_view first, std::uint64_t size, const Reader& reader) {
  reader.check(first.size() >= length_bytes, fmt::format("{} bytes are too few", first.size()));
  const std::uint64_t length = little_endian(first, length_bytes);
  reader.check(length <= longest_header,
               fmt::format("its header length {} exceeds the limit of {} bytes", length, longest_header));
  reader.check(length <= size - length_bytes,
               fmt::format("its header of {} bytes ends beyond the file of {} bytes", length, size));
  return length;
}

// The file's parts: header and data.
std::pair<std::string_view, std::string_view> split(std::string_view bytes, const Reader& reader) {
  const std::uint64_t length = header_length(bytes, bytes.size(), reader);
  bytes.remove_prefix(length_bytes);
  return {bytes.substr(0, length), bytes.substr(length)};
}

json parse_header(std::string_view text, const Reader& reader) {
  reader.check(text.starts_with('{'), "its header does not begin with '{'");
  std::set<std::string> names;
  const auto refuse_duplicates = [&](int depth, json::parse_event_t event, json& value) {
    if (event == json::parse_event_t::key && depth == 1 && !names.insert(value.get<std::string>()).second)
      reader.fail(fmt::format("the name {} occurs twice", shown(value.get<std::string>())));
    return true;
  };
  try {
    return json::parse(text.begin(), text.end(), refuse_duplicates);
  } catch (const json::exception&) {
    reader.fail("its header is not valid JSON");
  }
}

Index dimension(const json& value, const std::string& what, const Reader& reader) {
  reader.check(
      value.is_number_unsigned() &&
          value.get<std::uint64_t>() <= static_cast<std::uint64_t>(std::numeric_limits<Index>::max()),
      what + " must hold nonnegative integers");
  return value.get<Index>();
}

std::vector<Index> dimensions(const json& tensor, const char* key, const std::string& name,
                              const Reader& reader) {
  const std::string what = fmt::format("'{}' of tensor {}", key, shown(name));
  const auto found = tensor.find(key);
  reader.check(found != tensor.end() && found->is_array(), what + " must be an array");
  std::vector<Index> values;
  for (const json& value : *found) values.push_back(dimension(value, what, reader));
  return values;
}

ScalarType scalar_type(const json& tensor, const std::string& name, const Reader& reader) {
  static const std::map<std::string, ScalarType> types = {
      {"BOOL", ScalarType::boolean}, {"I8", ScalarType::int8},       {"U8", ScalarType::uint8},
      {"I16", ScalarType::int16},    {"U16", ScalarType::uint16},    {"I32", ScalarType::int32},
      {"U32", ScalarType::uint32},   {"I64", ScalarType::int64},     {"U64", ScalarType::uint64},
      {"F16", ScalarType::float16},  {"BF16", ScalarType::bfloat16}, {"F32", ScalarType::float32},
      {"F64", ScalarType::float64}};
  const auto found = tensor.find("dtype");
  reader.check(found != tensor.end() && found->is_string(),
               fmt::format("tensor {} has no dtype", shown(name)));
  const auto type = types.find(found->get<std::string>());
  reader.check(type != types.end(), fmt::format("tensor {} has the unknown dtype {}", shown(name),
                                                shown(found->get<std::string>())));
  return type->second;
}

struct TensorEntry {
  std::string name;
  ScalarType type;
  std::vector<Index> shape;
  Index begin, end;  // bytes of the data
};

TensorEntry read_entry(const std::string& name, const json& description, std::size_t data_size,
                       const Reader& reader) {
  reader.check(description.is_object(), fmt::format("tensor {} is not described by an object", shown(name)));
  const ScalarType type = scalar_type(description, name, reader);
  std::vector<Index> shape = dimensions(description, "shape", name, reader);
  const std::vector<Index> offsets = dimensions(description, "data_offsets", name, reader);
  reader.check(offsets.size() == 2 && offsets[0] <= offsets[1],
               fmt::format("'data_offsets' of tensor {} must be [begin, end]", shown(name)));
  reader.check(
      static_cast<std::size_t>(offsets[1]) <= data_size,
      fmt::format("tensor {} ends at byte {} of {} bytes of data", shown(name), offsets[1], data_size));
  const std::optional<Index> count = element_count(shape);
  const Index bytes = offsets[1] - offsets[0];
  const auto size = static_cast<Index>(scalar_size(type));
  reader.check(
      count && bytes % size == 0 && *count == bytes / size,
      fmt::format("tensor {} of shape {} has {} bytes of data", shown(name), shape_text(shape), bytes));
  return {name, type, std::move(shape), offsets[0], offsets[1]};
}

void check_cover(std::vector<TensorEntry>& entries, std::size_t data_size, const Reader& reader) {
  std::sort(entries.begin(), entries.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  Index covered = 0;
  for (const TensorEntry& entry : entries) {
    reader.check(entry.begin >= covered, fmt::format("tensor {} overlaps another", shown(entry.name)));
    reader.check(entry.begin == covered,
                 fmt::format("bytes {} to {} of the data belong to no tensor", covered, entry.begin));
    covered = entry.end;
  }
  reader.check(static_cast<std::size_t>(covered) == data_size,
               fmt::format("bytes {} to {} of the data belong to no tensor", covered, data_size));
}

Array decode(TensorEntry& entry, std::string_view data) {
  const std::string_view bytes =
      data.substr(static_cast<std::size_t>(entry.begin), static_cast<std::size_t>(entry.end - entry.begin));
  Array tensor{std::move(entry.shape), std::vector<double>(bytes.size() / scalar_size(entry.type))};
  decode_scalars(entry.type, ByteOrder::little, bytes, tensor.values.data());
  return tensor;
}

void read_metadata(const json& value, const Reader& reader, TensorFile& file) {
  reader.check(value.is_object(), "'__metadata__' must be an object");
  for (const auto& [key, text] : value.items()) {
    reader.check(text.is_string(), fmt::format("the metadata {} must be a string", shown(key)));
    file.metadata[key] = text.get<std::string>();
  }
}

json header_of(const TensorFile& file) {
  json header = json::object();
  if (!file.metadata.empty()) header["__metadata__"] = file.metadata;
  std::size_t offset = 0;
  for (const auto& [name, tensor] : file.tensors) {
    if (name == "__metadata__") throw InputError("a tensor may not be named '__metadata__'");
    const std::optional<Index> count = element_count(tensor.shape);
    if (count != tensor.size())
      throw InputError(fmt::format("tensor {} has shape {} and {} values", shown(name),
                                   shape_text(tensor.shape), tensor.size()));
    const std::size_t end = offset + tensor.values.size() * sizeof(double);
    header[name] = {{"dtype", "F64"}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  return header;
}

// The length of the header and the header, padded.
std::string start_of(const TensorFile& file, const std::string& source) {
  std::string header;
  try {
    header = header_of(file).dump();
  } catch (const json::exception&) {
    throw InputError(fmt::format("{}: a tensor's name or the metadata are not UTF-8 text", source));
  }
  require(header.size() <= longest_header, source + ": header length", header.size(),
          "must be at most 100 MB");
  header.append((length_bytes - header.size() % length_bytes) % length_bytes, ' ');
  std::string start(little_endian_bytes(header.size(), length_bytes));
  return start.append(header);
}

}  // namespace

TensorFile parse_safetensors(std::string_view bytes, const std::string& source) {
  const Reader reader{source};
  const auto [header_text, data] = split(bytes, reader);
  const json header = parse_header(header_text, reader);
  TensorFile file;
  std::vector<TensorEntry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") {
      read_metadata(value, reader, file);
    } else {
      entries.push_back(read_entry(name, value, data.size(), reader));
    }
  }
  check_cover(entries, data.size(), reader);
  for (TensorEntry& entry : entries) file.tensors.emplace(entry.name, decode(entry, data));
  return file;
}

TensorFile read_safetensors(const std::string& path) {
  return parse_safetensors(read_file_bytes(path), path);
}

std::map<std::string, std::string> read_safetensors_metadata(const std::string& path) {
  const Reader reader{path};
  std::error_code error;
  const std::uint64_t size = std::filesystem::file_size(path, error);
  std::ifstream stream(path, std::ios::binary);
  if (error || !stream) throw FileError(fmt::format("cannot read '{}'", path));
  std::string bytes(std::min<std::uint64_t>(size, length_bytes), '\0');
  stream.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  const std::uint64_t length = header_length(bytes, size, reader);
  bytes.resize(length);
  if (!stream.read(bytes.data(), static_cast<std::streamsize>(length)))
    throw FileError(fmt::format("cannot read '{}'", path));
  const json header = parse_header(bytes, reader);
  TensorFile file;
  if (const auto metadata = header.find("__metadata__"); metadata != header.end())
    read_metadata(*metadata, reader, file);
  return file.metadata;
}

void write_safetensors(const std::string& path, const TensorFile& file) {
  const std::string start = start_of(file, path);
  AtomicFile output(path);
  output.write(start);
  for (const auto& [name, tensor] : file.tensors)
    output.write(float64_bytes(tensor.values.data(), tensor.values.size()));
  output.commit();
}

std::string safetensors_bytes(const TensorFile& file, const std::string& source) {
  std::string bytes = start_of(file, source);
  for (const auto& [name, tensor] : file.tensors)
    bytes.append(float64_bytes(tensor.values.data(), tensor.values.size()));
  return bytes;
}

}  // namespace gradflow
