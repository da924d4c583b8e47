#include "cli/run_program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "gradflow/base/random.h"

namespace gradflow::cli_test {
namespace {

namespace fs = std::filesystem;

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

template <typename Number>
void append(std::string& bytes, Number value) {
  char raw[sizeof(Number)];
  std::memcpy(raw, &value, sizeof(Number));
  bytes.append(raw, sizeof(Number));
}

std::string zip_entry(std::uint32_t signature, const std::string& name, const std::string& data) {
  const auto crc = static_cast<std::uint32_t>(
      crc32(0, reinterpret_cast<const Bytef*>(data.data()), static_cast<uInt>(data.size())));
  std::string bytes;
  append(bytes, signature);
  if (signature == 0x02014b50) append<std::uint16_t>(bytes, 20);  // made by
  append<std::uint16_t>(bytes, 20);                               // needed to read
  append<std::uint16_t>(bytes, 0);                                // flags
  append<std::uint16_t>(bytes, 0);                                // stored
  append<std::uint32_t>(bytes, 0x00210000);                       // 1980-01-01
  append(bytes, crc);
  append(bytes, static_cast<std::uint32_t>(data.size()));
  append(bytes, static_cast<std::uint32_t>(data.size()));
  append(bytes, static_cast<std::uint16_t>(name.size()));
  append<std::uint16_t>(bytes, 0);  // extra
  return bytes;
}

}  // namespace

void redirect(const std::string& path, int descriptor) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (file < 0 || dup2(file, descriptor) < 0) _exit(125);
}

ProgramResult run_program(const std::string& folder, const std::vector<std::string>& arguments) {
  const TemporaryFolder capture;
  std::vector<std::string> words{GRADFLOW_PROGRAM};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const std::string out = capture / "out", err = capture / "err";
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child == 0) {
    if (chdir(folder.c_str()) != 0) _exit(125);
    redirect(out, STDOUT_FILENO);
    redirect(err, STDERR_FILENO);
    execv(GRADFLOW_PROGRAM, argv.data());
    _exit(126);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_file(out), read_file(err)};
}

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (fs::temp_directory_path() / "gradflow-test-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void TemporaryFolder::write(const std::string& name, std::string_view bytes) const {
  std::ofstream file(path_ + "/" + name, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

void TemporaryFolder::write_gzip(const std::string& name, std::string_view bytes) const {
  const gzFile file = gzopen((path_ + "/" + name).c_str(), "wb");
  gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
  gzclose(file);
}

std::string TemporaryFolder::read(const std::string& name) const { return read_file(path_ + "/" + name); }

bool TemporaryFolder::exists(const std::string& name) const { return fs::exists(path_ + "/" + name); }

std::vector<std::string> TemporaryFolder::names() const {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(path_))
    names.push_back(entry.path().filename());
  std::ranges::sort(names);
  return names;
}

std::string npy_bytes(const std::vector<Index>& shape, const std::vector<double>& values) {
  std::string header =
      fmt::format("{{'descr': '<f8', 'fortran_order': False, 'shape': ({},), }}", fmt::join(shape, ", "));
  header.append(64 - (10 + header.size() + 1) % 64, ' ');
  header += '\n';
  std::string bytes = "\x93NUMPY";
  bytes += '\x01';
  bytes += '\0';
  append(bytes, static_cast<std::uint16_t>(header.size()));
  bytes += header;
  for (const double value : values) append(bytes, value);
  return bytes;
}

std::string npy_bytes(const Matrix& matrix) {
  std::vector<double> values;
  for (Index i = 0; i < matrix.rows(); ++i)
    for (Index j = 0; j < matrix.cols(); ++j) values.push_back(matrix(i, j));
  return npy_bytes({matrix.rows(), matrix.cols()}, values);
}

std::string npy_bytes_vector(const Vector& vector) {
  return npy_bytes({vector.size()}, {vector.begin(), vector.end()});
}

std::string npz_bytes(const std::vector<std::pair<std::string, std::string>>& members) {
  std::string bytes, directory;
  for (const auto& [name, data] : members) {
    const std::string file_name = name + ".npy";
    directory += zip_entry(0x02014b50, file_name, data);
    append<std::uint16_t>(directory, 0);  // comment
    append<std::uint16_t>(directory, 0);  // disk
    append<std::uint16_t>(directory, 0);  // attributes
    append<std::uint32_t>(directory, 0);
    append(directory, static_cast<std::uint32_t>(bytes.size()));
    directory += file_name;
    bytes += zip_entry(0x04034b50, file_name, data) + file_name + data;
  }
  const auto start = static_cast<std::uint32_t>(bytes.size());
  bytes += directory;
  append<std::uint32_t>(bytes, 0x06054b50);
  append<std::uint32_t>(bytes, 0);
  append(bytes, static_cast<std::uint16_t>(members.size()));
  append(bytes, static_cast<std::uint16_t>(members.size()));
  append(bytes, static_cast<std::uint32_t>(directory.size()));
  append(bytes, start);
  append<std::uint16_t>(bytes, 0);
  return bytes;
}

SmallData small_data(Index n, std::uint64_t seed) {
  RandomStream random(seed, "small data");
  SmallData data{random.normals(n, 2), Vector(n)};
  for (Index i = 0; i < n; ++i)
    data.y(i) = 10.0 + 3.0 * std::sin(data.X(i, 0)) + data.X(i, 1) + 0.3 * random.normal();
  return data;
}

std::string csv_of(const SmallData& data, bool with_id, char delimiter) {
  const char d = delimiter;
  std::string text = fmt::format("{}x1{}x2{}y\n", with_id ? fmt::format("name{}", d) : "", d, d);
  for (Index i = 0; i < data.y.size(); ++i)
    text += fmt::format("{}{}{}{}{}{}\n", with_id ? fmt::format("r{}{}", i + 1, d) : "", data.X(i, 0), d,
                        data.X(i, 1), d, data.y(i));
  return text;
}

}  // namespace gradflow::cli_test
