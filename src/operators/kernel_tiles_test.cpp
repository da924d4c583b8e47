#include "operators/kernel_tiles.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

#include "gradflow/base/parallel.h"

namespace gradflow {
namespace {

TEST(KernelTiles, AreVisitedOnceEachInOneOrderWithinABlockRow) {
  for (const Index blocks : {1, 2, 5, 8}) {
    std::vector<std::vector<Index>> orders[2];
    for (const int count : {1, 3}) {
      set_threads(count);
      std::vector<std::vector<Index>> order(
          static_cast<std::size_t>(blocks));  // of the partners of a block row
      for_each_tile(blocks, [&](Index I, Index J) {
        order[static_cast<std::size_t>(I)].push_back(J);
        if (J != I) order[static_cast<std::size_t>(J)].push_back(I);
      });
      for (const std::vector<Index>& partners : order) EXPECT_EQ(static_cast<Index>(partners.size()), blocks);
      orders[count == 1 ? 0 : 1] = order;
    }
    EXPECT_EQ(orders[0], orders[1]);
  }
  set_threads(0);
}

// A thread that waited for the tile of another, which was left by an exception, once waited for ever.
TEST(KernelTiles, EndWithTheExceptionOfAVisitWhateverOtherThreadsWaitFor) {
  for (const int count : {1, 2, 4}) {
    set_threads(count);
    for (Index bad = 0; bad < 10; ++bad) {
      std::atomic<Index> visits{0};
      EXPECT_THROW(for_each_tile(4,
                                 [&](Index, Index) {
                                   if (visits++ == bad) throw std::runtime_error("out of memory");
                                 }),
                   std::runtime_error);
    }
  }
  set_threads(0);
}

}  // namespace
}  // namespace gradflow
