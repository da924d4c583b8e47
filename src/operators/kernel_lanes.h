#pragma once

#include <type_traits>

/// Loops compiled several times, for the vector registers that a processor may have, and chosen while the
/// program runs: nothing but the code inside dispatch() needs more than the compiler's baseline.
namespace gradflow::lanes {

enum class Level { baseline, avx2, avx512 };  ///< vectors of 16, 32 (with FMA) and 64 bytes

/// The widest level of this processor, at most the limit.
Level level() noexcept;
/// Nothing wider than this from now on: for tests and measurements. Not while work is running.
void limit(Level widest) noexcept;

/// Calls body(width) with width a std::integral_constant of the bytes in a vector. The body must be a lambda
/// declared always_inline, and so must all that it calls in its loops: it is compiled once per level.
template <typename Body>
void dispatch(const Body& body);

#if defined(__x86_64__)

#if defined(__clang__)
#define GRADFLOW_AVX512 "avx512f,avx512dq,avx512vl,avx512bw,avx2,fma"
#else
#define GRADFLOW_AVX512 "avx512f,avx512dq,avx512vl,avx512bw,avx2,fma,prefer-vector-width=512"
#endif

template <typename Body>
[[gnu::target(GRADFLOW_AVX512)]] void with_avx512(const Body& body) {
  body(std::integral_constant<int, 64>{});
}
#undef GRADFLOW_AVX512

template <typename Body>
[[gnu::target("avx2,fma")]] void with_avx2(const Body& body) {
  body(std::integral_constant<int, 32>{});
}

template <typename Body>
void dispatch(const Body& body) {
  switch (level()) {
    case Level::avx512: with_avx512(body); return;
    case Level::avx2: with_avx2(body); return;
    case Level::baseline: body(std::integral_constant<int, 16>{}); return;
  }
}

#else

template <typename Body>
void dispatch(const Body& body) {
  body(std::integral_constant<int, 16>{});
}

#endif

}  // namespace gradflow::lanes
