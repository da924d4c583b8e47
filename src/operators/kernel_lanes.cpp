#include "operators/kernel_lanes.h"

#include <algorithm>
#include <atomic>

namespace gradflow::lanes {
namespace {

Level widest_supported() noexcept {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return Level::baseline;
  for (const bool supported :
       {__builtin_cpu_supports("avx512f") != 0, __builtin_cpu_supports("avx512dq") != 0,
        __builtin_cpu_supports("avx512vl") != 0, __builtin_cpu_supports("avx512bw") != 0})
    if (!supported) return Level::avx2;
  return Level::avx512;
#else
  return Level::baseline;
#endif
}

std::atomic<Level> widest_allowed{Level::avx512};

}  // namespace

Level level() noexcept {
  static const Level supported = widest_supported();
  return std::min(supported, widest_allowed.load(std::memory_order_relaxed));
}

void limit(Level widest) noexcept { widest_allowed = widest; }

}  // namespace gradflow::lanes
