#include "gradflow/base/blas_core.h"

#include <cblas.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string_view>
#include <system_error>
#include <vector>

namespace gradflow {
namespace {

constexpr const char* variable = "OPENBLAS_CORETYPE";

// Of OpenBLAS on x86-64 without AVX2.
constexpr std::array<std::string_view, 10> narrow_cores{
    "Prescott", "Core2", "Penryn", "Dunnington", "Nehalem", "Athlon", "Opteron", "Nano", "Atom", "Generic"};

// Words of the program's command line; empty where it cannot be read.
std::vector<std::string> command_line() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  std::vector<std::string> words;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\0', begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

}  // namespace

std::string blas_core() { return openblas_get_corename(); }

std::string wider_blas_core(const std::string& core) {
#if defined(__x86_64__)
  if (std::find(narrow_cores.begin(), narrow_cores.end(), core) == narrow_cores.end()) return {};
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512cd"))
    return "SkylakeX";
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return "Haswell";
#endif
  return {};
}

void restart_with_wider_blas() {
  if (std::getenv(variable) != nullptr) return;
  const std::string core = wider_blas_core(blas_core());
  if (core.empty()) return;
  std::error_code unreadable;
  const std::string program = std::filesystem::read_symlink("/proc/self/exe", unreadable).string();
  std::vector<std::string> words = command_line();
  if (unreadable || words.empty()) return;
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  setenv(variable, core.c_str(), 1);
  execv(program.c_str(), arguments.data());
  unsetenv(variable);
}

}  // namespace gradflow
