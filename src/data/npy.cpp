#include <algorithm>
#include <utility>

#include "data/file_bytes.h"
#include "data/scalar_type.h"
#include "data/text.h"
#include "gradflow/base/atomic_file.h"
#include "gradflow/base/error.h"
#include "gradflow/data/array_file.h"

// Format: numpy.lib.format, versions 1.0 to 3.0.

namespace gradflow {
namespace {

constexpr std::string_view magic("\x93NUMPY", 6);

struct Header {
  std::string type;
  bool fortran_order = false;
  std::vector<Index> shape;
};

/// The header is a Python dict literal with exactly the keys descr, fortran_order and shape.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& source) : text_(text), source_(source) {}

  Header parse() {
    Header header;
    bool has_type = false, has_order = false, has_shape = false;
    expect('{');
    while (!accept('}')) {
      const std::string key = string();
      expect(':');
      bool& seen = key == "descr" ? has_type : key == "fortran_order" ? has_order : has_shape;
      if (seen || (&seen == &has_shape && key != "shape")) fail();
      seen = true;
      if (key == "descr") header.type = type();
      if (key == "fortran_order") header.fortran_order = boolean();
      if (key == "shape") header.shape = shape();
      if (accept(',')) continue;
      expect('}');
      break;
    }
    skip_blanks();
    if (position_ != text_.size() || !has_type || !has_order || !has_shape) fail();
    return header;
  }

 private:
  [[noreturn]] void fail() const {
    throw InputError(fmt::format("{}: invalid NPY header {}", source_, shown(trim(text_))));
  }

  void skip_blanks() { position_ = std::min(text_.find_first_not_of(" \t\n", position_), text_.size()); }

  bool accept(char c) {
    skip_blanks();
    if (position_ == text_.size() || text_[position_] != c) return false;
    ++position_;
    return true;
  }

  void expect(char c) {
    if (!accept(c)) fail();
  }

  std::string string() {
    skip_blanks();
    if (position_ == text_.size() || (text_[position_] != '\'' && text_[position_] != '"')) fail();
    const std::size_t end = text_.find(text_[position_], position_ + 1);
    if (end == std::string_view::npos) fail();
    std::string value(text_.substr(position_ + 1, end - position_ - 1));
    position_ = end + 1;
    return value;
  }

  std::string type() {
    if (accept('['))
      throw InputError(fmt::format("{}: a structured dtype; a plain numeric array is required", source_));
    return string();
  }

  bool boolean() {
    skip_blanks();
    for (const std::string_view word : {"True", "False"}) {
      if (!text_.substr(position_).starts_with(word)) continue;
      position_ += word.size();
      return word == "True";
    }
    fail();
  }

  Index integer() {
    skip_blanks();
    Index value = 0;
    const std::size_t start = position_;
    for (; position_ < text_.size() && text_[position_] >= '0' && text_[position_] <= '9'; ++position_)
      if (__builtin_mul_overflow(value, 10, &value) ||
          __builtin_add_overflow(value, text_[position_] - '0', &value))
        fail();
    if (position_ == start) fail();
    if (position_ < text_.size() && text_[position_] == 'L') ++position_;  // written by Python 2
    return value;
  }

  std::vector<Index> shape() {
    std::vector<Index> dimensions;
    expect('(');
    while (!accept(')')) {
      dimensions.push_back(integer());
      if (accept(',')) continue;
      expect(')');
      break;
    }
    return dimensions;
  }

