#include <gtest/gtest.h>

#include <cstdlib>

#include "cli/run_program.h"
#include "gradflow/base/blas_core.h"

namespace gradflow::cli_test {
namespace {

// This process has the kernels that OpenBLAS chose for it; the program the best that the processor has.
TEST(Kernels, OfTheProgramAreThoseOfTheProcessorUnlessTheUserNamesOthers) {
  const TemporaryFolder folder;
  const auto version = [&] { return run_program(folder.path(), {"--version"}).out; };
  const char* const given = std::getenv("OPENBLAS_CORETYPE");
  const std::string before = given == nullptr ? "" : given;
  const std::string chosen = blas_core(), wider = wider_blas_core(chosen);
  unsetenv("OPENBLAS_CORETYPE");
  const std::string own = version();
  setenv("OPENBLAS_CORETYPE", chosen.c_str(), 1);
  const std::string kept = version();
  if (before.empty())
    unsetenv("OPENBLAS_CORETYPE");
  else
    setenv("OPENBLAS_CORETYPE", before.c_str(), 1);

  EXPECT_EQ(wider_blas_core(wider.empty() ? chosen : wider), "");
  if (before.empty()) {
    EXPECT_NE(own.find(wider.empty() ? chosen : wider), std::string::npos) << own;
  }
  EXPECT_NE(kept.find(chosen), std::string::npos) << kept;
}

}  // namespace
}  // namespace gradflow::cli_test
