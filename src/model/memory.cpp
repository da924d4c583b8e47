#include "gradflow/model/memory.h"

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>

#include "base/special_values.h"
#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"

namespace gradflow {

namespace {

// Addresses that a thread takes beside its data. OpenBLAS maps a work area of 128 MB for each of its own
// threads and of those that call it, and waits forever when that is refused; the allocator reserves 64 MB.
constexpr double addresses_per_thread = (2.0 * 128.0 + 64.0) * 1024.0 * 1024.0;

// The number after `key` in a file of "key: value" lines, in bytes for kB; infinite when absent.
double field_of(const char* path, const std::string& key) {
  std::ifstream file(path);
  std::string line, name, unit;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    double value = 0.0;
    if (!(words >> name) || name != key) continue;
    if (!(words >> value)) break;
    words >> unit;
    return value * (unit == "kB" ? 1024.0 : 1.0);
  }
  return infinity;
}

// The whole file as one number; infinite when absent or "max".
double number_in(const std::string& path) {
  std::ifstream file(path);
  double value = 0.0;
  return file >> value ? value : infinity;
}

// What the control group of this process still allows (version 2; the root group has no limit).
double left_in_group() {
  std::ifstream file("/proc/self/cgroup");
  std::string line;
  while (std::getline(file, line)) {
    if (!line.starts_with("0::")) continue;
    const std::string folder = "/sys/fs/cgroup" + line.substr(3);
    return number_in(folder + "/memory.max") - number_in(folder + "/memory.current");
  }
  return infinity;
}

// What a limit on the address space (ulimit -v) still allows; may be negative.
double left_in_address_space() {
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return infinity;
  const double used = field_of("/proc/self/status", "VmSize:");
  return static_cast<double>(limit.rlim_cur) - (std::isfinite(used) ? used : 0.0);
}

double addresses_of_threads() { return addresses_per_thread * static_cast<double>(threads()); }

}  // namespace

double available_memory() {
  double available = field_of("/proc/meminfo", "MemAvailable:");
  for (const double left : {left_in_group(), left_in_address_space() - addresses_of_threads()})
    if (!std::isnan(left)) available = std::min(available, std::max(left, 1.0));
  return std::isfinite(available) ? available : 0.0;
}

void require_address_space() {
  const double left = left_in_address_space(), needed = addresses_of_threads();
  if (left < needed)
    throw InputError(fmt::format(
        "the limit on the address space (ulimit -v) leaves {:.2g} GB, and {} take {:.2g} GB before "
        "any data: raise the limit{}",
        std::max(left, 0.0) / 1e9, threads() == 1 ? "1 thread" : fmt::format("{} threads", threads()),
        needed / 1e9, threads() == 1 ? "" : " or give --threads 1"));
}

double memory_of(Index n, double copies) {
  const auto rows = static_cast<double>(n);
  return copies * rows * rows * 8.0;
}

void require_memory(Index n, double copies) {
  require_address_space();
  const double needed = memory_of(n, copies), available = available_memory();
  if (available > 0.0 && needed > available)
    throw InputError(fmt::format(
        "n = {} rows need about {:.3g} GB of memory ({:g} matrices of n x n), and this machine has {:.3g} GB "
        "available",
        n, needed / 1e9, copies, available / 1e9));
}

}  // namespace gradflow
