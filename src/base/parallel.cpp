#include "gradflow/base/parallel.h"

#include <cblas.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "gradflow/base/error.h"

namespace gradflow {
namespace {

constexpr int most_threads = 4096;  // beyond: a slip

// The first number of OMP_NUM_THREADS (a list has one for each level of nesting); 0 where it holds none.
int threads_of_environment() {
  const char* const text = std::getenv("OMP_NUM_THREADS");
  if (text == nullptr) return 0;
  int count = 0;
  const char* const end = text + std::strlen(text);
  const auto [rest, error] = std::from_chars(text, end, count);
  const bool whole = error == std::errc() && (rest == end || *rest == ',');
  return whole && count >= 1 && count <= most_threads ? count : 0;
}

int default_threads() {
  if (const int count = threads_of_environment(); count > 0) return count;
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
}

std::atomic<int> configured_threads{0};

std::mutex serial_blas_mutex;
int serial_blas_count = 0;  // guarded by the mutex

}  // namespace

void set_threads(int count) {
  require(count >= 0, "threads", count, "must be >= 1, or 0 for all cores");
  const int used = count == 0 ? default_threads() : count;
  configured_threads = used;
  const std::lock_guard lock(serial_blas_mutex);
  if (serial_blas_count == 0) openblas_set_num_threads(used);
}

int threads() noexcept {
  static const int standard = default_threads();
  const int count = configured_threads;
  return count > 0 ? count : standard;
}

SerialBlas::SerialBlas() {
  const std::lock_guard lock(serial_blas_mutex);
  if (serial_blas_count++ == 0) openblas_set_num_threads(1);
}

SerialBlas::~SerialBlas() {
  const std::lock_guard lock(serial_blas_mutex);
  if (--serial_blas_count == 0) openblas_set_num_threads(threads());
}

void parallel_for(Index count, Index block, const std::function<void(Index, Index)>& body) {
  const Index blocks = (count + block - 1) / block;
  const auto workers = static_cast<std::size_t>(std::min<Index>(threads(), blocks));
  std::atomic<Index> next{0};
  std::exception_ptr failure;
  std::mutex failure_mutex;
  const auto work = [&] {
    for (Index b = next++; b < blocks; b = next++) {
      try {
        body(b * block, std::min(count, (b + 1) * block));
      } catch (...) {
        const std::lock_guard lock(failure_mutex);
        if (!failure) failure = std::current_exception();
        next = blocks;
      }
    }
  };
  std::vector<std::jthread> helpers;
  for (std::size_t i = 1; i < workers; ++i) helpers.emplace_back(work);
  work();
  helpers.clear();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace gradflow
