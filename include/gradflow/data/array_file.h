#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "gradflow/base/types.h"

namespace gradflow {

/// An array of any rank, converted to float64, C order.
struct Array {
  std::vector<Index> shape;
  std::vector<double> values;  ///< product of shape

  Index size() const noexcept { return static_cast<Index>(values.size()); }
  /// n x d; a 1-d array becomes n x 1. Throws InputError "NAME has shape (..): must be ..." for other ranks.
  Matrix as_matrix(const std::string& name) const;
  /// n; (n, 1) and (1, n) are accepted.
  Vector as_vector(const std::string& name) const;
};

/// NPY format versions 1 to 3: little- or big-endian float16/32/64, integers, bool; C or Fortran order.
/// Throws InputError naming the file and the reason: not an NPY file, truncated, bytes after the array,
/// object dtype, structured dtype... Integers beyond 2^53 are rounded to float64. Nothing is allocated before
/// the declared shape has been held against the number of bytes present.
Array read_npy(const std::string& path);
Array parse_npy(std::string_view bytes, const std::string& source);
/// All arrays of an NPZ (stored or deflated members; ZIP64; checksums verified), by name without ".npy".
/// Members of other names are ignored.
std::map<std::string, Array> read_npz(const std::string& path);
std::map<std::string, Array> parse_npz(std::string_view bytes, const std::string& source);

/// float64, C order, written atomically.
void write_npy(const std::string& path, ConstBlock matrix);
void write_npy_vector(const std::string& path, ConstVector vector);

}  // namespace gradflow
