#include "gradflow/base/random.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace gradflow {
namespace {

TEST(RandomStream, SameSeedAndStreamGiveTheSameBits) {
  RandomStream a(7, "weights"), b(7, "weights");

  for (int i = 0; i < 100; ++i) EXPECT_EQ(a.normal(), b.normal());
}

TEST(RandomStream, StreamsUnderOneSeedAreUncorrelated) {
  const Vector a = RandomStream(7, "weights").normals(100000);
  const Vector b = RandomStream(7, "probes").normals(100000);

  EXPECT_NEAR(a.dot(b) / 100000.0, 0.0, 4.0 / std::sqrt(100000.0));
}

TEST(RandomStream, NormalsHaveMeanZeroAndVarianceOne) {
  const Vector x = RandomStream(1, "moments").normals(200000);

  EXPECT_NEAR(x.mean(), 0.0, 4.0 / std::sqrt(200000.0));
  EXPECT_NEAR(x.squaredNorm() / 200000.0, 1.0, 4.0 * std::sqrt(2.0 / 200000.0));
}

TEST(RandomStream, PermutationHoldsEveryIndexOnce) {
  std::vector<Index> order = RandomStream(3, "split").permutation(1000);
  EXPECT_FALSE(std::is_sorted(order.begin(), order.end()));

  std::sort(order.begin(), order.end());
  for (Index i = 0; i < 1000; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
}

TEST(RandomStream, ASampleIsAscendingHasEveryIndexAtMostOnceAndHoldsSmallerOnes) {
  const auto sample = [](Index most) { return RandomStream(5, "rows").sample(100, most); };
  const std::vector<Index> ten = sample(10), thirty = sample(30), all = sample(1000);

  EXPECT_EQ(ten.size(), 10U);
  EXPECT_TRUE(std::is_sorted(ten.begin(), ten.end()));
  EXPECT_EQ(std::adjacent_find(ten.begin(), ten.end()), ten.end());
  EXPECT_TRUE(std::includes(thirty.begin(), thirty.end(), ten.begin(), ten.end()));
  ASSERT_EQ(all.size(), 100U);
  for (Index i = 0; i < 100; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)], i);
}

}  // namespace
}  // namespace gradflow
