#include "gradflow/model/memory.h"

#include <fstream>

#include "gradflow/base/error.h"

namespace gradflow {

double available_memory() {
  std::ifstream file("/proc/meminfo");
  std::string key, unit;
  double kilobytes = 0.0;
  while (file >> key >> kilobytes) {
    std::getline(file, unit);
    if (key == "MemAvailable:") return kilobytes * 1024.0;
  }
  return 0.0;
}

double memory_of(Index n, double copies) {
  const auto rows = static_cast<double>(n);
  return copies * rows * rows * 8.0;
}

void require_memory(Index n, double copies) {
  const double needed = memory_of(n, copies), available = available_memory();
  if (available > 0.0 && needed > available)
    throw InputError(fmt::format(
        "n = {} rows need about {:.3g} GB of memory ({:g} matrices of n x n), and this machine has {:.3g} GB "
        "available",
        n, needed / 1e9, copies, available / 1e9));
}

}  // namespace gradflow
