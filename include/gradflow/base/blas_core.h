#pragma once

#include <string>

namespace gradflow {

/// The processor core whose kernels OpenBLAS computes with, by its own name: "Haswell", "SkylakeX", ...
std::string blas_core();

/// A core with wider instructions than those of `core` that this processor has, by the name that
/// OPENBLAS_CORETYPE takes: "SkylakeX" (AVX-512) or "Haswell" (AVX2 and FMA); empty where there is none. An
/// OpenBLAS that is older than the processor takes it for a core of 2004 (Prescott, SSE3): its products then
/// run at a fifth of the speed. Only cores without AVX2 are ever replaced.
std::string wider_blas_core(const std::string& core);

/// For the first line of a program: runs it anew, with its arguments, where there is a wider core and the
/// environment has no OPENBLAS_CORETYPE, which OpenBLAS reads once, as it is loaded. Returns where there is
/// nothing to gain, or where the program cannot be run anew. Linux only; cost some milliseconds.
void restart_with_wider_blas();

}  // namespace gradflow