  std::string_view text_;
  const std::string& source_;
  std::size_t position_ = 0;
};

struct ElementType {
  ScalarType type;
  ByteOrder order;
};

ElementType element_type(const std::string& dtype, const std::string& source) {
  static const std::map<std::string, ScalarType> types = {
      {"b1", ScalarType::boolean}, {"i1", ScalarType::int8},    {"u1", ScalarType::uint8},
      {"i2", ScalarType::int16},   {"u2", ScalarType::uint16},  {"i4", ScalarType::int32},
      {"u4", ScalarType::uint32},  {"i8", ScalarType::int64},   {"u8", ScalarType::uint64},
      {"f2", ScalarType::float16}, {"f4", ScalarType::float32}, {"f8", ScalarType::float64}};
  const bool has_order = !dtype.empty() && std::string_view("<>|=").find(dtype[0]) != std::string_view::npos;
  const std::string kind = dtype.substr(has_order ? 1 : 0);
  if (kind == "O" || kind == "O8" || kind == "O4")
    throw InputError(
        fmt::format("{}: an array of Python objects (a pickle), which is never loaded; save it as a "
                    "numeric array, e.g. with .astype('float64')",
                    source));
  const auto found = types.find(kind);
  if (found == types.end())
    throw InputError(fmt::format(
        "{}: dtype {} is not supported; it must be bool, an integer or float16, float32 or float64", source,
        shown(dtype)));
  return {found->second, has_order && dtype[0] == '>' ? ByteOrder::big : ByteOrder::little};
}

// The header's text, and the array's bytes behind it.
std::pair<std::string_view, std::string_view> split(std::string_view bytes, const std::string& source) {
  if (bytes.starts_with("PK\x03\x04"))
    throw InputError(fmt::format("{}: an NPZ archive, where a single NPY array is required", source));
  if (!bytes.starts_with(magic.substr(0, std::min(magic.size(), bytes.size()))))
    throw InputError(fmt::format("{}: not an NPY file", source));
  const auto truncated = [&] {
    return InputError(
        fmt::format("{}: the file ends inside the NPY header, at byte {}", source, bytes.size()));
  };
  if (bytes.size() < magic.size() + 4) throw truncated();
  const int version = static_cast<unsigned char>(bytes[6]);
  require(version >= 1 && version <= 3, source + ": NPY version", version, "must be 1, 2 or 3");
  const std::size_t width = version == 1 ? 2 : 4;
  const std::size_t start = magic.size() + 2 + width;
  if (bytes.size() < start) throw truncated();
  const std::uint64_t length = little_endian(bytes.substr(start - width), width);
  if (length > bytes.size() - start) throw truncated();
  return {bytes.substr(start, length), bytes.substr(start + length)};
}

// C order from Fortran order: the last dimension becomes the fastest.
std::vector<double> transposed(const std::vector<double>& values, const std::vector<Index>& shape) {
  std::vector<double> result(values.size());
  std::vector<Index> at(shape.size(), 0);
  for (const double value : values) {
    Index offset = 0;
    for (std::size_t k = 0; k < shape.size(); ++k) offset = offset * shape[k] + at[k];
    result[static_cast<std::size_t>(offset)] = value;
    for (std::size_t k = 0; k < shape.size() && ++at[k] == shape[k]; ++k) at[k] = 0;
  }
  return result;
}

std::string header_bytes(const std::vector<Index>& shape) {
  std::string header =
      fmt::format("{{'descr': '<f8', 'fortran_order': False, 'shape': {}, }}", shape_text(shape));
  constexpr std::size_t alignment = 64, before = 10;
  header.append(alignment - 1 - (before + header.size()) % alignment, ' ');
  header += '\n';
  return std::string(magic) + std::string("\x01\x00", 2) + little_endian_bytes(header.size(), 2) + header;
}

}  // namespace

Array parse_npy(std::string_view bytes, const std::string& source) {
  const auto [header_text, data] = split(bytes, source);
  Header header = HeaderParser(header_text, source).parse();
  const ElementType element = element_type(header.type, source);
  const std::optional<Index> count = element_count(header.shape);
  const std::size_t size = scalar_size(element.type);
  const std::size_t present = data.size() / size;
  if (!count || static_cast<std::size_t>(*count) > present)
    throw InputError(
        fmt::format("{}: truncated: shape {} of {}-byte elements needs more than the {} bytes present",
                    source, shape_text(header.shape), size, data.size()));
  const std::size_t used = static_cast<std::size_t>(*count) * size;
  if (used != data.size())
    throw InputError(fmt::format("{}: {} after the end of the array of shape {}", source,
                                 counted(static_cast<long>(data.size() - used), "byte"),
                                 shape_text(header.shape)));
  Array array{std::move(header.shape), std::vector<double>(static_cast<std::size_t>(*count))};
  decode_scalars(element.type, element.order, data, array.values.data());
  if (header.fortran_order && array.shape.size() > 1) array.values = transposed(array.values, array.shape);
  return array;
}

Array read_npy(const std::string& path) { return parse_npy(read_file_bytes(path), path); }

Matrix Array::as_matrix(const std::string& name) const {
  using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  if (shape.size() != 1 && shape.size() != 2)
    throw InputError(fmt::format("{} has shape {}: must be a matrix (rows, columns) or a vector", name,
                                 shape_text(shape)));
  return Eigen::Map<const RowMajor>(values.data(), shape[0], shape.size() == 2 ? shape[1] : 1);
}

Vector Array::as_vector(const std::string& name) const {
  if (shape.size() != 1 && !(shape.size() == 2 && (shape[0] == 1 || shape[1] == 1)))
    throw InputError(
        fmt::format("{} has shape {}: must be a vector: (n,), (n, 1) or (1, n)", name, shape_text(shape)));
  return Eigen::Map<const Vector>(values.data(), size());
}

void write_npy(const std::string& path, ConstBlock matrix) {
  AtomicFile file(path);
  file.write(header_bytes({matrix.rows(), matrix.cols()}));
  // Rows in blocks: a column-major matrix read row by row would touch a cache line per element.
  constexpr Index block = 64;
  for (Index first = 0; matrix.cols() > 0 && first < matrix.rows(); first += block) {
    const Matrix rows = matrix.middleRows(first, std::min(block, matrix.rows() - first)).transpose();
    file.write(float64_bytes(rows.data(), static_cast<std::size_t>(rows.size())));
  }
  file.commit();
}

void write_npy_vector(const std::string& path, ConstVector vector) {
  AtomicFile file(path);
  file.write(header_bytes({vector.size()}));
  file.write(float64_bytes(vector.data(), static_cast<std::size_t>(vector.size())));
  file.commit();
}

}  // namespace gradflow
