#pragma once

#include <functional>

#include "gradflow/base/types.h"

namespace gradflow {

/// Number of threads used by gradflow's own loops and by BLAS. Set once, before work starts.
/// count >= 1, or 0 for the default: OMP_NUM_THREADS of the environment (the first number of a list; passed
/// over unless it is from 1 to 4096), else the number of cores that this process may use. Throws InputError
/// below 0.
void set_threads(int count);
int threads() noexcept;

/// Calls body(begin, end) on consecutive blocks of [0, count), each of `block` items (the last may be
/// shorter), on threads() threads. The blocks do not depend on the number of threads, so a body that writes
/// only its own items gives the same bits for any number of threads. The first exception is rethrown.
/// Not for bodies that call BLAS, which has its own threads, unless a SerialBlas lives.
void parallel_for(Index count, Index block, const std::function<void(Index begin, Index end)>& body);

/// BLAS runs on the calling thread while one of these lives, so that bodies of parallel_for may call it; the
/// last to go restores threads(). The number of BLAS threads is one setting of the whole process.
class SerialBlas {
 public:
  SerialBlas();
  ~SerialBlas();
  SerialBlas(const SerialBlas&) = delete;
  SerialBlas& operator=(const SerialBlas&) = delete;
};

}  // namespace gradflow
