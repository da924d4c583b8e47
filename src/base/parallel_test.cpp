#include "gradflow/base/parallel.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "gradflow/base/error.h"

namespace gradflow {
namespace {

// OMP_NUM_THREADS as the test sets it, and threads() as they were before.
class DefaultThreads : public testing::Test {
 protected:
  DefaultThreads() {
    if (const char* const text = std::getenv(name)) before_ = text;
  }
  ~DefaultThreads() override {
    if (before_.empty())
      unsetenv(name);
    else
      setenv(name, before_.c_str(), 1);
    set_threads(0);
  }

  static int with(const char* text) {
    setenv(name, text, 1);
    set_threads(0);
    return threads();
  }

 private:
  static constexpr const char* name = "OMP_NUM_THREADS";
  std::string before_;
};

TEST_F(DefaultThreads, AreThoseOfTheEnvironment) {
  EXPECT_EQ(with("1"), 1);
  EXPECT_EQ(with("3"), 3);
  EXPECT_EQ(with("5,2"), 5);  // of the outermost level
}

TEST_F(DefaultThreads, PassOverWhatIsNoNumberOfThreads) {
  unsetenv("OMP_NUM_THREADS");
  set_threads(0);
  const int cores = threads();

  EXPECT_GE(cores, 1);
  for (const char* const text : {"", "0", "-2", "many", "2x", "100000", "99999999999999"})
    EXPECT_EQ(with(text), cores) << text;
}

TEST_F(DefaultThreads, GiveWayToANumberThatIsAskedFor) {
  setenv("OMP_NUM_THREADS", "3", 1);
  set_threads(2);

  EXPECT_EQ(threads(), 2);
  EXPECT_THROW(set_threads(-1), InputError);
}

TEST(ParallelFor, VisitsEveryItemOnceInBlocksThatDoNotDependOnTheThreads) {
  for (const int count : {1, 2, 5}) {
    set_threads(count);
    std::vector<int> visits(103, 0);
    std::vector<Index> begins(11, -1);
    parallel_for(103, 10, [&](Index begin, Index end) {
      begins[static_cast<std::size_t>(begin / 10)] = begin;
      for (Index i = begin; i < end; ++i) ++visits[static_cast<std::size_t>(i)];
    });
    EXPECT_EQ(visits, std::vector<int>(103, 1));
    for (Index b = 0; b < 11; ++b) EXPECT_EQ(begins[static_cast<std::size_t>(b)], 10 * b);
  }
  set_threads(0);
}

TEST(ParallelFor, PassesOnWhatABodyThrows) {
  set_threads(2);
  EXPECT_THROW(parallel_for(50, 1,
                            [](Index begin, Index) {
                              if (begin == 7) throw std::runtime_error("seven");
                            }),
               std::runtime_error);
  set_threads(0);
}

}  // namespace
}  // namespace gradflow
