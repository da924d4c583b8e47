#pragma once

#include <string>

#include "gradflow/base/types.h"

namespace gradflow {

/// Bytes of memory that this process can still get, or 0 where that cannot be known: the least of what the
/// machine has (MemAvailable), what its control group allows and what a limit on its address space leaves
/// beside what threads() threads take of it.
double available_memory();

/// Throws InputError when a limit on the address space (ulimit -v) leaves less than what threads() threads
/// take of it before any data: the linear algebra would wait forever for its work area.
void require_address_space();

/// Bytes of `copies` matrices of n x n doubles.
double memory_of(Index n, double copies);

/// Throws InputError naming n and the bytes when `copies` matrices of n x n doubles exceed the machine's
/// memory. The user learns it before the work, not from the system in the middle of it.
void require_memory(Index n, double copies);

}  // namespace gradflow
