#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gradflow/base/types.h"

namespace gradflow::cli_test {

using Words = std::vector<std::string>;

/// The first words, then the others.
inline Words with(Words first, const Words& second, const Words& third = {}) {
  first.insert(first.end(), second.begin(), second.end());
  first.insert(first.end(), third.begin(), third.end());
  return first;
}

struct ProgramResult {
  int exit_code = -1;  ///< -1 when the program died of a signal
  std::string out;
  std::string err;
};

/// Runs the program in `folder` with these arguments; no shell is involved.
ProgramResult run_program(const std::string& folder, const std::vector<std::string>& arguments);

/// In a process that was just forked: what goes to this descriptor goes to a file.
void redirect(const std::string& path, int descriptor);

/// A folder of its own under the system's temporary folder, removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  void write(const std::string& name, std::string_view bytes) const;
  void write_gzip(const std::string& name, std::string_view bytes) const;
  std::string read(const std::string& name) const;
  bool exists(const std::string& name) const;
  std::vector<std::string> names() const;  ///< sorted

 private:
  std::string path_;
};

/// The bytes of an NPY file, little-endian float64, C order.
std::string npy_bytes(const std::vector<Index>& shape, const std::vector<double>& values);
std::string npy_bytes(const Matrix& matrix);
std::string npy_bytes_vector(const Vector& vector);

/// The bytes of an NPZ file with stored members.
std::string npz_bytes(const std::vector<std::pair<std::string, std::string>>& members);

/// n rows of x1, x2, y with y a smooth function of x and a little noise, as CSV; `id` adds a first column r1,
/// r2...
struct SmallData {
  Matrix X;
  Vector y;
};
SmallData small_data(Index n, std::uint64_t seed = 1);
std::string csv_of(const SmallData& data, bool with_id = false, char delimiter = ',');

}  // namespace gradflow::cli_test
