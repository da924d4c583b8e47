#include "gradflow/base/blas_core.h"

#include <gtest/gtest.h>

namespace gradflow {
namespace {

TEST(BlasCore, HasANameThatIsNotEmpty) { EXPECT_FALSE(blas_core().empty()); }

TEST(BlasCore, IsReplacedOnlyByOneThatThisProcessorHasAndThatIsWider) {
  for (const char* const known : {"Haswell", "Zen", "SkylakeX", "Cooperlake", "Sandybridge", "armv8"})
    EXPECT_EQ(wider_blas_core(known), "") << known;
#if defined(__x86_64__)
  const std::string wider = wider_blas_core("Prescott");
  if (!__builtin_cpu_supports("avx2")) {
    EXPECT_EQ(wider, "");
  } else {
    EXPECT_TRUE(wider == "Haswell" || wider == "SkylakeX") << wider;
    EXPECT_EQ(wider == "SkylakeX", __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl"));
    EXPECT_EQ(wider_blas_core(wider), "");
  }
#endif
}

}  // namespace
}  // namespace gradflow
